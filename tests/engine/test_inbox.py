from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from millstream.engine.inbox import SLICE, Inbox


async def on_threads(count: int, function: Callable[[int], None]) -> None:
    await asyncio.gather(*(asyncio.to_thread(function, number) for number in range(count)))


async def test_what_threads_want_done_is_done_on_the_loop_in_the_order_of_each() -> None:
    inbox, done = Inbox(asyncio.get_running_loop()), list[tuple[int, int, int]]()

    def ask(number: int) -> None:
        for turn in range(100):
            inbox.call(lambda turn=turn: done.append((threading.get_ident(), number, turn)))

    await on_threads(8, ask)
    async with asyncio.timeout(5):
        while len(done) < 800:
            await asyncio.sleep(0)
    assert {thread for thread, _, _ in done} == {threading.get_ident()}
    for number in range(8):
        assert [turn for _, whose, turn in done if whose == number] == list(range(100))


async def test_it_is_done_in_the_context_of_whoever_asked() -> None:
    inbox, seen = Inbox(asyncio.get_running_loop()), set[str]()
    variable = contextvars.ContextVar[str]("variable")

    def ask(number: int) -> None:
        variable.set(f"thread {number}")
        inbox.call(lambda: seen.add(variable.get()))

    await on_threads(4, ask)
    await asyncio.sleep(0)
    assert seen == {f"thread {number}" for number in range(4)}


async def test_others_have_their_turn_before_all_is_done() -> None:
    loop, done = asyncio.get_running_loop(), list[str]()
    inbox = Inbox(loop)

    def work() -> None:
        time.sleep(SLICE)
        done.append("work")

    for _ in range(3):
        inbox.call(work)
    loop.call_soon(done.append, "another")
    async with asyncio.timeout(5):
        while len(done) < 4:
            await asyncio.sleep(0)
    assert done.index("another") < 3


async def test_what_fails_is_told_and_keeps_nothing_else_from_being_done() -> None:
    loop, failures, done = asyncio.get_running_loop(), list[dict[str, Any]](), list[int]()
    loop.set_exception_handler(lambda _, told: failures.append(told))
    inbox = Inbox(loop)
    inbox.call(lambda: 1 / 0)
    inbox.call(done.append, 1)
    await asyncio.sleep(0)
    assert done == [1]
    assert [type(failure["exception"]) for failure in failures] == [ZeroDivisionError]


async def test_what_is_asked_for_meanwhile_is_done_as_well() -> None:
    inbox, done = Inbox(asyncio.get_running_loop()), list[int]()
    inbox.call(lambda: inbox.call(done.append, 1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [1]


def test_a_loop_that_is_closed_refuses() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        Inbox(loop).call(print)
