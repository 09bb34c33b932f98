from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from millstream.testing.failures import TimedOut
from millstream.testing.waiting import Change, stands_at, within


async def test_every_waiter_looks_again_at_each_change() -> None:
    change, seen = Change(), [0]

    async def wait(least: int) -> int:
        await change.wait_for(lambda: seen[-1] >= least)
        return len(seen)

    waiters = [asyncio.create_task(wait(least)) for least in (2, 1, 2)]
    for number in (1, 2):
        await asyncio.sleep(0)
        seen.append(number)
        change.tell()
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiters) == [3, 2, 3]


async def test_a_condition_that_holds_is_not_waited_for() -> None:
    waiting = Change().wait_for(lambda: True)
    with pytest.raises(StopIteration):
        waiting.__await__().__next__()


async def test_a_time_limit_asks_what_happened_meanwhile_only_when_it_is_over() -> None:
    def meanwhile() -> str:
        raise NotImplementedError

    async with within(5, "GET /", "something", meanwhile):
        pass
    with pytest.raises(TimedOut, match=r"GET /: waited 0\.01 s for an event; nothing$"):
        async with within(0.01, "GET /", "an event", lambda: "nothing"):
            await asyncio.Event().wait()


async def test_a_time_out_of_the_block_itself_comes_through() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with within(5, "GET /", "something"):
            raise TimeoutError("mine")


async def test_a_task_stands_in_its_innermost_line_outside_of_asyncio() -> None:
    async def inner(awaitable: Awaitable[object]) -> None:
        await awaitable

    async def outer() -> None:
        await inner(asyncio.Event().wait())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert "inner (" in stands_at(task)
    task.cancel()
    await asyncio.wait({task})
    assert stands_at(task) == "an unknown line"
