"""Time limits, each over a real socket: of a stream, of its producer, of its reader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.wire.conftest import PATIENCE, Probe, watched
from tests.wire.running import started

from millstream import Millstream, Reason, TGController, expose, stream
from millstream.engine.terms import RATE_GRACE
from millstream.testing import BodyTruncated, Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

SHORT = 0.2
BLOCK = b"x" * 65536
needs_proc = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="sockets are listed in /proc on Linux only"
)


class Sync(TGController):
    @expose("ndjson", lifetime=SHORT)
    def mortal(self) -> Iterator[int]:
        watched()
        while True:
            yield 1
            stream.sleep(0.01)

    @expose("ndjson", idle_timeout=SHORT)
    def idle(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(600)

    @expose("ndjson", idle_timeout=SHORT)
    def idle_at_first(self) -> Iterator[int]:
        watched()
        stream.sleep(600)
        yield 1

    @expose("ndjson", lifetime=SHORT, on_disconnect="detach")
    def left_alone(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(600)

    @expose("ndjson", idle_timeout=SHORT, on_disconnect="detach")
    def left_alone_and_idle(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(600)

    @expose(stall_timeout=SHORT)
    def flood(self) -> Iterator[bytes]:
        watched()
        while True:
            yield BLOCK

    @expose(stall_timeout=None, min_rate=1e8, high_water=1)
    def fast_lane(self) -> Iterator[bytes]:
        watched()
        while True:
            yield BLOCK


class Async(TGController):
    @expose("ndjson", lifetime=SHORT)
    async def mortal(self) -> AsyncIterator[int]:
        watched()
        while True:
            yield 1
            await stream.sleep(0.01)

    @expose("ndjson", idle_timeout=SHORT)
    async def idle(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await asyncio.sleep(600)

    @expose("ndjson", idle_timeout=SHORT)
    async def idle_at_first(self) -> AsyncIterator[int]:
        watched()
        await asyncio.sleep(600)
        yield 1

    @expose("ndjson", lifetime=SHORT, on_disconnect="detach")
    async def left_alone(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await asyncio.sleep(600)

    @expose("ndjson", idle_timeout=SHORT, on_disconnect="detach")
    async def left_alone_and_idle(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await asyncio.sleep(600)

    @expose(stall_timeout=SHORT)
    async def flood(self) -> AsyncIterator[bytes]:
        watched()
        while True:
            yield BLOCK

    @expose(stall_timeout=None, min_rate=1e8, high_water=1)
    async def fast_lane(self) -> AsyncIterator[bytes]:
        watched()
        while True:
            yield BLOCK


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


@pytest.mark.parametrize("path", ["mortal", "idle"])
def test_a_stream_whose_time_is_over_is_broken_off_with_a_goodbye(
    wire: WireClient, kind: str, path: str, probe: Probe
) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/{path}", probe.headers).rest()
    assert truncated.value.received.endswith(b'1\n{"goodbye":{"reason":"timed-out"}}\n')
    assert probe.wait_ended().reason is Reason.TIMED_OUT


def test_a_producer_that_is_idle_before_its_first_item_is_a_504(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/idle_at_first", probe.headers)
    assert (reply.status, reply.complete or reply.rest() != b"") == (504, True)
    assert probe.wait_ended().reason is Reason.TIMED_OUT


@pytest.mark.parametrize("path", ["left_alone", "left_alone_and_idle"])
def test_a_stream_without_its_client_obeys_the_same_limits(
    wire: WireClient, kind: str, path: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/{path}", probe.headers).next_chunk()
    wire.close()
    assert probe.wait_ended().reason is Reason.TIMED_OUT


# Readers


def server_sockets(port: int, client_port: int) -> list[str]:
    """The rows of a server's sockets towards one client, whatever state they are in."""
    ends = f":{port:04X} ", f":{client_port:04X} "
    rows = Path("/proc/net/tcp").read_text("ascii").splitlines()
    return [row for row in rows if ends[0] in row[:22] and ends[1] in row[19:36]]


def wait_released(server_port: int, client_port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while rows := server_sockets(server_port, client_port):
        assert time.monotonic() < deadline, rows
        time.sleep(0.01)


class Wrapping:
    """A middleware as there are many: what it hands on is no server's own `send`."""

    def __init__(self, wrapped: ASGIApp) -> None:
        self._wrapped = wrapped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            await send(message)

        await self._wrapped(scope, receive, sent)


@needs_proc
@pytest.mark.parametrize(
    ("http", "loop"),
    [("h11", "asyncio"), ("h11", "uvloop"), ("httptools", "asyncio"), ("httptools", "uvloop")],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_a_reader_that_never_reads_is_released_socket_and_all(
    http: str, loop: str, wrapped: bool, kind: str, probe: Probe
) -> None:
    served = Millstream(Root())
    with (
        serve(Wrapping(served) if wrapped else served, http=http, loop=loop) as server,
        connect(server.host, server.port, receive_buffer=4096) as wire,
    ):
        wire.get(f"/{kind}/flood", probe.headers)
        port = wire.socket.getsockname()[1]
        assert server_sockets(server.port, port)
        end = probe.wait_ended()
        wait_released(server.port, port)
    assert end.reason is Reason.STALLED
    assert SHORT < end.duration < PATIENCE


@needs_proc
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("claimed", ["1.0", "1.1"])  # others are refused
def test_a_reader_that_never_reads_is_released_by_either_version_of_http_1(
    http: str, claimed: str, kind: str, probe: Probe
) -> None:
    with (
        serve(Millstream(Root()), http=http) as server,
        connect(server.host, server.port, receive_buffer=4096) as wire,
    ):
        wire.send(f"/{kind}/flood", probe.headers, version=claimed)
        assert probe.wait_ended().reason is Reason.STALLED
        wait_released(server.port, wire.socket.getsockname()[1])


@needs_proc
def test_a_reader_that_never_reads_is_released_under_granian_too(kind: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = ["granian", "--interface", "asgi", "crowd:impatient"]
    with (
        started(command, tmp_path, {"JOURNAL": str(journal)}) as server,
        connect("127.0.0.1", server.port, receive_buffer=4096) as wire,
    ):
        wire.get(f"/{kind}/flood")
        port = wire.socket.getsockname()[1]
        assert server_sockets(server.port, port)
        wait_released(server.port, port)
        assert set(journal.read_text("utf-8").splitlines()) == {"closed flood", "ended stalled"}


def test_a_slow_but_steady_reader_is_not_taken_for_one_that_has_stopped(
    server: Server, kind: str, probe: Probe
) -> None:
    """The kernel would take megabytes ahead, and a write that has to wait would wait for all of them."""
    with connect(server.host, server.port, timeout=PATIENCE, receive_buffer=16 * 1024) as wire:
        assert wire.get(f"/{kind}/flood", probe.headers).status == 200
        until = time.monotonic() + 6 * SHORT
        while time.monotonic() < until:
            assert wire.socket.recv(16 * 1024)
            time.sleep(SHORT / 20)  # some 1.6 MB/s
        assert probe.names.count("end") == 0


def test_a_reader_that_reads_too_slowly_is_broken_off(server: Server, probe: Probe) -> None:
    """Both kinds at once: what is measured begins after seconds of grace. No write waits for long."""
    with ExitStack() as crowd:
        wires, until = [], time.monotonic() + RATE_GRACE + PATIENCE
        for kind in ("sync", "aio"):
            wire = connect(server.host, server.port, timeout=PATIENCE, receive_buffer=4096)
            wires.append(crowd.enter_context(wire))
            assert wire.get(f"/{kind}/fast_lane", probe.headers).status == 200
        while probe.names.count("end") < len(wires):
            for wire in wires:
                with suppress(ConnectionResetError):
                    wire.socket.recv(2048)
            assert time.monotonic() < until
            time.sleep(0.02)
    for end in probe.values("end"):
        assert end.reason is Reason.STALLED
        assert RATE_GRACE < end.duration < RATE_GRACE + PATIENCE


def test_a_reader_that_reads_goes_on_for_longer_than_one_may_stall(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/flood", probe.headers)
    until = time.monotonic() + 4 * SHORT
    while time.monotonic() < until:
        assert reply.next_chunk() is not None
    wire.close()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
