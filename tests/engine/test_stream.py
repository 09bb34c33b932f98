from __future__ import annotations

import asyncio
import contextlib
import threading
from itertools import product

import pytest

from millstream.engine.stream import Stream
from millstream.errors import HTTPError, LifecycleError
from millstream.protocol.events import Progress, Reason
from millstream.protocol.lifecycle import FINAL, TRANSITIONS, Event, State

HALTS = [reason for reason in Reason if reason not in {Reason.COMPLETED, Reason.FAILED}]
INTERRUPTIBLE = (State.WAITING, State.FLOWING, State.UNWATCHED)
TOO_LATE = [state for state in State if state not in (*INTERRUPTIBLE, State.ENDING)]

WAYS = {
    State.WAITING: [],
    State.FLOWING: [Event.HEAD_SENT],
    State.UNWATCHED: [Event.CLIENT_DETACHED],
    State.SETTLING: [Event.EXHAUSTED],
    State.SETTLING_UNWATCHED: [Event.EXHAUSTED, Event.CLIENT_GONE],
    State.ENDING: [Event.EXHAUSTED, Event.COMMITTED],
    State.DELIVERED: [Event.EXHAUSTED, Event.COMMITTED, Event.END_SENT],
    State.UNSEEN: [Event.EXHAUSTED, Event.COMMITTED, Event.CLIENT_GONE],
    State.ABANDONED: [Event.HALTED],
    State.FAILED: [Event.BROKE],
}


async def streaming(state: State = State.WAITING) -> Stream:
    stream = Stream(client="10.0.0.7", route="Root.feed")
    for event in WAYS[state]:
        stream.tell(event)
    assert stream.state is state
    return stream


async def test_a_refused_event_changes_nothing() -> None:
    stream = await streaming()
    with pytest.raises(LifecycleError):
        stream.tell(Event.END_SENT)
    assert stream.state is State.WAITING


async def test_an_id_is_unguessable_and_stays() -> None:
    first, second = await streaming(), await streaming()
    assert first.id == first.id != second.id
    assert len(first.id) >= 16


@pytest.mark.parametrize("state", State)
async def test_every_ordinary_end_has_its_reason_and_nothing_before_has_one(state: State) -> None:
    reasons = {
        State.DELIVERED: Reason.COMPLETED,
        State.UNSEEN: Reason.COMPLETED,
        State.FAILED: Reason.FAILED,
    }
    assert (await streaming(state)).reason is reasons.get(state)


@pytest.mark.parametrize(("state", "reason"), list(product(INTERRUPTIBLE, HALTS)))
async def test_a_running_stream_is_interrupted_for_the_reason_that_is_given(
    state: State, reason: Reason
) -> None:
    stream = await streaming(state)
    woken: list[Reason | None] = []
    stream.on_interrupt = lambda: woken.append(stream.reason)
    assert stream.interrupt(reason) is True
    assert (stream.state, stream.reason, stream.interrupted, stream.unwanted) == (
        State.ABANDONED,
        reason,
        True,
        True,
    )
    assert woken == [reason]


@pytest.mark.parametrize("reason", HALTS)
async def test_an_interruption_after_the_commit_leaves_a_completed_stream_unseen(reason: Reason) -> None:
    stream = await streaming(State.ENDING)
    assert stream.interrupt(reason) is False
    assert (stream.state, stream.reason, stream.interrupted) == (State.UNSEEN, Reason.COMPLETED, True)
    stream.require_uninterrupted()


@pytest.mark.parametrize(("state", "reason"), list(product(TOO_LATE, HALTS)))
async def test_an_interruption_that_comes_too_late_changes_nothing_but_who_watches(
    state: State, reason: Reason
) -> None:
    stream = await streaming(state)
    before = stream.reason
    stream.on_interrupt = lambda: pytest.fail("there is nobody to wake")
    assert stream.interrupt(reason) is False
    event = Event.CLIENT_GONE if reason is Reason.CLIENT_GONE else Event.HALTED
    assert (stream.state, stream.reason) == (TRANSITIONS[state][event], before)
    assert not stream.interrupted


async def test_of_two_interruptions_the_first_says_why() -> None:
    stream = await streaming(State.FLOWING)
    assert stream.interrupt(Reason.STALLED)
    assert not stream.interrupt(Reason.CLIENT_GONE)
    assert stream.reason is Reason.STALLED


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.CLIENT_GONE, 499),
        (Reason.STOPPED, 503),
        (Reason.TIMED_OUT, 504),
        (Reason.STALLED, 408),
        (Reason.SHUTDOWN, 503),
        (Reason.REVOKED, 403),
    ],
)
async def test_a_client_that_has_no_head_yet_is_told_by_a_status(reason: Reason, status: int) -> None:
    stream = await streaming()
    stream.interrupt(reason)
    with pytest.raises(HTTPError) as told:
        stream.require_uninterrupted()
    assert told.value.status == status
    assert told.value.detail
    assert ("Retry-After" in told.value.headers) == (status == 503)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ABANDONED])
async def test_a_stream_nobody_interrupted_may_go_on(state: State) -> None:
    (await streaming(state)).require_uninterrupted()


async def test_stopping_it_from_the_loop_is_done_at_once() -> None:
    stream = await streaming(State.FLOWING)
    assert stream.stop()
    assert stream.reason is Reason.STOPPED


@pytest.mark.parametrize("state", State)
async def test_stopping_it_from_a_thread_says_whether_it_came_in_time_to_be_tried(state: State) -> None:
    stream = await streaming(state)
    said = await asyncio.to_thread(stream.stop, Reason.REVOKED)
    assert said == (state in (*INTERRUPTIBLE, State.ENDING))
    await asyncio.sleep(0)
    assert (stream.reason is Reason.REVOKED) == (state in INTERRUPTIBLE)


async def test_stopping_it_from_a_thread_changes_nothing_before_the_loop_knows() -> None:
    stream = await streaming(State.FLOWING)
    stopper = threading.Thread(target=stream.stop)
    stopper.start()
    stopper.join()
    states = [stream.state]
    await asyncio.sleep(0)
    states.append(stream.state)
    assert states == [State.FLOWING, State.ABANDONED]


def test_stopping_one_that_has_ended_needs_no_loop() -> None:
    stream = asyncio.run(streaming(State.DELIVERED))
    said: list[bool] = []
    stopper = threading.Thread(target=lambda: said.append(stream.stop()))
    stopper.start()
    stopper.join()
    assert said == [False]


async def test_its_statistics_are_what_it_has_done() -> None:
    stream = await streaming(State.FLOWING)
    stream.items, stream.bytes, stream.first_byte = 3, 30, 0.5
    stream.progress = Progress(1, 2, "half")
    told = stream.statistics
    assert (told.id, told.route, told.client) == (stream.id, "Root.feed", "10.0.0.7")
    assert (told.state, told.reason) == (State.FLOWING, None)
    assert (told.items, told.bytes, told.first_byte, told.progress) == (3, 30, 0.5, Progress(1, 2, "half"))


@pytest.mark.parametrize("state", [state for state in State if state in FINAL])
async def test_its_time_stands_still_when_it_has_ended(state: State) -> None:
    stream = await streaming(state)
    before = stream.statistics.duration
    stream.tell(Event.CLIENT_GONE)
    assert stream.statistics.duration == before > 0


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
async def test_its_time_goes_on_while_it_lives(state: State) -> None:
    stream = await streaming(state)
    before = stream.statistics.duration
    while stream.statistics.duration == before:
        await asyncio.sleep(0)


@pytest.mark.parametrize("state", [State.WAITING, State.SETTLING])
async def test_when_it_starts_over_what_was_said_of_it_is_forgotten(state: State) -> None:
    stream = await streaming(state)
    stream.callbacks = (lambda _reason, _statistics: None,)
    stream.progress = Progress(1)
    stream.start_over()
    assert stream.statistics.state is State.WAITING
    assert stream.statistics.progress is None
    assert not stream.callbacks


# What is called on an interruption


@pytest.mark.parametrize("reason", HALTS)
async def test_what_is_to_be_called_on_an_interruption_is_called_once_on_another_thread(
    reason: Reason,
) -> None:
    stream, called = await streaming(State.FLOWING), threading.Event()
    threads: list[int] = []
    stream.call_on_interrupt(lambda: threads.append(threading.get_ident()))
    stream.call_on_interrupt(called.set)
    assert threads == []
    stream.interrupt(reason)
    stream.interrupt(Reason.STOPPED)
    stream.unblock()
    assert await asyncio.to_thread(called.wait, 10)
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_after_an_interruption_it_is_called_at_once() -> None:
    stream = await streaming(State.FLOWING)
    stream.interrupt(Reason.CLIENT_GONE)
    threads: list[int] = []
    stream.call_on_interrupt(lambda: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


@pytest.mark.parametrize("state", [*TOO_LATE, State.ENDING])
async def test_nothing_is_called_when_the_producer_has_ended(state: State) -> None:
    stream, threads = await streaming(state), threading.active_count()
    called: list[int] = []
    stream.call_on_interrupt(lambda: called.append(1))
    with contextlib.suppress(LifecycleError):
        stream.interrupt(Reason.SHUTDOWN)
    assert (called, threading.active_count()) == ([], threads)


async def test_a_callback_that_fails_is_logged_and_keeps_no_other_from_being_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, called = await streaming(State.FLOWING), threading.Event()

    def fails() -> None:
        raise ValueError("no such process")

    stream.call_on_interrupt(fails)
    stream.call_on_interrupt(called.set)
    stream.interrupt(Reason.STOPPED)
    assert await asyncio.to_thread(called.wait, 10)
    assert "Root.feed: an on_interrupt callback failed" in caplog.text


async def test_what_was_to_be_called_is_forgotten_when_the_action_is_called_once_more() -> None:
    stream = await streaming()
    called: list[int] = []
    stream.call_on_interrupt(lambda: called.append(1))
    stream.start_over()
    stream.interrupt(Reason.STOPPED)
    assert (called, stream.interrupt_callbacks) == ([], ())
