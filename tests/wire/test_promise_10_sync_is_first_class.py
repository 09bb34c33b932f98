from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from millstream import Millstream, Settings, TGController, expose, stream
from millstream.testing import Server, WireClient, connect, serve
from tests.wire.conftest import PATIENCE, Probe, here, watched

pytestmark = pytest.mark.wire

SLEEPERS = 200
NAP = 0.5


class Root(TGController):
    def _before(self, *_: Any, **__: Any) -> None:
        here().note("thread", threading.get_ident())

    def _after(self, *_: Any, **__: Any) -> None:
        here().note("thread", threading.get_ident())

    @expose("ndjson")
    def everywhere(self) -> Iterator[int]:
        seen = watched()
        seen.note("thread", threading.get_ident())
        stream.on_end(lambda *_: seen.note("thread", threading.get_ident()))

        def produced() -> Iterator[int]:
            try:
                for number in range(3):
                    seen.note("thread", threading.get_ident())
                    yield number
                    stream.sleep(0.001)
                seen.pass_gate()
            finally:
                seen.note("thread", threading.get_ident())

        return produced()

    @expose("ndjson")
    def rows(self) -> Iterator[Any]:
        database = sqlite3.connect(":memory:")  # refuses to be used in another thread
        database.execute("CREATE TABLE t (n)")
        database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(3)])
        seen = watched()

        def produced() -> Iterator[Any]:
            try:
                for row in database.execute("SELECT n FROM t"):
                    yield row[0]
                    stream.sleep(0)
                seen.pass_gate()
            finally:
                database.close()
                seen.note("closed")

        return produced()

    @expose("ndjson")
    def nap(self) -> Iterator[str]:
        here().note("asleep")
        stream.sleep(NAP)
        yield "awake"

    @expose("ndjson")
    def hard_nap(self) -> Iterator[str]:
        here().note("asleep")
        time.sleep(NAP)
        yield "awake"


app = Millstream(Root())

STEPS = 8  # _before, action, _after, three items, cleanup, on_end


@pytest.mark.parametrize("leaves", [False, True])
def test_everything_of_a_request_runs_on_one_thread(wire: WireClient, probe: Probe, leaves: bool) -> None:
    reply = wire.get("/everywhere", probe.headers)
    probe.wait("at gate")
    if leaves:
        wire.reset()
    probe.open()
    if not leaves:
        reply.rest()
    probe.wait("thread", times=STEPS)
    assert len(set(probe.values("thread"))) == 1
    assert probe.values("thread")[0] != threading.get_ident()


@pytest.mark.parametrize("leaves", [False, True])
def test_a_thread_bound_connection_works_from_the_action_to_the_cleanup(
    wire: WireClient, probe: Probe, leaves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reply = wire.get("/rows", probe.headers)
    probe.wait("at gate")
    if leaves:
        wire.close()
    probe.open()
    if not leaves:
        assert reply.rest() == b"0\n1\n2\n"
    probe.wait("closed")
    probe.wait_ended()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_two_requests_at_once_have_two_threads(server: Server, probe: Probe) -> None:
    with connect(server.host, server.port) as one, connect(server.host, server.port) as two:
        replies = [wire.get("/everywhere", probe.headers) for wire in (one, two)]
        probe.wait("at gate", times=2)
        assert len(set(probe.values("thread"))) == 2
        probe.open()
        assert [reply.rest().splitlines()[0] for reply in replies] == [b"0", b"0"]
        probe.wait("thread", times=2 * STEPS)


@pytest.mark.parametrize("action", ["nap", "hard_nap"])
def test_many_sleeping_streams_finish_together(server: Server, probe: Probe, action: str) -> None:
    with ExitStack() as crowd:
        wires = [
            crowd.enter_context(connect(server.host, server.port, timeout=PATIENCE)) for _ in range(SLEEPERS)
        ]
        began = time.monotonic()
        for wire in wires:
            wire.send(f"/{action}", probe.headers)
        assert [wire.read_head().rest() for wire in wires] == [b'"awake"\n'] * SLEEPERS
        took = time.monotonic() - began
    print(f"{SLEEPERS} streams that slept {NAP:g} s finished within {took:.2f} s")  # noqa: T201  a measurement, shown with -rP
    assert took < NAP * SLEEPERS / 10


def test_threads_are_used_again(probe: Probe) -> None:
    with (
        serve(Millstream(Root(), Settings(max_sync_streams=1))) as server,
        connect(server.host, server.port) as wire,
    ):
        probe.open()
        for _ in range(5):
            assert wire.get("/everywhere", probe.headers).rest() == b"0\n1\n2\n"
    assert len(set(probe.values("thread"))) == 1
