from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from tests.gateways.conftest import Server, piece

from millstream import ASGIAppController, Millstream, Settings, TGController, expose, stream
from millstream.errors import Truncated
from millstream.testing import BodyTruncated, Client, no_leaks

# The application


class Root(TGController):
    @expose(content_type="text/plain")
    def feed(self) -> Iterator[str]:
        yield "a"
        raise ValueError("secret")

    @expose("ndjson")
    async def endless(self) -> AsyncIterator[int]:
        yield 1
        while not stream.draining:
            await asyncio.sleep(0.001)
        yield 2


class Closing:
    def __init__(self) -> None:
        self.closed: list[int] = []

    def begin(self, join: Any) -> None: ...

    async def close(self) -> None:
        self.closed.append(1)


async def test_a_scope_nobody_knows_is_refused_as_asgi_asks() -> None:
    async def nothing(*_: Any) -> Any: ...

    with pytest.raises(NotImplementedError, match="Millstream does not speak 'telepathy'"):
        await Millstream(Root)({"type": "telepathy"}, nothing, nothing)


async def test_a_truncation_is_told_to_the_server() -> None:
    app = Millstream(Root)
    server = Server(piece(b"", more=False))
    scope: Scope = {"type": "http", "method": "GET", "path": "/feed", "query_string": b"", "headers": []}
    with pytest.raises(Truncated, match=r"the body of Root\.feed was broken off on purpose: failed"):
        await app(scope, server.receive, server.send)
    assert [message["type"] for message in server.sent] == ["http.response.start", "http.response.body"]


async def test_behind_a_middleware_that_would_end_the_body_well_the_server_fails_to_write_it() -> None:
    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    class Writing(Server):
        async def send(self, message: Message) -> None:
            written = message.get("body", b"")
            if not written or len(written):  # as one does that counts what it writes
                await super().send(message)

    server = Writing(piece(b"", more=False))
    scope: Scope = {"type": "http", "method": "GET", "path": "/feed", "query_string": b"", "headers": []}
    with pytest.raises(Truncated):
        await BaseHTTPMiddleware(Millstream(Root), passing)(scope, server.receive, server.send)
    assert [message.get("body") for message in server.sent] == [None, b"a"]


async def test_it_runs_below_a_prefix_of_another_application() -> None:
    async with Client(Starlette(routes=[Mount("/shop", Millstream(Root))])) as client:
        with pytest.raises(BodyTruncated):
            await client.get("/shop/feed")
        assert (await client.get("/shop/nowhere")).status == 404


async def test_a_shutdown_drains_the_streams_and_then_closes_the_participants() -> None:
    closing = Closing()
    app = Millstream(Root, participants=[closing])
    async with no_leaks(app), Client(app) as client, client.stream("GET", "/endless") as reply:
        assert await reply.next_line() == "1"
        ending = asyncio.create_task(client.shutdown())
        assert await reply.next_line() == "2"
        assert await reply.next_line() is None
        await ending
    assert closing.closed == [1]


async def test_a_shutdown_ends_what_does_not_end_by_itself() -> None:
    class Endless(TGController):
        @expose("ndjson")
        async def feed(self) -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

    app = Millstream(Endless, Settings(drain_timeout=0.01))
    async with no_leaks(app), Client(app) as client, client.stream("GET", "/feed") as reply:
        assert await reply.next_line() == "1"
        ending = asyncio.create_task(client.shutdown())
        assert await reply.next_line() == '{"goodbye":{"reason":"shutdown"}}'
        with pytest.raises(BodyTruncated):
            await reply.next_line()
        await ending


async def test_an_application_that_was_shut_down_may_be_served_again() -> None:
    app = Millstream(Root)
    for _ in range(2):
        async with Client(app) as client:
            assert (await client.head("/endless")).status == 200
            assert not app.ledger.draining


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    socket = WebSocket(scope, receive, send)
    await socket.accept()
    await socket.send_text(scope["root_path"])
    await socket.close()


class WithSockets(TGController):
    chat = ASGIAppController(echo)


async def spoken(path: str, **scope: Any) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = Millstream(WithSockets)
    await app({"type": "websocket", "path": path, "headers": [], **scope}, receive, send)
    return sent


async def test_a_websocket_reaches_the_application_that_is_mounted_there() -> None:
    accepted, said, _closed = await spoken("/site/chat", root_path="/site")
    assert (accepted["type"], said["text"]) == ("websocket.accept", "/site/chat")


async def test_a_websocket_nobody_speaks_is_closed_before_it_opens() -> None:
    assert await spoken("/nowhere") == [{"type": "websocket.close", "code": 1000}]
