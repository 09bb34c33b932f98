from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.conftest import InstantLoop, instantly

from millstream.engine.rounds import PER_SECOND, Rounds


class Waiter:
    """Notes when it is told; may do something then."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = self.loop.time()
        self.told: list[float] = []
        self.then = then

    def come_round(self) -> None:
        self.told.append(self.loop.time() - self.begun)
        self.then()

    def enter(self, rounds: Rounds, after: float) -> int:
        return rounds.enter(self, self.begun + after)


@given(st.lists(st.floats(0, 100), max_size=30))
def test_everybody_is_told_once_not_early_and_hardly_late(moments: list[float]) -> None:
    async def wait() -> None:
        rounds = Rounds(asyncio.get_running_loop())
        waiters = [Waiter() for _ in moments]
        for waiter, moment in zip(waiters, moments, strict=True):
            waiter.enter(rounds, moment)
        await asyncio.sleep(101)
        for waiter, moment in zip(waiters, moments, strict=True):
            (told,) = waiter.told
            assert moment - 0.001 <= told <= moment + 2 / PER_SECOND

    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        runner.run(wait())


@instantly
async def test_who_left_is_not_told() -> None:
    rounds, stays, leaves = Rounds(asyncio.get_running_loop()), Waiter(), Waiter()
    stays.enter(rounds, 1)
    rounds.leave(leaves, leaves.enter(rounds, 1))
    await asyncio.sleep(2)
    assert (len(stays.told), leaves.told) == (1, [])


@instantly
async def test_who_comes_later_may_be_due_earlier() -> None:
    rounds, late, early = Rounds(asyncio.get_running_loop()), Waiter(), Waiter()
    late.enter(rounds, 10)
    early.enter(rounds, 1)
    await asyncio.sleep(2)
    assert (len(early.told), late.told) == (1, [])
    await asyncio.sleep(9)
    assert len(late.told) == 1


@instantly
async def test_who_wants_to_be_told_again_at_once_is_told_in_another_turn() -> None:
    rounds = Rounds(asyncio.get_running_loop())
    waiter = Waiter(lambda: None if len(waiter.told) == 3 else void(waiter.enter(rounds, 0)))
    waiter.enter(rounds, 1)
    await asyncio.sleep(2)
    assert len(waiter.told) == 3


def void(_: object) -> None: ...


@instantly
async def test_one_that_fails_keeps_nobody_else_from_being_told() -> None:
    loop, failures = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, told: failures.append(told))

    def fail() -> None:
        raise ZeroDivisionError

    rounds, others = Rounds(loop), [Waiter() for _ in range(5)]
    Waiter(fail).enter(rounds, 1)
    for waiter in others:
        waiter.enter(rounds, 1)
    await asyncio.sleep(2)
    assert [len(waiter.told) for waiter in others] == [1] * 5
    assert [type(failure["exception"]) for failure in failures] == [ZeroDivisionError]


@instantly
async def test_whoever_sets_the_timer_is_not_kept_by_it() -> None:
    class Held: ...

    rounds, variable = Rounds(asyncio.get_running_loop()), contextvars.ContextVar[Held]("held")

    def enter() -> weakref.ref[Held]:
        held = Held()
        variable.set(held)
        Waiter().enter(rounds, 10)
        return weakref.ref(held)

    gone = contextvars.Context().run(enter)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("count", [1, 1000])
@instantly
async def test_there_is_one_timer_however_many_wait(count: int) -> None:
    loop = asyncio.get_running_loop()
    rounds = Rounds(loop)
    for number in range(count):
        Waiter().enter(rounds, 1 + number % 7)
    timers = [each for each in getattr(loop, "_scheduled", ()) if not each.cancelled()]
    assert len(timers) == 1
