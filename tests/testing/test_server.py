from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millstream.testing.failures import BodyTruncated, ServerFailed
from millstream.testing.server import serve
from millstream.testing.wire import connect

pytestmark = pytest.mark.wire


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def crash(_: Request) -> Response:
    raise ValueError("of the application")


SITE = Starlette(routes=[Route("/", hello), Route("/crash", crash)])


class Endless:
    """Sends one chunk and nothing more; notes when its client has left."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        try:
            if self.deaf:
                await asyncio.Event().wait()
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self.ended.set()


def test_an_application_is_served_over_a_real_socket() -> None:
    with serve(SITE) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/").text == "hello"
        assert (server.host, server.url) == ("127.0.0.1", f"http://127.0.0.1:{server.port}")


def test_two_servers_have_two_ports_and_two_logs() -> None:
    with serve(SITE) as one, serve(SITE) as other:
        assert one.port != other.port
        with connect(one.host, one.port) as wire:
            assert wire.get("/crash").status == 500
        one.wait_log("ValueError: of the application")
        assert "of the application" in one.log
        assert "of the application" not in other.log


def test_settings_reach_uvicorn() -> None:
    with (
        serve(SITE, headers=[("x-by", "us")], http="h11") as server,
        connect(server.host, server.port) as wire,
    ):
        assert wire.get("/").headers["x-by"] == "us"


def test_a_failing_start_is_raised_with_the_log() -> None:
    @asynccontextmanager
    async def fails(_: Starlette) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    with (
        pytest.raises(ServerFailed, match=r"(?s)did not start.*no database"),
        serve(Starlette(lifespan=fails)),
    ):
        pass


def test_a_start_that_does_not_end_is_timed_out() -> None:
    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()

    with pytest.raises(ServerFailed, match=r"did not (start|stop) within"), serve(stuck, timeout=0.1):
        pass


def test_open_streams_do_not_hold_the_end_up_and_their_clients_are_told() -> None:
    app = Endless()
    with serve(app) as server:
        wire = connect(server.host, server.port)
        reply = wire.get("/")
        assert reply.next_chunk()
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert app.ended.is_set()
    with wire, pytest.raises(BodyTruncated):
        reply.rest()


def test_a_grace_lets_a_stream_end_by_itself() -> None:
    app = Endless()
    with serve(app) as server, connect(server.host, server.port) as wire:
        wire.get("/").next_chunk()
        stopping = threading.Thread(target=server.stop, args=(5.0,))
        stopping.start()
        assert not app.ended.wait(0.2)
        wire.close()
        stopping.join(2)
        assert not stopping.is_alive()


def test_a_deaf_application_is_cancelled() -> None:
    app = Endless(deaf=True)
    with serve(app) as server, connect(server.host, server.port) as wire:
        wire.get("/").next_chunk()
    assert app.ended.is_set()
