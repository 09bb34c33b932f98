"""What the wire tests share: a server a module, a connection a test, and a probe in each producer.

Each module has its own `app`; what its actions yield comes in two kinds, below `/sync` and below `/aio`. A
producer and its test speak through a `Probe`: the producer notes what happens, the test waits for notes and
opens gates, so that nobody has to sleep and hope.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from millstream import Millstream, request, stream
from millstream.protocol.events import Statistics
from millstream.testing import Server, WireClient, connect, serve

PATIENCE = 10.0
"""Seconds until a wait is given up; a busy machine is no failure."""

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Probe:
    """One test's eye in a producer, usable from any thread."""

    def __init__(self) -> None:
        self.count = 0  # for what happens too often to be noted
        self._notes: list[tuple[str, Any]] = []
        self._gates: set[str] = set()
        self._waiting: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._changed = threading.Condition()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Given with a request, they make this probe the one its producer finds `here`."""
        return [("x-probe", str(id(self)))]

    @property
    def names(self) -> list[str]:
        """What was noted until now, in order."""
        with self._changed:
            return [name for name, _ in self._notes]

    def values(self, name: str) -> list[Any]:
        with self._changed:
            return [value for noted, value in self._notes if noted == name]

    def note(self, name: str, value: Any = None) -> None:
        with self._changed:
            self._notes.append((name, value))
            self._changed.notify_all()

    def wait(self, name: str, times: int = 1) -> Any:
        """Wait until it was noted so many times; the value of the last."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: sum(noted == name for noted, _ in self._notes) >= times, PATIENCE
            )
            assert came, f"{name!r} was not noted {times} times, but {[noted for noted, _ in self._notes]}"
        return self.values(name)[times - 1]

    def wait_ended(self) -> Statistics:
        """Wait for the end of the stream that is `watched`."""
        statistics = self.wait("end")
        assert isinstance(statistics, Statistics)
        return statistics

    def wait_still(self, seconds: float = 0.15) -> int:
        """Wait until `count` does not grow any more: nothing tells that something does not happen."""
        deadline = time.monotonic() + PATIENCE
        before = -1
        while before != self.count or not before:
            assert time.monotonic() < deadline, f"the count still grows: {self.count}"
            before = self.count
            time.sleep(seconds)
        return self.count

    def open(self, gate: str = "gate") -> None:
        with self._changed:
            self._gates.add(gate)
            self._changed.notify_all()
            for name, loop, waiting in self._waiting:
                if name == gate:
                    loop.call_soon_threadsafe(_set, waiting)

    def pass_gate(self, gate: str = "gate") -> None:
        """In a sync producer: wait until the test opens a gate."""
        self.note(f"at {gate}")
        with self._changed:
            assert self._changed.wait_for(lambda: gate in self._gates, PATIENCE), f"{gate!r} was not opened"

    async def passed_gate(self, gate: str = "gate") -> None:
        """The same in an async producer."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self._waiting.append((gate, loop, waiting))
            if gate in self._gates:
                waiting.set_result(None)
        self.note(f"at {gate}")
        async with asyncio.timeout(PATIENCE):
            await waiting


_PROBES: dict[str, Probe] = {}


def here() -> Probe:
    """In a controller: the probe of the test that sent this request."""
    return _PROBES[request.headers["x-probe"]]


def watched() -> Probe:
    """The same, and the end of the stream will be noted as `end`, with its statistics."""
    seen = here()
    stream.on_end(lambda _, statistics: seen.note("end", statistics))
    return seen


def _set(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


@pytest.fixture
def probe() -> Iterator[Probe]:
    fresh = Probe()
    _PROBES[str(id(fresh))] = fresh
    yield fresh
    del _PROBES[str(id(fresh))]


@pytest.fixture(params=["sync", "aio"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(request.module.app) as running:
        yield running


@pytest.fixture
def wire(server: Server) -> Iterator[WireClient]:
    with connect(server.host, server.port, timeout=PATIENCE) as connection:
        yield connection


@pytest.fixture(autouse=True)
def nothing_lives_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did, soon after it no stream of its module's application is open."""
    yield
    app = getattr(request.module, "app", None)
    if isinstance(app, Millstream):
        deadline = time.monotonic() + PATIENCE
        while len(app.ledger):
            assert time.monotonic() < deadline, f"still open: {app.ledger.live}"
            time.sleep(0.005)
