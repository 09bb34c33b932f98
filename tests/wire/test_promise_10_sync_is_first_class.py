from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.wire.conftest import PATIENCE, Probe, here, needs_curl, watched

from millstream import Millstream, Settings, TGController, expose, request, stream
from millstream.testing import Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

SLEEPERS = 200
NAP = 0.5
TICKS = 50
BOUND = 3.0
"""Seconds for what takes half of one; starved, it took five and more."""


class Root(TGController):
    def _before(self, *_: Any, **__: Any) -> None:
        if "x-probe" in request.headers:
            here().note("thread", threading.get_ident())

    def _after(self, *_: Any, **__: Any) -> None:
        if "x-probe" in request.headers:
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

    @expose()
    def hello(self) -> Iterator[str]:
        yield "hello"

    @expose()
    async def greedy(self) -> AsyncIterator[str]:
        here().note("greedy")
        while True:
            yield "never suspended " * 100

    @expose("ndjson")
    def ticks(self) -> Iterator[int]:
        for number in range(TICKS):
            stream.sleep(0.01)
            yield number

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


def wait_rested() -> None:
    """Until every thread waits for its next request, which it tells by its name."""
    deadline = time.monotonic() + PATIENCE
    while any(thread.name.startswith("millstream Root") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.001)


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


def test_threads_are_used_again(server: Server, probe: Probe) -> None:
    probe.open()
    for done in range(1, 6):
        with connect(server.host, server.port) as wire:
            assert wire.get("/everywhere", probe.headers).rest() == b"0\n1\n2\n"
        probe.wait("thread", times=done * STEPS)
        wait_rested()
    assert len(set(probe.values("thread"))) == 1


def test_a_thread_is_free_for_the_next_request_when_the_last_byte_is_out() -> None:
    one = Millstream(Root(), Settings(max_sync_streams=1))
    with serve(one) as server, connect(server.host, server.port) as wire:
        assert [wire.get("/hello").rest() for _ in range(100)] == [b"hello"] * 100


@needs_curl
def test_a_greedy_async_stream_does_not_starve_the_sync_ones(
    server: Server, wire: WireClient, probe: Probe
) -> None:
    command = ["curl", "-sN", "-o", os.devnull, "-H", ": ".join(probe.headers[0]), f"{server.url}/greedy"]
    with subprocess.Popen(command) as reader:  # noqa: S603  the curl of whoever runs the tests, with our own URL
        probe.wait("greedy")
        began = time.monotonic()
        assert wire.get("/ticks", probe.headers).rest().count(b"\n") == TICKS
        took = time.monotonic() - began
        reader.terminate()
    assert took < BOUND
