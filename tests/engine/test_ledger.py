from __future__ import annotations

import asyncio

import pytest
from tests.engine.conftest import instantly

from millstream.config import Settings
from millstream.engine.ledger import Ledger
from millstream.engine.stream import Stream
from millstream.errors import Overloaded
from millstream.protocol.events import Reason


async def entered(ledger: Ledger, *clients: str) -> list[Stream]:
    streams = [Stream(client=client) for client in clients]
    for stream in streams:
        ledger.enter(stream)
    return streams


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
    ledger = Ledger(Settings(max_streams_per_client=1))
    (first,) = await entered(ledger, "a")
    await entered(ledger, "b")
    with pytest.raises(Overloaded) as refused:
        await entered(ledger, "a")
    assert refused.value.status == 429
    ledger.leave(first)
    await entered(ledger, "a")


async def test_clients_of_whom_the_server_tells_nothing_are_not_taken_for_one() -> None:
    ledger = Ledger(Settings(max_streams_per_client=1))
    await entered(ledger, "", "", "")
    assert len(ledger) == 3


async def test_whoever_was_refused_does_not_count() -> None:
    ledger = Ledger(Settings(max_streams=1))
    (first,) = await entered(ledger, "a")
    refused = Stream(client="a")
    with pytest.raises(Overloaded):
        ledger.enter(refused)
    ledger.leave(refused)
    assert len(ledger) == 1
    ledger.leave(first)
    assert (len(ledger), ledger._by_client) == (0, {})


async def test_leaving_twice_is_leaving_once() -> None:
    ledger = Ledger(Settings())
    first, _ = await entered(ledger, "a", "a")
    ledger.leave(first)
    ledger.leave(first)
    assert ledger._by_client == {"a": 1}


async def test_one_stream_is_stopped_by_its_name() -> None:
    ledger = Ledger(Settings())
    first, second = await entered(ledger, "a", "b")
    assert ledger.stop(second.id, Reason.REVOKED)
    assert (first.reason, second.reason) == (None, Reason.REVOKED)


async def test_stopping_what_is_not_there_or_has_ended_says_so() -> None:
    ledger = Ledger(Settings())
    (stream,) = await entered(ledger, "a")
    assert not ledger.stop("nobody")
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


@pytest.mark.parametrize("debug", [True, False])
async def test_only_debug_watches_the_loop(debug: bool) -> None:
    ledger = Ledger(Settings(debug=debug))
    (stream,) = await entered(ledger, "a")
    assert (ledger._watchdog is not None) == debug
    if ledger._watchdog is not None:
        assert ledger._watchdog._thread is not None
        ledger.leave(stream)
        assert ledger._watchdog._thread is None
