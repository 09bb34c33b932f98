from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.conftest import soon

from millstream.engine import threads
from millstream.engine.threads import IDLE_NAME, Lane, Lanes
from millstream.errors import Overloaded, ThreadGivenUp


def fails(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


async def rested(lane: Lane) -> None:
    """Wait until a thread that was given back can be borrowed again."""
    lane.release()
    await soon(lambda: lane in lane._lanes._idle)


# Jobs


async def test_jobs_run_in_order_on_one_thread_with_a_name() -> None:
    lane = Lanes(1).borrow("Root.feed")
    ran: list[tuple[int, str]] = []

    def job(number: int) -> Callable[[], None]:
        return lambda: ran.append((number, threading.current_thread().name))

    await asyncio.gather(*(lane.submit(job(number)) for number in range(5)))
    assert ran == [(number, "millstream Root.feed") for number in range(5)]
    lane.release()


async def test_what_a_job_comes_to_is_told_on_the_loop() -> None:
    lane = Lanes(1).borrow("")
    assert await lane.submit(lambda: 42) == 42
    with pytest.raises(KeyError):
        await lane.submit(fails(KeyError("x")))
    lane.release()


@pytest.mark.parametrize("error", [StopIteration(3), GeneratorExit("x")])
async def test_what_would_mean_something_else_to_a_coroutine_is_wrapped(error: BaseException) -> None:
    lane = Lanes(1).borrow("")
    with pytest.raises(RuntimeError, match=f"raised {type(error).__name__}") as wrapped:
        await lane.submit(fails(error))
    assert wrapped.value.__cause__ is error
    lane.release()


async def test_a_task_that_is_cancelled_learns_of_it_when_the_job_is_done_and_not_before() -> None:
    lane, gate = Lanes(1).borrow(""), threading.Event()
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await job
        finally:
            ended.append(job.done())

    job = lane.submit(gate.wait)
    waiting = asyncio.create_task(wait())
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    assert not waiting.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [True]
    lane.release()


async def test_a_failure_of_a_job_whose_task_was_cancelled_is_not_lost_in_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lane, gate = Lanes(1).borrow(""), threading.Event()

    def job() -> None:
        gate.wait()
        raise ValueError

    async def wait(result: threads.ThreadResult) -> None:
        await result

    waiting = asyncio.create_task(wait(lane.submit(job)))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting
    lane.release()
    assert "never retrieved" not in caplog.text


def test_a_job_may_end_after_its_loop() -> None:
    gate, lanes = threading.Event(), Lanes(1)

    async def begin() -> Lane:
        lane = lanes.borrow("")
        lane.submit(gate.wait)
        return lane

    lane = asyncio.run(begin())
    gate.set()
    lane.dismiss()
    asyncio.run(soon(lambda: lane._thread.ident and not lane._thread.is_alive()))


async def test_a_thread_keeps_nothing_of_a_job_that_is_done() -> None:
    class Request:
        pass

    lane, request = Lanes(1).borrow(""), Request()
    seen = weakref.ref(request)

    def job(held: Any = request) -> None:
        assert held

    await lane.submit(job)
    del request, job
    await soon(lambda: seen() is None)
    lane.release()


async def test_only_its_own_thread_is_a_lanes_own() -> None:
    lane = Lanes(1).borrow("")
    assert not lane.is_current()
    assert await lane.submit(lane.is_current)
    lane.release()


# The bell


async def test_a_job_waits_for_the_bell_or_for_its_time() -> None:
    lane = Lanes(1).borrow("")
    waiting = lane.submit(lambda: lane.wait(60))
    lane.bell.put(None)
    assert await waiting is True
    assert await lane.submit(lambda: lane.wait(0.001)) is False
    lane.release()


async def test_a_bell_that_rang_for_one_request_does_not_wake_the_next() -> None:
    lanes = Lanes(1)
    lane = lanes.borrow("")
    lane.bell.put(None)
    await rested(lane)
    again = lanes.borrow("")
    assert again is lane
    assert await again.submit(lambda: again.wait(0.001)) is False
    again.release()


# Lending


async def test_the_thread_that_rested_last_is_lent_first() -> None:
    lanes = Lanes(3)
    first, second = lanes.borrow("a"), lanes.borrow("b")
    assert first is not second
    await rested(first)
    await rested(second)
    assert lanes.borrow("c") is second
    assert lanes.borrow("d") is first
    first.release()
    second.release()


async def test_a_thread_that_rests_has_a_name_that_says_so() -> None:
    lane = Lanes(1).borrow("Root.feed")
    await rested(lane)
    assert lane._thread.name == IDLE_NAME


async def test_beyond_the_limit_a_client_is_told_to_come_back() -> None:
    lanes = Lanes(1)
    lane = lanes.borrow("a")
    with pytest.raises(Overloaded, match="all 1 threads for synchronous actions are busy"):
        lanes.borrow("b")
    beyond = lanes.borrow("c", beyond_limit=True)
    assert lanes.busy == 2
    beyond.release()
    lane.release()
    assert lanes.busy == 0
    lanes.borrow("b").release()


async def test_a_system_without_threads_is_an_overload_and_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lanes = Lanes(1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Overloaded, match="no more threads"):
            lanes.borrow("a")
    assert lanes.busy == 0
    lanes.borrow("a").release()


async def test_a_thread_nobody_needs_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    lanes = Lanes(1)
    lane = lanes.borrow("a")
    await rested(lane)
    await soon(lambda: lane._thread.ident and not lane._thread.is_alive())
    assert lanes.borrow("b") is not lane
    lanes.close()


async def test_a_thread_that_is_lent_stays_however_long_it_has_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.001)
    lanes = Lanes(1)
    lane = lanes.borrow("a")
    asked = threading.Event()
    forget = lanes.forget

    def noted(each: threads.Lane) -> bool:
        forgotten = forget(each)
        asked.set()
        return forgotten

    monkeypatch.setattr(lanes, "forget", noted)
    await soon(asked.is_set)
    assert await lane.submit(lambda: "here") == "here"
    lane.release()


async def test_a_thread_that_was_just_borrowed_is_not_forgotten() -> None:
    lanes = Lanes(1)
    lane = lanes.borrow("a")
    assert lanes.forget(lane) is False
    await rested(lane)
    assert lanes.forget(lane) is True
    lane.dismiss()


async def test_closing_lets_the_idle_go_and_the_busy_finish() -> None:
    lanes = Lanes(2)
    idle, busy = lanes.borrow("a"), lanes.borrow("b")
    await rested(idle)
    lanes.close()
    await soon(lambda: not idle._thread.is_alive())
    assert await busy.submit(lambda: 1) == 1
    busy.release()


# Many of them


async def test_many_threads_wake_and_end_in_little_more_than_their_time() -> None:
    lanes = Lanes(200)
    before = time.monotonic()
    borrowed = [lanes.borrow(str(number)) for number in range(200)]
    await asyncio.gather(*(lane.submit(lambda: time.sleep(0.05)) for lane in borrowed))
    assert time.monotonic() - before < 2
    for lane in borrowed:
        lane.release()
    await soon(lambda: len(lanes._idle) == 200)
    lanes.close()


async def test_a_thread_that_is_done_is_lent_again_without_being_woken() -> None:
    lanes = Lanes(1)
    lane = lanes.borrow("a")
    await lane.submit(lambda: None)
    lane.release()
    assert list(lanes._idle) == [lane]
    lanes.close()


async def test_a_thread_that_still_works_rests_when_it_is_done() -> None:
    lanes, gate = Lanes(1), threading.Event()
    lane = lanes.borrow("a")
    lane.submit(gate.wait)
    lane.release()
    assert not lanes._idle
    gate.set()
    await soon(lambda: lane in lanes._idle)
    lanes.close()


async def test_the_loop_does_not_wait_for_a_thread_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begin = threading.Event(), vars(threading.Thread)["_bootstrap"]

    def held(thread: Any) -> None:
        gate.wait()
        begin(thread)

    monkeypatch.setattr(threads._Thread, "_bootstrap", held)
    lane = Lanes(1).borrow("a")
    job = lane.submit(lambda: "done")
    gate.set()
    assert await job == "done"
    lane.release()


async def test_a_crowd_of_threads_that_went_away_gives_its_memory_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(threads, "give_back_soon", asked.append)
    monkeypatch.setattr("millstream.engine.leftovers.CROWD", 10)
    lanes = Lanes(10)
    borrowed = [lanes.borrow("") for _ in range(10)]
    await asyncio.gather(*(lane.submit(lambda: None) for lane in borrowed))
    for lane in borrowed:
        lane.release()
    await soon(lambda: asked)
    assert asked == [asyncio.get_running_loop()]


async def test_a_task_is_woken_by_plain_futures() -> None:
    """Of any other CPython 3.11 asks a name that it makes for the occasion, and keeps."""
    lane, gate = Lanes(1).borrow(""), threading.Event()
    job = lane.submit(gate.wait)
    waiting: Any = asyncio.ensure_future(_awaited(job))
    await asyncio.sleep(0)
    assert type(waiting._fut_waiter) is asyncio.Future
    gate.set()
    assert await waiting is True
    lane.release()


async def _awaited(job: Any) -> Any:
    return await job


# The end of the process


async def test_a_thread_that_blocks_is_given_up_and_nobody_waits_for_it_or_is_lent_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lanes, gate, ended = Lanes(2), threading.Event(), threading.Event()
    blocks, rests = lanes.borrow("Root.blocks"), lanes.borrow("Root.rests")
    await rests.submit(lambda: None)

    def block() -> None:
        gate.wait()
        ended.set()

    job = blocks.submit(block)
    lanes.give_up()
    for outcome in (job, blocks.submit(lambda: "later")):
        with pytest.raises(ThreadGivenUp):
            await outcome
    assert await rests.submit(lambda: "here") == "here"
    blocks.release()
    rests.release()
    gate.set()
    await soon(lambda: ended.is_set() and not blocks._thread.is_alive())
    await asyncio.sleep(0)  # what it comes to was told, and means nothing
    assert (lanes.busy, blocks in lanes._idle) == (0, False)
    assert [record.getMessage() for record in caplog.records] == [
        "millstream Root.blocks: the thread blocks, and is given up with the process"
    ]
