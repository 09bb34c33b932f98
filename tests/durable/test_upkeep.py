from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.refusals import LeaseLost, NoSuchStream, StaleEpoch
from millstream.durable.state import State
from millstream.durable.upkeep import Upkeep
from millstream.testing.durable import Clock

TEXT = Config(content_type="text/plain", ttl=100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(clock: Clock) -> AsyncIterator[Log]:
    async with Log(MemoryEngine(), clock=clock) as log:
        yield log


async def test_a_dead_producer_is_buried_after_a_whole_lease_of_silence(log: Log, clock: Clock) -> None:
    lease = await log.claim("run", TEXT, seconds=30, will=b"died")
    assert lease is not None
    monotonic = Clock()
    upkeep = Upkeep(log, monotonic=monotonic)
    clock.advance(10**9)  # a wall clock may jump as it likes
    await upkeep.go_round()
    monotonic.advance(29)
    await upkeep.go_round()
    assert not (await log.describe("run")).closed
    monotonic.advance(1)
    await upkeep.go_round()
    assert (await log.describe("run")).failed
    assert (await log.read("run")).messages == [b"died"]
    with pytest.raises(StaleEpoch):
        await log.append("run", Append(records=[b"late"], producer=lease.claim(0)))


async def test_a_beat_begins_the_watch_anew(log: Log) -> None:
    lease = await log.claim("run", TEXT, seconds=30)
    assert lease is not None
    monotonic = Clock()
    upkeep = Upkeep(log, monotonic=monotonic)
    for _ in range(5):
        await upkeep.go_round()
        monotonic.advance(29)
        await log.renew(lease)
    await upkeep.go_round()
    assert not (await log.describe("run")).closed


async def test_another_policy_may_take_a_run_over(log: Log) -> None:
    await log.claim("run", TEXT, seconds=0)
    await Upkeep(log, on_dead=log.take_over).go_round()
    state = await log.describe("run")
    assert state.tenure is not None
    assert (state.closed, state.tenure.epoch) == (False, 1)


async def test_who_was_slower_says_nothing(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    async def too_late(state: State) -> None:
        raise LeaseLost(state.name)

    await log.claim("run", TEXT, seconds=0)
    with caplog.at_level(logging.WARNING):
        await Upkeep(log, on_dead=too_late).go_round()
    assert not caplog.records


async def test_what_has_expired_is_swept(log: Log, clock: Clock) -> None:
    await log.create("old", TEXT)
    clock.advance(101)
    await Upkeep(log).go_round()
    assert await log._engine.look("old") is None


async def test_the_rounds_go_on_after_a_failure(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    rounds = asyncio.Event()
    failures = iter([RuntimeError("the database is away")])

    async def now_and_then(state: State) -> None:
        for failure in failures:
            raise failure
        rounds.set()

    await log.claim("run", TEXT, seconds=0)
    async with Upkeep(log, every=0.001, on_dead=now_and_then):
        await asyncio.wait_for(rounds.wait(), 5)
    assert "failed and goes on" in caplog.text


async def test_a_run_that_vanished_is_only_mentioned(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    async def gone(state: State) -> None:
        raise NoSuchStream(state.name)

    await log.claim("run", TEXT, seconds=0)
    await Upkeep(log, on_dead=gone).go_round()
    assert "could not be ended" in caplog.text
