from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from queue import Queue

import pytest
from tests.wire.conftest import PATIENCE, Probe, watched

from millstream import Millstream, Reason, TGController, expose, request, stream
from millstream.protocol.lifecycle import State
from millstream.testing import Server, WireClient, connect

pytestmark = pytest.mark.wire

LEAVERS = 100
SILENT = "print(0); import time; time.sleep(600)"
BOUND = 2.0
"""Seconds. The promise is 100 ms; what is asserted leaves room for a machine that does other things, too."""


class Sync(TGController):
    @expose("ndjson")
    def idle(self) -> Iterator[int]:
        seen = watched()
        try:
            yield 0
            stream.sleep(600)
        finally:
            seen.note("left", time.monotonic())

    @expose("ndjson")
    def polite(self) -> Iterator[int]:
        """Looks for itself, as a producer does that waits elsewhere."""
        seen = watched()
        yield 0
        seen.note("looks")
        while not stream.client_gone:
            time.sleep(0.005)
        seen.note("saw it")

    @expose(content_type="text/plain")
    def child(self) -> Iterator[str]:
        """Waits for another process, which says one line and then nothing."""
        seen = watched()
        child = subprocess.Popen([sys.executable, "-uc", SILENT], stdout=subprocess.PIPE, text=True)  # noqa: S603  our own words
        stream.on_interrupt(child.kill)
        with child:
            assert child.stdout is not None
            yield from child.stdout
        seen.note("child", child.returncode)

    @expose("ndjson")
    def queue(self) -> Iterator[int]:
        """Waits for others, who put nothing, as a feed does."""
        seen = watched()
        items: Queue[int | None] = Queue()
        stream.on_interrupt(lambda: items.put(None))
        stream.on_interrupt(lambda: seen.note("asked by", request.headers["x-probe"]))
        items.put(0)
        yield from iter(items.get, None)

    @expose("ndjson", close_timeout=0.01)
    def deaf(self) -> Iterator[int]:
        seen = watched()
        yield 0
        seen.pass_gate()
        yield 1

    @expose("ndjson", on_disconnect="detach")
    def detached(self) -> Iterator[int]:
        seen = watched()
        yield 0
        seen.pass_gate()
        for number in range(1, 4):
            seen.note("gone", stream.client_gone)
            yield number

    @expose("ndjson", on_disconnect="grace(60)")
    def in_time(self) -> Iterator[int]:
        seen = watched()
        yield 0
        seen.pass_gate()
        seen.note("gone", stream.client_gone)
        yield 1

    @expose("ndjson", on_disconnect="grace(0.1)")
    def too_late(self) -> Iterator[int]:
        seen = watched()
        try:
            yield 0
            stream.sleep(600)
        finally:
            seen.note("gone", stream.client_gone)


class Async(TGController):
    @expose("ndjson")
    async def queue(self) -> AsyncIterator[int]:
        seen = watched()
        stream.on_interrupt(lambda: seen.note("asked by", request.headers["x-probe"]))
        yield 0
        await asyncio.sleep(600)

    @expose("ndjson")
    async def idle(self) -> AsyncIterator[int]:
        seen = watched()
        try:
            yield 0
            await asyncio.sleep(600)
        finally:
            seen.note("left", time.monotonic())

    @expose("ndjson")
    async def busy(self) -> AsyncIterator[int]:
        """Never suspends by itself."""
        seen = watched()
        try:
            while True:
                yield 0
        finally:
            seen.note("left", time.monotonic())

    @expose("ndjson", on_disconnect="detach")
    async def detached(self) -> AsyncIterator[int]:
        seen = watched()
        yield 0
        await seen.passed_gate()
        for number in range(1, 4):
            seen.note("gone", stream.client_gone)
            yield number

    @expose("ndjson", on_disconnect="grace(60)")
    async def in_time(self) -> AsyncIterator[int]:
        seen = watched()
        yield 0
        await seen.passed_gate()
        seen.note("gone", stream.client_gone)
        yield 1

    @expose("ndjson", on_disconnect="grace(0.1)")
    async def too_late(self) -> AsyncIterator[int]:
        seen = watched()
        try:
            yield 0
            await asyncio.sleep(600)
        finally:
            seen.note("gone", stream.client_gone)


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


def wait_gone() -> None:
    """Until every open stream knows that its client left."""
    deadline = time.monotonic() + PATIENCE
    while any(not stream.client_gone for stream in app.ledger._streams.values()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("path", ["sync/idle", "aio/idle"])
def test_many_that_leave_at_once_are_noticed_at_once(server: Server, path: str, probe: Probe) -> None:
    with ExitStack() as crowd:
        wires = [crowd.enter_context(connect(server.host, server.port)) for _ in range(LEAVERS)]
        for wire in wires:
            wire.get(f"/{path}", probe.headers).next_chunk()
        began = time.monotonic()
    probe.wait("left", times=LEAVERS)
    took = sorted(at - began for at in probe.values("left"))
    print(f"{path}: {LEAVERS} left, p50 {statistics.median(took) * 1e3:.1f} ms, p99 {took[-2] * 1e3:.1f} ms")  # noqa: T201  a measurement, shown with -rP
    assert took[-1] < BOUND


def test_a_leaver_is_noticed_by_a_producer_that_never_suspends(wire: WireClient, probe: Probe) -> None:
    wire.get("/aio/busy", probe.headers).next_chunk()
    began = time.monotonic()
    wire.close()
    assert probe.wait("left") - began < BOUND
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_sync_producer_can_look_for_itself(wire: WireClient, probe: Probe) -> None:
    wire.get("/sync/polite", probe.headers).next_chunk()
    probe.wait("looks")  # else it may be closed before it is asked for more
    wire.close()
    probe.wait("saw it")
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_producer_that_waits_for_a_process_kills_it_when_its_client_leaves(
    wire: WireClient, probe: Probe
) -> None:
    wire.get("/sync/child", probe.headers).next_chunk()
    wire.close()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    assert probe.values("child") in ([], [-signal.SIGKILL])  # it may be closed where it stands


def test_what_is_called_on_an_interruption_sees_its_request(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/queue", probe.headers).next_chunk()
    wire.close()
    assert probe.wait("asked by") == dict(probe.headers)["x-probe"]
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_producer_that_does_not_notice_is_named_with_its_line(
    wire: WireClient, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    wire.get("/sync/deaf", probe.headers).next_chunk()
    probe.wait("at gate")
    wire.close()
    deadline = time.monotonic() + PATIENCE
    while "is still at work at" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    probe.open()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    assert caplog.text.count("Sync.deaf was ended 0.01 s ago (client-gone)") == 1


def test_a_detached_producer_runs_on_to_its_end(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/detached", probe.headers).next_chunk()
    probe.wait("at gate")
    wire.close()
    wait_gone()
    probe.open()
    end = probe.wait_ended()
    assert probe.values("gone") == [True, True, True]
    assert (end.reason, end.state, end.delivered) == (Reason.COMPLETED, State.UNSEEN, False)


def test_a_detached_producer_whose_client_stays_is_delivered(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    probe.open()
    assert wire.get(f"/{kind}/detached", probe.headers).rest() == b"0\n1\n2\n3\n"
    assert probe.values("gone") == [False, False, False]
    assert probe.wait_ended().delivered


def test_a_producer_that_ends_within_its_grace_completes(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/in_time", probe.headers).next_chunk()
    probe.wait("at gate")
    wire.reset()
    wait_gone()
    probe.open()
    end = probe.wait_ended()
    assert (end.reason, end.delivered) == (Reason.COMPLETED, False)
    assert probe.values("gone") == [True]


def test_a_producer_that_outlives_its_grace_is_ended(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/too_late", probe.headers).next_chunk()
    wire.close()
    end = probe.wait_ended()
    assert (end.reason, end.state, end.delivered) == (Reason.CLIENT_GONE, State.ABANDONED, False)
    assert probe.values("gone") == [True]
