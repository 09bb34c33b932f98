from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message
from tests.durable.http.conftest import mounted
from tests.wire.conftest import PATIENCE
from tests.wire.running import started

from millstream.durable.http.bodies import TOGETHER, Bodies
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.http.requests import Asked, PeerLeft
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.errors import HTTPError
from millstream.testing import Server, connect, serve

NODE = Path(__file__).parents[1]
TEXT = [("content-type", "text/plain")]
ASKED = {"type": "http", "method": "POST", "path": "/s", "headers": []}


def asked(declared: str = "") -> Asked:
    headers = [(b"content-length", declared.encode())] if declared else []
    return Asked({**ASKED, "headers": headers})


def piece(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def read(bodies: Bodies, *messages: Message, then_silence: bool = False, declared: str = "") -> bytes:
    left = iter(messages)

    async def receive() -> Message:
        if then_silence and (message := next(left, None)) is None:
            await asyncio.Event().wait()
        return message if then_silence and message is not None else next(left)

    return await bodies.read(asked(declared), receive)


async def status_of(reading: Any) -> int:
    with pytest.raises(HTTPError) as error:
        await reading
    return error.value.status


async def test_a_body_is_read_whole() -> None:
    bodies = Bodies(10, 60, 10)
    assert await read(bodies, piece(b"abc")) == b"abc"
    assert await read(bodies, piece(b"a", more=True), piece(b"", more=True), piece(b"b")) == b"ab"
    assert await read(bodies, {"type": "http.request"}) == b""


async def test_a_body_is_not_read_beyond_what_is_allowed() -> None:
    bodies = Bodies(10, 60, 10)
    for messages in ([piece(b"x" * 11)], [piece(b"x" * 6, more=True), piece(b"x" * 6, more=True)]):
        assert await status_of(read(bodies, *messages)) == 413
    assert await status_of(read(bodies, declared="11", then_silence=True)) == 413


async def test_half_a_body_is_none() -> None:
    with pytest.raises(PeerLeft):
        await read(Bodies(10, 60, 10), piece(b"a", more=True), {"type": "http.disconnect"})


@pytest.mark.parametrize("came", [0, 1, 1000, 1_000_000])
async def test_silence_ends_the_wait_however_much_has_come(came: int) -> None:
    bodies = Bodies(2_000_000, 0.02, 10)
    async with asyncio.timeout(PATIENCE):
        assert await status_of(read(bodies, piece(b"x" * came, more=True), then_silence=True)) == 408


async def test_a_byte_now_and_then_is_not_waited_for() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return piece(b"x", more=True)

    async with asyncio.timeout(PATIENCE):
        assert await status_of(Bodies(2_000_000, 0.05, 10).read(asked(), receive)) == 408


async def test_only_so_many_are_waited_for() -> None:
    bodies = Bodies(10, 60, 2)
    waiting = [asyncio.ensure_future(read(bodies, then_silence=True)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await status_of(read(bodies, piece(b"x"))) == 503
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert await read(bodies, piece(b"x")) == b"x"


async def test_what_is_waited_for_takes_up_so_much_memory_and_no_more() -> None:
    bodies = Bodies(10, 60, 1000)
    waiting = [
        asyncio.ensure_future(read(bodies, piece(b"x" * 10, more=True), then_silence=True))
        for _ in range(TOGETHER)
    ]
    await asyncio.sleep(0)
    assert await status_of(read(bodies, piece(b"x"))) == 503
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert await read(bodies, piece(b"x")) == b"x"


async def test_the_end_of_the_process_ends_every_wait() -> None:
    bodies = Bodies(10, 60, 10)
    waiting = asyncio.ensure_future(read(bodies, piece(b"x", more=True), then_silence=True))
    await asyncio.sleep(0)
    bodies.stop()
    assert await status_of(waiting) == 503
    assert await status_of(read(bodies, then_silence=True)) == 503
    bodies.start()
    assert await read(bodies, piece(b"x")) == b"x"


def no_stranger(request: Request, _name: str, act: str) -> bool:
    return "authorization" in request.headers and request.headers.get("x-not") != act


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    streams = DurableStreams(Log(MemoryEngine()), authorize=no_stranger, stall=0.2, upkeep=False)
    with serve(mounted(streams)) as running:
        yield running


LENGTH = [("content-length", str(15_000_000))]
CHUNKED = [("transfer-encoding", "chunked")]


@pytest.mark.wire
@pytest.mark.parametrize("declared", [LENGTH, CHUNKED, [("content-length", str(10**12))]])
@pytest.mark.parametrize("path", ["/v1/s", "/v1/s/stop", "/v1/.secret"])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("more", [[], [("stream-closed", "true")], [("stream-forked-from", "/v1/x")]])
def test_whoever_may_not_is_told_before_a_byte_of_the_body(
    server: Server,
    method: str,
    path: str,
    declared: list[tuple[str, str]],
    more: list[tuple[str, str]],
) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        reply = wire.get(path, [*TEXT, *declared, *more], method=method)
        assert reply.status == (405 if method == "PATCH" else 403)


@pytest.mark.wire
@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("came", [b"", b"[1", b"[" * 100_000])
def test_whoever_may_but_falls_silent_is_told_408(
    server: Server, method: str, kind: str, came: bytes
) -> None:
    key = [("authorization", "me"), ("content-type", kind)]
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        wire.get("/v1/there", key, method="PUT").rest()
        wire.send("/v1/there", [*key, *LENGTH], method=method)
        wire.socket.sendall(came)
        assert wire.read_head().status == 408


@pytest.mark.wire
def test_a_source_that_may_not_be_read_is_told_of_before_the_body(server: Server) -> None:
    forked = [("authorization", "me"), ("x-not", "read"), ("stream-forked-from", "/v1/s"), *TEXT]
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        assert wire.get("/v1/fork", [*forked, *LENGTH], method="PUT").status == 403


@pytest.mark.wire
def test_an_unfinished_append_does_not_keep_a_process_that_is_to_end(tmp_path: Path) -> None:
    environment = {"LOG": f"sqlite:///{tmp_path}/streams.db", "DRAIN": "0.5"}
    with (
        started(["millstream", "serve", "node:app"], tmp_path, environment, cwd=NODE) as server,
        connect("127.0.0.1", server.port, timeout=PATIENCE) as wire,
    ):
        wire.get("/streams/s", TEXT, method="PUT").rest()
        wire.send("/streams/s", [*TEXT, *LENGTH], method="POST")
        wire.socket.sendall(b"abc")
        server.end(signal.SIGTERM, within=10)
        assert wire.read_head().status == 503
