"""What is the log's own; what it promises together with an engine is `check_log`'s."""

from __future__ import annotations

import asyncio

import pytest

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.offsets import START
from millstream.durable.refusals import NoSuchStream, OffsetGone
from millstream.durable.state import Change, State
from millstream.testing.durable import Clock

TEXT = Config(content_type="text/plain")


class Watched(MemoryEngine):
    """Counts its commits."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0

    def _store(self, change: Change) -> None:
        self.commits += 1
        super()._store(change)


class Polled(Watched):
    """An engine whose hints are lost."""

    poll: float | None = 0.01

    async def open(self, *_: object) -> None:
        """No hints."""


async def test_few_reads_become_writes() -> None:
    engine, clock = Watched(), Clock()
    async with Log(engine, clock=clock) as log:
        await log.create("s", Config(ttl=1600), [b"x"])
        for _ in range(99):
            await log.read("s")
            clock.advance(1)
        assert engine.commits == 1
        clock.advance(1)
        await log.read("s")
        assert engine.commits == 2


async def test_a_stream_without_a_time_to_live_is_only_read() -> None:
    engine = Watched()
    async with Log(engine) as log:
        await log.create("s", TEXT, [b"x"])
        await log.read("s")
        assert engine.commits == 1


async def test_empty_records_are_nowhere() -> None:
    async with Log(MemoryEngine()) as log:
        made = await log.create("s", TEXT, [b"", b"a", b""])
        assert made.state.tail == 1
        assert (await log.read("s")).messages == [b"a"]


async def test_a_lost_hint_costs_a_poll_and_no_more() -> None:
    async with Log(Polled()) as log:
        await log.create("s", TEXT)
        waiter = asyncio.create_task(log.wait_more("s", START, 30))
        await asyncio.sleep(0)
        await log.append("s", Append(records=[b"x"]))
        assert (await asyncio.wait_for(waiter, 5)).tail == 1


async def test_a_stream_that_is_deleted_while_it_is_read_is_not_there() -> None:
    class Late(MemoryEngine):
        async def look(self, name: str, /) -> State | None:
            state = await super().look(name)
            if state is not None and state.tail:
                self._states.clear()
                self._records.clear()
            return state

    async with Log(Late()) as log:
        await log.create("s", TEXT, [b"x"])
        with pytest.raises(NoSuchStream):
            await log.read("s")


async def test_records_that_vanish_are_noticed() -> None:
    engine = MemoryEngine()
    async with Log(engine) as log:
        await log.create("s", TEXT, [b"x"])
        engine._records.clear()
        with pytest.raises(OffsetGone):
            await log.read("s")


async def test_a_fork_that_is_asked_for_again_is_the_same_though_its_source_grew() -> None:
    async with Log(MemoryEngine()) as log:
        await log.create("s", TEXT, [b"a"])
        first = await log.fork("f", "s", Config())
        await log.append("s", Append(records=[b"b"]))
        again = await log.fork("f", "s", Config())
        assert (first.fresh, again.fresh, again.state.own_start) == (True, False, 1)


async def test_time_and_chance_come_from_outside() -> None:
    clock = Clock()
    async with Log(MemoryEngine(), clock=clock, token=lambda: "ab" * 8) as log:
        state = (await log.create("s", Config(ttl=5))).state
        assert state.next_offset == f"{0:016d}_{'ab' * 8}"
        assert state.expires == clock() + 5
