from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from millstream import ASGIAppController, Millstream, Settings, TGController, expose, stream
from millstream.errors import Truncated
from millstream.gateways.asgi import AHEAD, Connection
from millstream.protocol.ports import Head
from millstream.testing import BodyTruncated, Client, no_leaks

LEFT: Message = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """A server's side of one exchange: gives what it is told to give, one reader at a time."""

    def __init__(self, *messages: Message) -> None:
        self.messages = deque(messages)
        self.sent: list[Message] = []
        self.given = 0
        self.readers = 0
        self.more = asyncio.Event()
        self.error: Exception | None = None
        self.connection = Connection({"type": "http"}, self.receive, self.send)

    def give(self, *messages: Message) -> None:
        self.messages.extend(messages)
        self.more.set()

    async def receive(self) -> Message:
        assert not self.readers, "two readers at once"
        self.readers += 1
        try:
            while not self.messages:
                self.more.clear()
                await self.more.wait()
            self.given += 1
            return self.messages.popleft()
        finally:
            self.readers -= 1

    async def send(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# The one owner of receive


async def test_the_body_is_received_as_it_is_asked_for() -> None:
    server = Server(piece(b"a"), piece(b"b", more=False), LEFT)
    assert (await server.connection.receive())["body"] == b"a"
    assert server.given == 1
    assert (await server.connection.receive())["body"] == b"b"
    assert await server.connection.receive() == LEFT
    assert await server.connection.receive() == LEFT
    assert server.given == 3


async def test_a_client_that_leaves_is_noticed_while_nobody_reads() -> None:
    server, gone = Server(piece(b"", more=False)), asyncio.Event()
    server.connection.watch(gone.set)
    await turns()
    assert not gone.is_set()
    server.give(LEFT)
    async with asyncio.timeout(1):
        await gone.wait()
    assert server.connection.gone
    server.connection.unwatch()


async def test_a_client_that_left_before_the_watch_is_told_soon_and_not_at_once() -> None:
    server, told = Server(LEFT), list[str]()
    await server.connection.receive()
    server.connection.watch(lambda: told.append("gone"))
    assert told == []
    await turns()
    assert told == ["gone"]


async def test_the_leaver_is_told_once() -> None:
    server, told = Server(LEFT), list[str]()
    server.connection.watch(lambda: told.append("gone"))
    await turns()
    server.error = OSError("reset")
    await server.connection.send_body(b"x")
    assert told == ["gone"]
    server.connection.unwatch()


async def test_after_the_watch_nobody_is_told_and_nobody_listens() -> None:
    server, told = Server(), list[str]()
    async with no_leaks():
        server.connection.watch(lambda: told.append("gone"))
        await turns()
        server.connection.unwatch()
        server.connection.unwatch()
    server.give(LEFT)
    await turns()
    assert told == []


async def test_the_body_is_read_whole_and_in_order_while_the_watch_goes_on() -> None:
    server = Server()
    server.connection.watch(lambda: None)
    reading = asyncio.create_task(whole(server.connection))
    for number in range(10):
        server.give(piece(b"%d" % number))
        await turns(number)
    server.give(piece(b".", more=False))
    assert await reading == b"0123456789."
    server.connection.unwatch()


async def whole(connection: Connection) -> bytes:
    body = b""
    while True:
        message: dict[str, Any] = dict(await connection.receive())
        if message["type"] != "http.request":
            return body + b" and left"
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


@pytest.mark.parametrize("watched", [1, 3, 5])
async def test_a_reader_that_waits_when_the_watch_begins_or_ends_loses_nothing(watched: int) -> None:
    server = Server()
    reading = asyncio.create_task(whole(server.connection))
    for number in range(7):
        await turns()
        if number == watched:
            server.connection.watch(lambda: None)
        if number == watched + 2:
            server.connection.unwatch()
        await turns()
        server.give(piece(b"%d" % number, more=number < 6))
    assert await reading == b"0123456"
    server.connection.unwatch()


async def test_a_reader_learns_that_the_client_left_as_the_watch_does() -> None:
    server, told = Server(), list[str]()
    reading = asyncio.create_task(whole(server.connection))
    await turns()
    server.connection.watch(lambda: told.append("gone"))
    server.give(piece(b"a"), LEFT)
    assert await reading == b"a and left"
    await turns()
    assert told == ["gone"]
    server.connection.unwatch()


async def test_what_nobody_reads_is_received_ahead_only_so_far() -> None:
    chunk = bytes(AHEAD // 4)
    server = Server(*[piece(chunk) for _ in range(20)])
    server.connection.watch(lambda: None)
    await turns(100)
    assert server.given == 4
    await server.connection.receive()
    await turns(100)
    assert server.given == 4  # it is asked for again when nothing is left
    for _ in range(4):
        await server.connection.receive()
    await turns(100)
    assert 5 <= server.given <= 9
    server.connection.unwatch()


async def test_a_long_body_that_is_there_whole_does_not_keep_the_leaver_from_being_noticed() -> None:
    server, gone = Server(piece(bytes(2 * AHEAD), more=False)), asyncio.Event()
    server.connection.watch(gone.set)
    await turns()
    server.give(LEFT)
    async with asyncio.timeout(1):
        await gone.wait()
    server.connection.unwatch()


# Our side


async def test_what_is_sent_is_asgi_and_kept_account_of() -> None:
    server = Server()
    connection = server.connection
    assert not connection.head_sent
    await connection.send_head(Head(201, MutableHeaders({"X-A": "1"}), "GET"))
    await connection.send_body(b"a")
    assert (connection.head_sent, connection.body_ended) == (True, False)
    await connection.end(b"b")
    assert connection.body_ended
    assert server.sent == [
        {"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": False},
    ]


async def test_what_another_application_sends_is_kept_account_of() -> None:
    server = Server()
    await server.connection.forward({"type": "http.response.start", "status": 200, "headers": []})
    assert (server.connection.head_sent, server.connection.body_ended) == (True, False)
    await server.connection.forward({"type": "http.response.body", "body": b"a", "more_body": True})
    assert not server.connection.body_ended
    await server.connection.forward({"type": "http.response.body"})
    assert server.connection.body_ended


async def test_a_send_that_fails_tells_that_the_client_has_left() -> None:
    server, told = Server(), list[str]()
    server.connection.watch(lambda: told.append("gone"))
    server.error = OSError("the client has left")
    await server.connection.send_body(b"a")
    assert (told, server.connection.gone) == (["gone"], True)
    server.connection.unwatch()


async def test_another_application_sees_its_own_send_fail() -> None:
    server = Server()
    server.error = OSError("the client has left")
    with pytest.raises(OSError, match="has left"):
        await server.connection.forward({"type": "http.response.body"})
    assert server.connection.gone


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
