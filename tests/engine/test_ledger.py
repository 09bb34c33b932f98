from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from tests.engine.conftest import instantly

from millstream.config import Settings
from millstream.engine.ledger import Admission, Cap, Ledger, admission
from millstream.engine.stream import Stream
from millstream.errors import Overloaded
from millstream.protocol.events import Reason


async def entered(ledger: Ledger, *clients: str, **settings: Any) -> list[Stream]:
    terms = admission(Settings(**settings))
    streams = [Stream(client=client) for client in clients]
    for stream in streams:
        ledger.enter(stream, terms, stream.client)
    return streams


def own(action: str, **settings: Any) -> Admission:
    return admission(Settings(**settings), action, tuple(settings))


async def test_it_knows_who_is_alive_oldest_first() -> None:
    ledger = Ledger(Settings())
    first, second, third = await entered(ledger, "a", "b", "c")
    ledger.leave(second)
    assert [told.id for told in ledger.live] == [first.id, third.id]
    assert len(ledger) == 2


async def test_one_stream_more_than_allowed_is_told_to_come_back() -> None:
    ledger = Ledger(Settings(max_streams=2))
    first, _ = await entered(ledger, "a", "b")
    with pytest.raises(Overloaded, match="2 streams are open") as refused:
        await entered(ledger, "c")
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    ledger.leave(first)
    await entered(ledger, "c")


async def test_one_client_more_than_allowed_is_told_that_it_is_the_one() -> None:
    ledger = Ledger(Settings())
    (first,) = await entered(ledger, "a", max_streams_per_client=1)
    await entered(ledger, "b", max_streams_per_client=1)
    with pytest.raises(Overloaded, match="1 streams are open for this client") as refused:
        await entered(ledger, "a", max_streams_per_client=1, retry_after=7)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "7"})
    ledger.leave(first)
    await entered(ledger, "a", max_streams_per_client=1)


async def test_clients_of_whom_the_server_tells_nothing_are_not_taken_for_one() -> None:
    ledger = Ledger(Settings())
    await entered(ledger, "", "", "", max_streams_per_client=1)
    assert len(ledger) == 3


async def test_an_actions_own_cap_counts_its_streams_alone() -> None:
    ledger = Ledger(Settings())
    scarce, usual = own("Root.scarce", max_streams=1), admission(Settings(), "Root.usual")
    assert scarce.caps == (Cap(1, per_client=False, action="Root.scarce"),)
    first = Stream()
    ledger.enter(Stream(), usual)
    ledger.enter(first, scarce)
    with pytest.raises(Overloaded, match="1 streams of this kind are open, and") as refused:
        ledger.enter(Stream(), scarce)
    assert refused.value.status == 503
    ledger.enter(Stream(), usual)
    ledger.leave(first)
    ledger.enter(Stream(), scarce)


async def test_an_actions_own_cap_of_a_client_counts_its_streams_alone() -> None:
    ledger = Ledger(Settings())
    scarce = own("Root.scarce", max_streams_per_client=1)
    await entered(ledger, "a", "a", max_streams_per_client=2)
    ledger.enter(Stream(), scarce, "a")
    ledger.enter(Stream(), scarce, "b")
    with pytest.raises(Overloaded, match="of this kind are open for this client"):
        ledger.enter(Stream(), scarce, "a")


async def test_an_actions_own_cap_does_not_lift_that_of_all() -> None:
    ledger = Ledger(Settings(max_streams=1))
    generous = own("Root.generous", max_streams=5)
    ledger.enter(Stream(), generous)
    with pytest.raises(Overloaded, match="1 streams are open, and no more are allowed"):
        ledger.enter(Stream(), generous)


async def test_whoever_was_refused_does_not_count() -> None:
    ledger = Ledger(Settings())
    both = own("Root.both", max_streams=2, max_streams_per_client=1)
    first, refused = Stream(), Stream()
    ledger.enter(first, both, "a")
    with pytest.raises(Overloaded):
        ledger.enter(refused, both, "a")
    ledger.leave(refused)
    assert len(ledger) == 1
    ledger.enter(Stream(), both, "b")
    with pytest.raises(Overloaded, match="2 streams of this kind"):
        ledger.enter(Stream(), both, "c")


async def test_leaving_twice_is_leaving_once() -> None:
    ledger = Ledger(Settings())
    first, second = await entered(ledger, "a", "a", max_streams_per_client=2)
    ledger.leave(first)
    ledger.leave(first)
    await entered(ledger, "a", max_streams_per_client=2)
    with pytest.raises(Overloaded):
        await entered(ledger, "a", max_streams_per_client=2)
    ledger.leave(second)


async def test_after_the_last_has_left_nothing_is_counted() -> None:
    ledger = Ledger(Settings())
    for stream in await entered(ledger, "a", "b", "", max_streams_per_client=1):
        ledger.leave(stream)
    assert (ledger._open._taken, ledger._open._of) == ({}, {})


async def test_only_so_many_may_run_on_without_their_clients() -> None:
    ledger = Ledger(Settings(max_detached=1))
    first, second = await entered(ledger, "a", "b")
    assert (first.may_detach(first), second.may_detach(second)) == (True, False)
    ledger.leave(first)
    assert second.may_detach(second)


async def test_one_stream_is_stopped_by_its_name() -> None:
    ledger = Ledger(Settings())
    first, second = await entered(ledger, "a", "b")
    assert ledger.stop(second.id, Reason.REVOKED)
    assert (first.reason, second.reason) == (None, Reason.REVOKED)


async def test_looking_for_a_stream_does_not_name_the_others() -> None:
    ledger = Ledger(Settings())
    nameless, named = await entered(ledger, "a", "b")
    found = ledger.find(named.id)
    assert found is not None
    assert (found.id, nameless._id) == (named.id, "")
    assert ledger.find("nobody") is ledger.find("") is None


async def test_stopping_what_is_not_there_or_has_ended_says_so() -> None:
    ledger = Ledger(Settings())
    (stream,) = await entered(ledger, "a")
    assert not ledger.stop("nobody")
    assert not ledger.stop("")
    assert ledger.stop(stream.id)
    assert not ledger.stop(stream.id)


@instantly
async def test_a_drain_of_nothing_takes_no_time() -> None:
    ledger = Ledger(Settings())
    before = asyncio.get_running_loop().time()
    await ledger.drain()
    assert asyncio.get_running_loop().time() == before


@instantly
async def test_while_it_drains_nobody_enters() -> None:
    ledger = Ledger(Settings())
    await ledger.drain()
    with pytest.raises(Overloaded, match="about to end"):
        await entered(ledger, "a")


@instantly
async def test_a_drain_ends_with_the_last_stream() -> None:
    ledger = Ledger(Settings(drain_timeout=10))
    loop = asyncio.get_running_loop()
    streams = await entered(ledger, "a", "b")
    for moment, stream in enumerate(streams, 1):
        loop.call_later(moment, ledger.leave, stream)
    before = loop.time()
    await ledger.drain()
    assert loop.time() - before == pytest.approx(2)
    assert [stream.reason for stream in streams] == [None, None]


@instantly
async def test_a_stream_that_does_not_end_by_itself_is_shut_down_and_then_waited_for() -> None:
    ledger = Ledger(Settings(drain_timeout=10, close_timeout=5))
    loop = asyncio.get_running_loop()
    (stream,) = await entered(ledger, "a")

    def end_late() -> None:
        loop.call_later(2, ledger.leave, stream)

    stream.on_interrupt = end_late
    before = loop.time()
    await ledger.drain()
    assert stream.reason is Reason.SHUTDOWN
    assert loop.time() - before == pytest.approx(12)


@instantly
async def test_a_stream_that_never_ends_does_not_keep_the_process_for_ever() -> None:
    ledger = Ledger(Settings(drain_timeout=10, close_timeout=5))
    await entered(ledger, "a")
    before = asyncio.get_running_loop().time()
    await ledger.drain()
    assert asyncio.get_running_loop().time() - before == pytest.approx(15)


@instantly
async def test_two_drains_at_once_both_end_with_the_last_stream() -> None:
    ledger = Ledger(Settings(drain_timeout=10))
    loop = asyncio.get_running_loop()
    (stream,) = await entered(ledger, "a")
    loop.call_later(1, ledger.leave, stream)
    before = loop.time()
    await asyncio.gather(ledger.drain(), ledger.drain())
    assert loop.time() - before == pytest.approx(1)


@instantly
async def test_a_later_drain_waits_for_the_moments_of_the_first() -> None:
    ledger = Ledger(Settings(drain_timeout=10, close_timeout=5))
    await entered(ledger, "a")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await ledger.drain()
    await ledger.drain()
    assert loop.time() - before == pytest.approx(15)


@instantly
async def test_hurry_gives_no_more_time() -> None:
    ledger = Ledger(Settings(drain_timeout=1000, close_timeout=5))
    loop = asyncio.get_running_loop()
    (stream,) = await entered(ledger, "a")
    loop.call_later(1, ledger.hurry)
    stream.on_interrupt = lambda: None
    before = loop.time()
    await ledger.drain()
    assert stream.reason is Reason.SHUTDOWN
    assert loop.time() - before == pytest.approx(6)


@instantly
async def test_hurry_before_the_drain_has_begun_is_not_forgotten() -> None:
    ledger = Ledger(Settings(drain_timeout=1000, close_timeout=5))
    loop = asyncio.get_running_loop()
    await entered(ledger, "a")
    before = loop.time()
    ledger.hurry()
    await ledger.drain()
    assert loop.time() - before == pytest.approx(5)


@instantly
async def test_a_drain_without_a_deadline_waits_for_the_last_stream() -> None:
    ledger = Ledger(Settings(drain_timeout=math.inf))
    loop = asyncio.get_running_loop()
    (stream,) = await entered(ledger, "a")
    loop.call_later(1e6, ledger.leave, stream)
    await ledger.drain()
    assert stream.reason is None


@instantly
async def test_an_application_that_is_served_again_drains_again() -> None:
    ledger = Ledger(Settings(drain_timeout=10, close_timeout=5))
    loop = asyncio.get_running_loop()
    await ledger.drain()
    ledger.reopen()
    (stream,) = await entered(ledger, "a")
    loop.call_later(2, ledger.leave, stream)
    await ledger.drain()
    assert stream.reason is None


@pytest.mark.parametrize("debug", [True, False])
async def test_only_debug_watches_the_loop(debug: bool) -> None:
    ledger = Ledger(Settings(debug=debug))
    (stream,) = await entered(ledger, "a")
    assert (ledger._watchdog is not None) == debug
    if ledger._watchdog is not None:
        assert ledger._watchdog._thread is not None
        ledger.leave(stream)
        assert ledger._watchdog._thread is None


# Requests that wait for their bodies, and those that are answered


async def test_requests_that_wait_for_bodies_count_for_the_same_caps_apart_from_streams() -> None:
    ledger, terms = Ledger(Settings()), own("Root.save", max_streams=2, max_streams_per_client=1)
    ledger.enter(Stream(), terms, "a")
    waiting, other = Stream(), Stream()
    ledger.begin_waiting(waiting, terms, "a")
    with pytest.raises(
        Overloaded, match="1 requests of this kind wait for their bodies for this client"
    ) as told:
        ledger.begin_waiting(other, terms, "a")
    assert told.value.status == 429
    ledger.begin_waiting(other, terms, "b")
    with pytest.raises(Overloaded, match="2 requests of this kind wait for their bodies,") as told:
        ledger.begin_waiting(Stream(), terms, "c")
    assert told.value.status == 503
    ledger.end_waiting(waiting)
    ledger.begin_waiting(Stream(), terms, "c")


@pytest.mark.parametrize("settings", [Settings(max_bodies=1), Settings(max_streams=1)])
async def test_all_requests_that_wait_for_bodies_have_a_cap(settings: Settings) -> None:
    ledger = Ledger(settings)
    ledger.enter(Stream())
    first = Stream()
    ledger.begin_waiting(first)
    with pytest.raises(Overloaded, match="1 requests wait for their bodies, and no more are allowed"):
        ledger.begin_waiting(Stream())
    ledger.leave(first)
    ledger.begin_waiting(Stream())


async def test_an_open_stream_does_not_count_as_one_that_waits() -> None:
    ledger, stream = Ledger(Settings()), Stream()
    assert not ledger.waits(stream)
    ledger.enter(stream)
    assert ledger.waits(stream)


async def test_what_is_answered_is_waited_for_and_then_woken() -> None:
    ledger, stream = Ledger(Settings(drain_timeout=0.01)), Stream()
    woken = asyncio.Event()
    stream.on_interrupt = woken.set
    ledger.begin(stream)
    draining = asyncio.create_task(ledger.drain())
    await asyncio.wait_for(woken.wait(), 5)
    assert stream.reason is Reason.SHUTDOWN
    ledger.leave(stream)
    await asyncio.wait_for(draining, 5)


async def test_a_drain_ends_with_the_last_answer() -> None:
    ledger, stream = Ledger(Settings(drain_timeout=600)), Stream()
    ledger.begin(stream)
    draining = asyncio.create_task(ledger.drain())
    await asyncio.sleep(0)
    ledger.leave(stream)
    await asyncio.wait_for(draining, 5)
    assert stream.reason is None
