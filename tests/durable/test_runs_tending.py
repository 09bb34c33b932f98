from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from millstream.durable.engine import Decide
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.runs.tending import Tending
from millstream.durable.state import Change, State


class Away(MemoryEngine):
    """A database that may be away."""

    away = False

    async def look(self, name: str, /) -> State | None:
        if self.away:
            raise OSError("no connection")
        return await super().look(name)

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        if self.away:
            raise OSError("no connection")
        return await super().change(names, producer, decide)


class Held:
    """A lease that is tended, and what was heard."""

    def __init__(self, log: Log, engine: Away) -> None:
        self.log, self.engine = log, engine
        self.stopped, self.lost = asyncio.Event(), asyncio.Event()

    async def beat(self) -> int:
        tenure = (await self.log.describe("run")).tenure
        assert tenure is not None
        return tenure.beat

    async def wait_beats(self, more: int) -> None:
        upto = await self.beat() + more
        await self.log.wait_until(
            "run", lambda state: state.tenure is not None and state.tenure.beat >= upto, 5
        )
        assert await self.beat() >= upto


@asynccontextmanager
async def held(seconds: float = 30.0) -> AsyncIterator[Held]:
    engine = Away()
    async with Log(engine) as log:
        lease = await log.claim("run", Config(), seconds=seconds)
        assert lease is not None
        one = Held(log, engine)
        tending = Tending(log, lease, one.stopped.set, one.lost.set)
        yield one
        tending.end()


async def test_signs_of_life_are_given_as_long_as_it_is_tended() -> None:
    async with held(0.06) as one:
        await one.wait_beats(5)
        assert not one.lost.is_set()


async def test_a_stop_is_heard_at_once_and_the_lease_is_held_on() -> None:
    async with held(0.6) as one:
        await one.wait_beats(0)
        await one.log.stop("run")
        await asyncio.wait_for(one.stopped.wait(), 5)
        await one.wait_beats(2)
        assert not one.lost.is_set()


async def test_a_stop_that_came_before_is_heard_too() -> None:
    async with held() as one:
        await one.log.stop("run")
        await asyncio.wait_for(one.stopped.wait(), 5)
        assert one.stopped.is_set()


async def test_a_lease_that_somebody_else_took_is_lost() -> None:
    async with held(0.06) as one:
        await one.log.take_over(await one.log.describe("run"))
        await asyncio.wait_for(one.lost.wait(), 5)
        assert not one.stopped.is_set()


async def test_a_stream_that_was_deleted_takes_the_lease_with_it() -> None:
    async with held() as one:
        await one.wait_beats(0)
        await one.log.delete("run")
        await asyncio.wait_for(one.lost.wait(), 5)
        assert one.lost.is_set()


async def test_a_database_that_is_back_in_time_costs_nothing() -> None:
    async with held(0.6) as one:
        await one.wait_beats(0)
        one.engine.away = True
        await asyncio.sleep(0.15)  # more than one beat
        one.engine.away = False
        await one.wait_beats(2)
        assert not one.lost.is_set()


async def test_who_could_not_give_a_sign_for_a_whole_lease_has_lost_it() -> None:
    async with held(0.12) as one:
        one.engine.away = True
        await asyncio.wait_for(one.lost.wait(), 5)
        assert one.lost.is_set()
