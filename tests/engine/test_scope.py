from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.engine.conftest import PATIENCE, AsyncUnit, Unit, begun

import millstream
from millstream.engine.scope import Scope, _finish
from millstream.engine.stream import Stream
from millstream.engine.threads import Lanes
from millstream.errors import HTTPError, Overloaded, ThreadGivenUp
from millstream.protocol.events import Reason, Statistics
from millstream.protocol.lifecycle import Event, State
from millstream.protocol.ports import Join

VISITOR: ContextVar[str] = ContextVar("VISITOR", default="nobody")
MAIN = threading.main_thread().name


def thread() -> str:
    return threading.current_thread().name


async def opened(*units: Unit, lanes: Lanes | None = None) -> Scope:
    return await begun(Stream(route="Root.feed"), *units, lanes=lanes)


# Running code


async def test_synchronous_code_runs_on_one_thread_of_its_own() -> None:
    scope = await opened()
    assert {await scope.call(thread) for _ in range(3)} == {"millstream Root.feed"}
    await scope.close()


async def test_asynchronous_code_runs_in_the_requests_task_and_borrows_no_thread() -> None:
    async def here() -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    lanes = Lanes(1)
    scope = await opened(lanes=lanes)
    assert await scope.call(here) is asyncio.current_task()
    assert lanes.busy == 0
    await scope.close()


async def test_arguments_arrive_and_results_and_errors_come_back() -> None:
    def divide(a: int, *, by: int) -> float:
        return a / by

    scope = await opened()
    assert await scope.call(divide, 6, by=3) == 2
    with pytest.raises(ZeroDivisionError):
        await scope.call(divide, 6, by=0)
    await scope.close()


async def test_a_coroutine_that_synchronous_code_made_is_awaited_in_the_task() -> None:
    async def name() -> str:
        return thread()

    scope = await opened()
    assert await scope.call(lambda made=name: made()) == MAIN
    await scope.close()


async def test_both_sides_see_one_context() -> None:
    scope = await opened()

    def rename(name: str) -> str:
        before = VISITOR.get()
        VISITOR.set(name)
        return before

    VISITOR.set("Ann")
    assert await scope.call(rename, "Ben") == "Ann"
    assert VISITOR.get() == "Ben"
    VISITOR.set("Cem")
    assert await scope.call(rename, "Dan") == "Cem"
    assert VISITOR.get() == "Dan"
    await scope.close()


async def test_what_was_set_before_an_error_is_seen_after_it() -> None:
    def fail() -> None:
        VISITOR.set("Ben")
        raise ValueError

    scope = await opened()
    with pytest.raises(ValueError):  # noqa: PT011  the context is what matters here
        await scope.call(fail)
    assert VISITOR.get() == "Ben"
    await scope.close()


async def test_a_token_of_one_call_is_good_in_the_next() -> None:
    tokens = []
    scope = await opened()
    VISITOR.set("Ann")
    await scope.call(lambda: tokens.append(VISITOR.set("Ben")))
    assert VISITOR.get() == "Ben"
    await scope.call(lambda: VISITOR.reset(tokens.pop()))
    assert VISITOR.get() == "Ann"
    await scope.close()


async def test_a_producer_sees_the_context_of_its_request() -> None:
    scope = await opened()
    VISITOR.set("Ann")
    assert await scope.start(VISITOR.get) == "Ann"
    await scope.close()


@pytest.mark.parametrize("made", [lambda: (n for n in range(3)), lambda: asyncio.sleep(0)])
async def test_what_a_cancelled_call_made_is_closed(made: Callable[[], Any]) -> None:
    gate, results = threading.Event(), []

    def work() -> Any:
        gate.wait(PATIENCE)
        results.append(made())
        return results[0]

    scope = await opened()
    call = asyncio.create_task(scope.call(work))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert getattr(results[0], "gi_frame", None) is None
    assert getattr(results[0], "cr_frame", None) is None
    await scope.close()


async def test_a_cancelled_call_that_fails_is_a_cancelled_call() -> None:
    gate = threading.Event()

    def work() -> None:
        gate.wait(PATIENCE)
        raise ValueError

    scope = await opened()
    call = asyncio.create_task(scope.call(work))
    await asyncio.sleep(0)
    call.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    await scope.close()


# The thread


async def test_the_thread_is_given_back_in_the_end_and_only_once() -> None:
    lanes = Lanes(1)
    scope = await opened(lanes=lanes)
    await scope.call(thread)
    assert lanes.busy == 1
    await scope.close()
    await scope.close()
    assert lanes.busy == 0


async def test_a_request_without_a_free_thread_is_overloaded() -> None:
    lanes = Lanes(1)
    lane = lanes.borrow("another")
    scope = await opened(lanes=lanes)
    with pytest.raises(Overloaded):
        await scope.call(thread)
    await scope.close()
    lane.release()


async def test_a_thread_nothing_is_bound_to_can_be_given_back_early() -> None:
    lanes = Lanes(1)
    scope = await opened(lanes=lanes)
    scope.release_idle_lane()
    await scope.call(thread)
    scope.release_idle_lane()
    assert lanes.busy == 0
    await scope.close()


async def test_a_thread_that_a_unit_may_be_bound_to_is_kept() -> None:
    lanes = Lanes(1)
    scope = await opened(Unit("a", []), lanes=lanes)
    await scope.call(thread)
    scope.release_idle_lane()
    assert lanes.busy == 1
    await scope.close()


async def test_it_knows_its_own_thread_from_others() -> None:
    scope = await opened()
    assert not scope.is_here()
    assert await scope.call(scope.is_here)
    assert not scope.is_here()
    assert not await asyncio.to_thread(scope.is_here)
    await scope.close()


# Units of work


class Shop:
    """A participant whose unit joins when it is first used."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.join: Join | None = None

    def begin(self, join: Join) -> None:
        self.log.append(f"{self.name}.begin")
        self.join = join

    def use(self) -> None:
        assert self.join is not None
        self.join(Unit(self.name, self.log))


async def test_participants_begin_in_order_and_cost_nothing_until_they_are_used() -> None:
    log: list[str] = []
    shops = [Shop("a", log), Shop("b", log)]
    scope = await opened()
    scope.begin(shops)
    await scope.commit()
    assert log == ["a.begin", "b.begin"]
    await scope.call(shops[1].use)
    await scope.commit()
    await scope.close()
    assert log[2:] == ["b.prepare", "b.commit", "b.close"]


async def test_a_unit_takes_its_steps_where_its_kind_belongs() -> None:
    scope = await opened(Unit("a", []), AsyncUnit("b", []))
    for step in (scope.commit, scope.rest, scope.abort, scope.close):
        await step()
    here, there = scope.units
    assert isinstance(here, Unit)
    assert isinstance(there, Unit)
    assert (here.threads, there.threads) == ({"millstream Root.feed"}, {MAIN})


@pytest.mark.parametrize("steps", ["rest", "commit"])
async def test_on_the_thread_mixed_units_take_their_steps_without_a_deadlock(steps: str) -> None:
    log: list[str] = []
    scope = await opened(Unit("a", log), AsyncUnit("b", log), Unit("c", log))
    async with asyncio.timeout(PATIENCE):
        await scope.start(scope.rest_here if steps == "rest" else scope.commit_here)
    names = ["rest"] if steps == "rest" else ["prepare", "commit"]
    assert log == [f"{name}.{step}" for step in names for name in "abc"]
    assert [unit.threads for unit in scope.units] == [  # type: ignore[attr-defined]  # they are ours
        {"millstream Root.feed"},
        {MAIN},
        {"millstream Root.feed"},
    ]
    await scope.close()


async def test_on_the_thread_a_step_that_makes_a_coroutine_is_waited_for() -> None:
    class Lazy(Unit):
        def rest(self) -> Coroutine[Any, Any, None]:  # type: ignore[override]  # the port allows it
            return self.later()

        async def later(self) -> None:
            await asyncio.sleep(0)
            self.step("rest")

    log: list[str] = []
    scope = await opened(Lazy("a", log))
    await scope.start(scope.rest_here)
    assert log == ["a.rest"]
    await scope.close()


@pytest.mark.parametrize("here", [True, False])
async def test_nothing_of_a_read_only_request_is_committed(here: bool) -> None:
    log: list[str] = []
    scope = await opened(Unit("a", log))
    scope.read_only = True
    await (scope.start(scope.commit_here) if here else scope.commit())
    assert log == ["a.abort"]
    await scope.close()


async def test_a_stream_is_settled_when_it_is_committed_and_not_before() -> None:
    scope = await opened(AsyncUnit("a", []))
    await scope.settled()
    assert scope.stream.state is State.ENDING


def test_nothing_else_tells_a_stream_that_it_was_committed() -> None:
    tells = re.compile(r"\.tell\(Event\.(EXHAUSTED|COMMITTED)\)")
    source = Path(millstream.__file__).parent
    found = {
        path.relative_to(source).as_posix() for path in source.rglob("*.py") if tells.search(path.read_text())
    }
    assert found == {"engine/scope.py"}


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_a_stream_whose_participant_fails_is_not_settled(step: str) -> None:
    scope = await opened(Unit("a", [], step))
    with pytest.raises(RuntimeError, match="a fails"):
        await scope.settled()
    assert scope.stream.state is State.SETTLING
    await scope.close()


async def test_a_stream_that_was_ended_early_is_not_settled() -> None:
    log: list[str] = []
    scope = await opened(Unit("a", log))
    scope.stream.interrupt(Reason.STOPPED)
    with pytest.raises(HTTPError):
        await scope.settled()
    assert log == []
    await scope.close()


async def test_an_abort_goes_through_although_the_request_is_cancelled() -> None:
    log: list[str] = []
    scope = await opened(Unit("a", log), AsyncUnit("b", log))
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await scope.abort()
    assert log == ["a.abort", "b.abort"]
    await scope.close()


async def test_without_units_an_abort_is_nothing() -> None:
    scope = await opened()
    await scope.abort()
    await scope.close()


def test_what_must_not_suspend_is_found_out_when_it_does() -> None:
    suspending = asyncio.sleep(0)
    with pytest.raises(AssertionError, match="must not suspend"):
        _finish(suspending)
    suspending.close()


# The end


async def told(*callbacks: Callable[..., Any]) -> Scope:
    scope = await opened()
    scope.stream.callbacks = callbacks
    scope.stream.tell(Event.BROKE)
    return scope


async def test_everybody_is_told_the_end_in_order_where_their_code_belongs() -> None:
    seen: list[tuple[Reason, str, str]] = []

    def plain(reason: Reason, statistics: Statistics) -> None:
        seen.append((reason, statistics.route, thread()))

    async def awaited(reason: Reason, statistics: Statistics) -> None:
        await asyncio.sleep(0)
        seen.append((reason, statistics.route, thread()))

    await (await told(plain, awaited)).close()
    assert seen == [
        (Reason.FAILED, "Root.feed", "millstream Root.feed"),
        (Reason.FAILED, "Root.feed", MAIN),
    ]


async def test_a_callback_that_fails_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    def fail(*_: Any) -> None:
        raise ValueError("no such table")

    await (await told(fail, lambda *_: seen.append("told"))).close()
    assert seen == ["told"]
    assert "Root.feed: an on_end callback failed" in caplog.text
    assert "no such table" in caplog.text


async def test_units_close_in_reverse_after_everybody_was_told() -> None:
    log: list[str] = []
    scope = await opened(Unit("a", log), AsyncUnit("b", log))
    scope.stream.callbacks = (lambda *_: log.append("told"),)
    await scope.close()
    assert log == ["told", "b.close", "a.close"]


async def test_units_close_although_the_request_is_cancelled_meanwhile() -> None:
    log: list[str] = []
    lanes = Lanes(1)
    scope = await opened(Unit("a", log), AsyncUnit("b", log), lanes=lanes)
    reached = asyncio.Event()

    async def never(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    scope.stream.callbacks = (never,)
    closing = asyncio.create_task(scope.close())
    await reached.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert log == ["b.close", "a.close"]
    assert lanes.busy == 0


async def test_what_is_given_up_never_lacks_a_thread() -> None:
    log: list[str] = []
    lanes = Lanes(1)
    lane = lanes.borrow("another")
    scope = await opened(Unit("a", log), lanes=lanes)
    scope.stream.callbacks = (lambda *_: log.append("told"),)
    await scope.abort()
    await scope.close()
    assert log == ["a.abort", "told", "a.close"]
    assert lanes.busy == 1
    lane.release()


async def test_a_closed_scope_keeps_nothing_of_its_context() -> None:
    scope = await opened()
    await scope.call(thread)
    await scope.close()
    assert scope._context is None


async def test_a_generator_is_stepped_in_one_context_from_first_to_last() -> None:
    def steps() -> Iterator[str]:
        token = VISITOR.set("Ann")
        yield VISITOR.get()
        VISITOR.reset(token)
        yield VISITOR.get()

    def consume() -> list[str]:
        return list(steps())

    scope = await opened()
    assert await scope.start(consume) == ["Ann", "nobody"]
    await scope.close()


async def test_a_thread_that_was_given_up_keeps_its_units_and_others_are_told_elsewhere() -> None:
    """What the thread is in cannot be touched; who is told of the end did not ask on which thread."""
    log: list[str] = []
    lanes, gate, told = Lanes(10), threading.Event(), list[Any]()
    scope = await begun(Stream(route="Root.blocks"), Unit("u", log), lanes=lanes)
    scope.stream.callbacks = (lambda reason, _: told.append((reason, threading.current_thread().name)),)
    job = scope.start(gate.wait)
    scope.stream.interrupt(Reason.SHUTDOWN)
    lanes.give_up()
    with pytest.raises(ThreadGivenUp):
        await job
    async with asyncio.timeout(5):
        await scope.abort()
        await scope.close()
    gate.set()
    assert log == []
    assert told == [(Reason.SHUTDOWN, "millstream Root.blocks")]
    assert lanes.busy == 0
