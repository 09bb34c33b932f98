# ruff: noqa: PT012  a leak is found when the inner block is left

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
import pytest

from millstream.protocol.events import Statistics
from millstream.protocol.lifecycle import State
from millstream.testing.failures import Leaked
from millstream.testing.leaks import IDLE_THREAD, no_leaks

STREAM = Statistics("s1", "Root.ticks", "", State.FLOWING, None, 1, 1, 0.0, 0.0, None)


@dataclass
class FakeLedger:
    live: tuple[Statistics, ...] = ()


@dataclass
class App:
    ledger: FakeLedger = field(default_factory=FakeLedger)


@dataclass
class Middleware:
    app: object


def numbers() -> Iterator[int]:
    yield 1
    yield 2


async def async_numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


async def test_a_clean_block_passes_at_once() -> None:
    began = time.perf_counter()
    async with no_leaks(App()):
        await asyncio.create_task(asyncio.sleep(0))
    assert time.perf_counter() - began < 0.1


async def test_a_task_that_goes_on_is_a_leak_and_is_named_with_its_line() -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Leaked, match=r"left over: the task 'lost' at .*forgotten \(.*test_leaks\.py:\d+\)"):
        async with no_leaks(timeout=0.01):
            task = asyncio.create_task(forgotten(), name="lost")
    task.cancel()


async def test_what_ends_soon_after_the_block_is_no_leak() -> None:
    async with no_leaks():
        task = asyncio.create_task(asyncio.sleep(0.02))
    assert task.done()


async def test_a_thread_that_goes_on_is_a_leak_unless_it_is_an_idle_pinned_one() -> None:
    leave = threading.Event()

    def tick() -> None:
        leave.wait()

    thread = threading.Thread(target=tick, name="millstream Root.ticks")
    with pytest.raises(Leaked, match=r"the thread 'millstream Root\.ticks' at .*tick \(.*test_leaks\.py"):
        async with no_leaks(timeout=0.01):
            thread.start()
    leave.set()
    thread.join()
    leave.clear()
    async with no_leaks(timeout=0.01):
        idle = threading.Thread(target=leave.wait, name=IDLE_THREAD)
        idle.start()
    leave.set()
    idle.join()


async def test_idle_threads_of_pools_are_no_leaks_but_working_ones_are() -> None:
    leave = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        async with no_leaks():
            await anyio.to_thread.run_sync(time.perf_counter)
            pool.submit(time.perf_counter).result()
        with pytest.raises(Leaked, match="ThreadPoolExecutor"):
            async with no_leaks(timeout=0.01):
                ThreadPoolExecutor(1).submit(leave.wait)
        leave.set()


async def test_an_anyio_thread_at_work_is_a_leak() -> None:
    leave = threading.Event()
    working: asyncio.Task[Any] | None = None
    with pytest.raises(Leaked, match="AnyIO worker thread"):
        async with no_leaks(timeout=0.05):
            working = asyncio.create_task(anyio.to_thread.run_sync(leave.wait))
            extra = asyncio.create_task(anyio.to_thread.run_sync(leave.wait))
            await asyncio.sleep(0.01)
    leave.set()
    assert working is not None
    await asyncio.gather(working, extra)


async def test_a_live_stream_is_a_leak_also_behind_middleware() -> None:
    app = App()
    with pytest.raises(Leaked, match=r"the stream s1 of Root\.ticks, flowing"):
        async with no_leaks(Middleware(Middleware(app)), timeout=0.01):
            app.ledger.live = (STREAM,)


async def test_what_was_there_before_is_no_leak() -> None:
    app = App(FakeLedger((STREAM,)))
    task = asyncio.create_task(asyncio.Event().wait())
    async with no_leaks(app, timeout=0.01):
        pass
    task.cancel()


async def test_an_open_generator_is_a_leak_a_closed_or_a_vanished_one_is_none() -> None:
    generator, other = numbers(), async_numbers()
    watched: list[weakref.ref[Any]] = [weakref.ref(generator), weakref.ref(other)]
    with pytest.raises(Leaked) as caught:
        async with no_leaks(watch=watched, timeout=0.01):
            next(generator)
    assert [left.split(" (")[0] for left in caught.value.left] == [
        "the generator numbers",
        "the generator async_numbers",
    ]
    async with no_leaks(watch=watched, timeout=0.01):
        generator.close()  # type: ignore[attr-defined]  # it is a generator
        del other


async def test_an_async_generator_that_was_left_in_the_middle_is_a_leak() -> None:
    abandoned = async_numbers()
    with pytest.raises(Leaked, match=r"the generator async_numbers \(.*test_leaks\.py:\d+\)"):
        async with no_leaks(timeout=0.01):
            await anext(abandoned)
    async with no_leaks(timeout=0.01):
        assert [number async for number in async_numbers()] == [1, 2]


async def test_the_error_of_the_block_matters_more() -> None:
    app = App()
    with pytest.raises(KeyError):
        async with no_leaks(app, timeout=0.01):
            app.ledger.live = (STREAM,)
            raise KeyError
