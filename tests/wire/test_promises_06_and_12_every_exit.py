"""Every way a stream can end, with the collector off: closed where it ran, once, and with its reason."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.wire.conftest import PATIENCE, Probe, here, watched

from millstream import Millstream, Reason, Settings, TGController, expose, stream
from millstream.protocol.events import Statistics
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import StreamHandle
from millstream.testing import BodyTruncated, Server, WireClient, connect, serve
from millstream.web.proxies import stream_var

pytestmark = pytest.mark.wire

BLOCK = b"x" * 65536


class Place:
    """Where code runs: the thread, or the task. Both are kept, so that no other can get their identity."""

    def __init__(self) -> None:
        try:
            self.runner: object = asyncio.current_task()
        except RuntimeError:
            self.runner = threading.current_thread()


def begin() -> Probe:
    seen = watched()
    seen.note("began", Place().runner)
    seen.note("stream", stream_var.get(None))
    return seen


class Sync(TGController):
    @expose("ndjson")
    def finished(self) -> Iterator[int]:
        seen = begin()
        try:
            yield from range(3)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def failed(self) -> Iterator[int]:
        seen = begin()
        try:
            yield from range(3)
            raise ValueError
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def failed_at_once(self) -> Iterator[int]:
        seen = begin()
        try:
            raise ValueError
            yield 1
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def idle(self) -> Iterator[int]:
        seen = begin()
        try:
            yield 0
            stream.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def silent(self) -> Iterator[int]:
        seen = begin()
        try:
            stream.sleep(60)
            yield 0
        finally:
            seen.note("closed", Place().runner)

    @expose()
    def endless(self) -> Iterator[bytes]:
        seen = begin()
        try:
            while True:
                seen.count += 1
                yield BLOCK
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def stopped(self) -> Iterator[int]:
        seen = begin()
        try:
            yield 0
            seen.pass_gate()
            assert stream.stop()
            stream.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson", lifetime=0.1)
    def short_lived(self) -> Iterator[int]:
        seen = begin()
        try:
            while True:
                yield 0
                stream.sleep(0.01)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson", idle_timeout=0.1)
    def slow(self) -> Iterator[int]:
        seen = begin()
        try:
            yield 0
            stream.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose(stall_timeout=0.1)
    def stalled(self) -> Iterator[bytes]:
        seen = begin()
        try:
            while True:
                yield BLOCK
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    def never_begun(self) -> Iterator[int]:
        seen = watched()

        def produced() -> Iterator[int]:
            seen.note("began")
            yield 0

        producer = produced()
        seen.note("producer", producer)
        return producer


class Async(TGController):
    @expose("ndjson")
    async def finished(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            for number in range(3):
                yield number
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def failed(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            for number in range(3):
                yield number
            raise ValueError
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def failed_at_once(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            raise ValueError
            yield 1
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def idle(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            yield 0
            await asyncio.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def silent(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            await asyncio.sleep(60)
            yield 0
        finally:
            seen.note("closed", Place().runner)

    @expose()
    async def endless(self) -> AsyncIterator[bytes]:
        seen = begin()
        try:
            while True:
                seen.count += 1
                yield BLOCK
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def stopped(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            yield 0
            await seen.passed_gate()
            assert stream.stop()
            await asyncio.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson", lifetime=0.1)
    async def short_lived(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            while True:
                yield 0
                await asyncio.sleep(0.01)
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson", idle_timeout=0.1)
    async def slow(self) -> AsyncIterator[int]:
        seen = begin()
        try:
            yield 0
            await asyncio.sleep(60)
        finally:
            seen.note("closed", Place().runner)

    @expose(stall_timeout=0.1)
    async def stalled(self) -> AsyncIterator[bytes]:
        seen = begin()
        try:
            while True:
                yield BLOCK
        finally:
            seen.note("closed", Place().runner)

    @expose("ndjson")
    async def never_begun(self) -> AsyncIterator[int]:
        seen = watched()

        async def produced() -> AsyncIterator[int]:
            seen.note("began")
            yield 0

        producer = produced()
        seen.note("producer", producer)
        return producer


class Root(TGController):
    sync = Sync()
    aio = Async()

    async def _before(self, *_: Any, **__: Any) -> None:
        here().note("loop", asyncio.get_running_loop())


app = Millstream(Root())


# What the client, or somebody else, does to end it


def reads_all(wire: WireClient, probe: Probe) -> None:
    wire.read_head().rest()


def reads_all_there_is(wire: WireClient, probe: Probe) -> None:
    with pytest.raises(BodyTruncated):
        wire.read_head().rest()


def reads_the_status(wire: WireClient, probe: Probe) -> None:
    assert wire.read_head().status >= 500
    wire.close()


def closes(wire: WireClient, probe: Probe) -> None:
    wire.read_head().next_chunk()
    wire.close()


def resets(wire: WireClient, probe: Probe) -> None:
    wire.read_head().next_chunk()
    wire.reset()


def leaves_before_the_head(wire: WireClient, probe: Probe) -> None:
    probe.wait("began")
    wire.close()


def reads_nothing_and_leaves(wire: WireClient, probe: Probe) -> None:
    probe.wait_still()
    wire.reset()


def reads_nothing(wire: WireClient, probe: Probe) -> None:
    probe.wait_ended()


def stops_itself(wire: WireClient, probe: Probe) -> None:
    reply = wire.read_head()
    reply.next_chunk()
    probe.open()
    with pytest.raises(BodyTruncated):
        reply.rest()


def is_stopped_from_outside(wire: WireClient, probe: Probe) -> None:
    reply = wire.read_head()
    reply.next_chunk()
    handle: StreamHandle = probe.wait("stream")
    assert handle.stop()
    with pytest.raises(BodyTruncated):
        reply.rest()


def is_revoked(wire: WireClient, probe: Probe) -> None:
    handle: StreamHandle = probe.wait("stream")
    assert handle.stop(reason=Reason.REVOKED)
    assert wire.read_head().status == 403


@dataclass(frozen=True)
class Exit:
    action: str
    way: Callable[[WireClient, Probe], None]
    reason: Reason
    state: State = State.ABANDONED
    items: int | None = None  # None: as many as the clock allowed


EXITS = {
    "finished": Exit("finished", reads_all, Reason.COMPLETED, State.DELIVERED, 3),
    "failed": Exit("failed", reads_all_there_is, Reason.FAILED, State.FAILED, 3),
    "failed at once": Exit("failed_at_once", reads_the_status, Reason.FAILED, State.FAILED, 0),
    "client closed while idle": Exit("idle", closes, Reason.CLIENT_GONE, items=1),
    "client reset while idle": Exit("idle", resets, Reason.CLIENT_GONE, items=1),
    "client closed before the head": Exit("silent", leaves_before_the_head, Reason.CLIENT_GONE, items=0),
    "client reset while it flowed": Exit("endless", resets, Reason.CLIENT_GONE),
    "client gone while blocked": Exit("endless", reads_nothing_and_leaves, Reason.CLIENT_GONE),
    "stopped by itself": Exit("stopped", stops_itself, Reason.STOPPED, items=1),
    "stopped from outside": Exit("idle", is_stopped_from_outside, Reason.STOPPED, items=1),
    "revoked before the head": Exit("silent", is_revoked, Reason.REVOKED, items=0),
    "lifetime over": Exit("short_lived", reads_all_there_is, Reason.TIMED_OUT),
    "idle for too long": Exit("slow", reads_all_there_is, Reason.TIMED_OUT, items=1),
    "stalled": Exit("stalled", reads_nothing, Reason.STALLED),
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@dataclass(frozen=True)
class Ended:
    """What is left when a stream went one of the ways out."""

    probe: Probe
    way: Exit

    @property
    def statistics(self) -> Statistics:
        return self.probe.wait_ended()


@pytest.fixture(params=EXITS)
def ended(request: pytest.FixtureRequest, server: Server, kind: str, probe: Probe) -> Ended:
    way = EXITS[request.param]
    with connect(server.host, server.port, timeout=PATIENCE, receive_buffer=4096) as wire:
        wire.send(f"/{kind}/{way.action}", probe.headers)
        way.way(wire, probe)
        probe.wait_ended()
    return Ended(probe, way)


def test_the_producer_is_closed_once_where_it_ran_before_anybody_is_told(ended: Ended) -> None:
    assert ended.probe.values("closed") == ended.probe.values("began")
    names = [name for name in ended.probe.names if name in {"began", "closed", "end"}]
    assert names == ["began", "closed", "end"]


def test_the_end_has_the_reason_that_is_documented(ended: Ended) -> None:
    statistics = ended.statistics
    assert (statistics.reason, statistics.state) == (ended.way.reason, ended.way.state)
    assert statistics.delivered is (ended.way.state is State.DELIVERED)
    if ended.way.items is not None:
        assert statistics.items == ended.way.items


@pytest.mark.parametrize("method", ["HEAD"])
def test_a_producer_that_is_never_begun_is_closed(
    wire: WireClient, kind: str, probe: Probe, method: str
) -> None:
    wire.get(f"/{kind}/never_begun", probe.headers, method=method)
    assert probe.wait_ended().reason is Reason.COMPLETED
    assert_closed_unbegun(probe)


def test_a_producer_for_which_there_is_no_room_is_closed(kind: str, probe: Probe) -> None:
    full = Millstream(Root(), Settings(max_streams=1))
    with (
        serve(full) as server,
        connect(server.host, server.port) as first,
        connect(server.host, server.port) as second,
    ):
        first.get(f"/{kind}/idle", probe.headers).next_chunk()
        assert second.get(f"/{kind}/never_begun", probe.headers).status == 503
        assert probe.wait_ended().reason is Reason.FAILED
        assert_closed_unbegun(probe, began=1)
        first.close()
        probe.wait("end", times=2)


def test_a_drain_ends_what_is_idle(kind: str, probe: Probe) -> None:
    draining = Millstream(Root(), Settings(drain_timeout=0.05))
    with serve(draining) as server, connect(server.host, server.port) as wire:
        reply = wire.get(f"/{kind}/idle", probe.headers)
        reply.next_chunk()
        asyncio.run_coroutine_threadsafe(draining.ledger.drain(), probe.wait("loop")).result(PATIENCE)
        with pytest.raises(BodyTruncated) as truncated:
            reply.rest()
    assert truncated.value.received == b'{"goodbye":{"reason":"shutdown"}}\n'
    assert probe.wait_ended().reason is Reason.SHUTDOWN
    assert probe.values("closed") == probe.values("began")


def test_a_server_that_is_stopped_leaves_no_producer_open(kind: str, probe: Probe) -> None:
    with serve(Millstream(Root())) as server, connect(server.host, server.port) as wire:
        wire.get(f"/{kind}/idle", probe.headers).next_chunk()
        server.stop()
    assert probe.wait_ended().reason in {Reason.SHUTDOWN, Reason.CLIENT_GONE}
    assert probe.values("closed") == probe.values("began")


def test_statistics_tell_what_was_sent(wire: WireClient, kind: str, probe: Probe) -> None:
    body = wire.get(f"/{kind}/finished", probe.headers).rest()
    statistics = probe.wait_ended()
    assert (statistics.items, statistics.bytes) == (3, len(body))
    assert statistics.first_byte is not None
    assert 0 < statistics.first_byte <= statistics.duration < PATIENCE
    assert (statistics.client, statistics.route.rpartition(".")[2]) == ("127.0.0.1", "finished")


def test_the_duration_includes_the_wait_and_not_what_comes_after(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    with pytest.raises(BodyTruncated):
        wire.get(f"/{kind}/short_lived", probe.headers).rest()
    statistics = probe.wait_ended()
    assert 0.09 <= statistics.duration < PATIENCE  # the clocks of timers and of statistics differ
    assert statistics.bytes >= statistics.items * len(b"0\n")


def assert_closed_unbegun(probe: Probe, *, began: int = 0) -> None:
    assert len(probe.values("began")) == began
    producer = probe.wait("producer")
    assert getattr(producer, "gi_frame", None) is None
    assert getattr(producer, "ag_frame", None) is None
