"""What the engine's tests share: a wire in memory, units that note their steps, and a clock that jumps."""

from __future__ import annotations

import asyncio
import functools
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.datastructures import MutableHeaders

from millstream.codecs.raw import Raw
from millstream.engine.batches import taken_apart
from millstream.engine.scope import Scope
from millstream.engine.source import SyncSource
from millstream.engine.stream import Stream
from millstream.engine.threads import Lanes
from millstream.protocol.ports import Head

PATIENCE = 5.0
"""Seconds until a wait is given up."""


class Wire:
    """An outlet whose client reads all, until a test says otherwise."""

    is_plain = True

    def __init__(self) -> None:
        self.head: Head | None = None
        self.writes: list[bytes] = []
        self.ended = False
        self.looks = 0
        self.error: BaseException | None = None  # raised by the next write
        self.on_gone: Callable[[], None] | None = None
        self.busy = asyncio.Event()  # a write waits for the client
        self._reads = asyncio.Event()
        self._reads.set()
        self._wrote = asyncio.Event()
        self._writing = False

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    def stall(self) -> None:
        self._reads.clear()

    def resume(self) -> None:
        self._reads.set()

    def leave(self) -> None:
        assert self.on_gone is not None, "nobody watches"
        self.on_gone()

    async def wait_for(self, count: int) -> None:
        """Wait until so many bytes of the body were written."""
        async with asyncio.timeout(PATIENCE):
            while len(self.body) < count:
                self._wrote.clear()
                await self._wrote.wait()

    async def send_head(self, head: Head, /) -> None:
        assert self.head is None, "a second head"
        await self._write(b"")
        self.head = head

    async def send_body(self, data: bytes, /) -> None:
        assert self.head is not None, "a body before its head"
        await self._write(data)

    async def end(self, data: bytes, /) -> None:
        await self.send_body(data)
        self.ended = True

    async def _write(self, data: bytes) -> None:
        assert not self.ended, "a write after the end"
        assert not self._writing, "two writes at once"
        self._writing = True
        try:
            if not self._reads.is_set():
                self.busy.set()
                await self._reads.wait()
            if self.error is not None:
                raise self.error
        finally:
            self._writing = False
            self.busy.clear()
        if data:
            self.writes.append(data)
        self._wrote.set()

    def watch(self, on_gone: Callable[[], None], /) -> None:
        self.on_gone = on_gone

    def look(self) -> None:
        self.looks += 1

    def unwatch(self) -> None:
        self.on_gone = None


class Unit:
    """A unit of work that notes each step, where it is taken, and fails where the test wants."""

    def __init__(self, name: str, log: list[str], *fails: str, error: BaseException | None = None) -> None:
        self.name = name
        self.log = log
        self.fails = fails
        self.error = error or RuntimeError(f"{name} fails")
        self.threads: set[str] = set()

    def step(self, step: str) -> None:
        self.log.append(f"{self.name}.{step}")
        self.threads.add(threading.current_thread().name)
        if step in self.fails:
            raise self.error

    def prepare(self) -> None:
        self.step("prepare")

    def commit(self) -> None:
        self.step("commit")

    def abort(self) -> None:
        self.step("abort")

    def rest(self) -> None:
        self.step("rest")

    def close(self) -> None:
        self.step("close")


class AsyncUnit(Unit):
    """The same, with steps that suspend."""

    async def prepare(self) -> None:  # type: ignore[override]  # the port allows both
        await asyncio.sleep(0)
        self.step("prepare")

    async def commit(self) -> None:  # type: ignore[override]  # as above
        await asyncio.sleep(0)
        self.step("commit")

    async def abort(self) -> None:  # type: ignore[override]  # as above
        await asyncio.sleep(0)
        self.step("abort")

    async def rest(self) -> None:  # type: ignore[override]  # as above
        await asyncio.sleep(0)
        self.step("rest")

    async def close(self) -> None:  # type: ignore[override]  # as above
        await asyncio.sleep(0)
        self.step("close")


class InstantLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when there is nothing to do; not for tests with threads."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: InstantLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self._loop.now += timeout
        return ready


def instantly(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop whose clock jumps."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=InstantLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def raw_head() -> Head:
    return Head(200, MutableHeaders({"content-type": "text/plain"}), "GET")


def raw() -> Raw:
    return Raw(action="Root.feed", charset="utf-8")


APART = functools.partial(taken_apart, encoder=raw(), holding=None)
"""Of items that have rows of their own, which are text."""


def sync_source(producer: Any) -> SyncSource:
    return SyncSource(producer, producer)


async def begun(stream: Stream, *units: Unit, lanes: Lanes | None = None) -> Scope:
    """A scope with these units in it."""
    scope = Scope(lanes or Lanes(10), stream)
    scope.units.extend(units)
    return scope


async def soon(condition: Callable[[], object]) -> None:
    """Wait for what happens on a thread, of which nothing tells the loop."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
