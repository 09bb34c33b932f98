from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any, NoReturn

import pytest
from tests.engine.conftest import begun

from millstream.app import Millstream
from millstream.dispatch.controllers import TGController
from millstream.engine.scope import Scope
from millstream.engine.stream import Stream
from millstream.errors import ControllerError, StreamInterrupted
from millstream.pipeline.waiting import AT_ONCE, BodyWait, wait_here


async def on_thread(scope: Scope, coroutine: Any) -> Any:
    try:
        return await scope.call(partial(wait_here, scope, coroutine))
    finally:
        await scope.close()


async def test_a_thread_waits_for_its_loop() -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert await on_thread(await begun(Stream()), answer()) == threading.main_thread().name


async def test_what_it_waits_for_may_fail() -> None:
    async def fail() -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await on_thread(await begun(Stream()), fail())


async def test_rings_that_mean_something_else_do_not_end_it() -> None:
    scope, asked = await begun(Stream()), asyncio.Event()

    async def late() -> int:
        for _ in range(3):
            scope.lane.bell.put(None)
        await asyncio.sleep(0.01)
        asked.set()
        return 1

    assert await on_thread(scope, late()) == 1
    assert asked.is_set()


async def test_a_stream_that_is_ended_ends_the_wait() -> None:
    stream = Stream()
    scope, begun_waiting, left = await begun(stream), asyncio.Event(), asyncio.Event()

    async def never() -> None:
        begun_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    def waiting() -> str:
        try:
            wait_here(scope, never())
        except StreamInterrupted:
            return "interrupted"
        return "done"

    job = asyncio.create_task(scope.call(waiting))
    await begun_waiting.wait()
    stream.unwanted = True
    scope.lane.bell.put(None)
    assert await job == "interrupted"
    await asyncio.wait_for(left.wait(), 5)
    await scope.close()


async def test_nobody_else_may_wait_for_it() -> None:
    async def answer() -> None: ...

    scope = await begun(Stream())
    with pytest.raises(ControllerError, match="async for"):
        wait_here(scope, answer())
    with pytest.raises(ControllerError, match="async for"):
        await asyncio.to_thread(wait_here, scope, answer())


class Working:
    """A job that notes where it runs, and how many of it do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.most = 0
        self.threads: set[int] = set()

    def __call__(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.threads.add(threading.get_ident())
        time.sleep(0.002)
        with self._lock:
            self._running -= 1


async def test_bodies_are_parsed_on_threads_few_at_a_time() -> None:
    app = Millstream(TGController())
    house = app._gateway._house
    work = Working()
    waits = [BodyWait(house, Scope(house.lanes, Stream())) for _ in range(20)]
    await asyncio.gather(*[wait.offload(work) for wait in waits])
    assert work.most <= AT_ONCE
    assert threading.get_ident() not in work.threads
    assert house.lanes.busy == 0


async def test_code_that_waits_on_the_requests_thread_does_not_keep_its_body_from_being_read() -> None:
    app = Millstream(TGController())
    house = app._gateway._house
    scope = Scope(house.lanes, Stream())
    wait = BodyWait(house, scope)

    async def read() -> bytes:
        return bytes(await wait.offload(bytes, b"piece"))

    assert await scope.call(partial(wait.wait, read())) == b"piece"
    await scope.close()
