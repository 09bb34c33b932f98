from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from millstream.durable.engine import Decide
from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.refusals import LogRefused, OffsetGone
from millstream.durable.runs import recorder as room
from millstream.durable.runs.recorder import AHEAD, BATCH, Recorder
from millstream.durable.state import Change, State
from millstream.errors import ControllerError
from millstream.testing import EventReader


class Slow(MemoryEngine):
    """Counts its changes, lets nothing through while it is shut, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.through = asyncio.Event()
        self.through.set()
        self.fails: list[str] = []

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        await self.through.wait()
        self.changes += 1
        how = self.fails.pop() if self.fails else ""
        if how == "before":
            raise OSError("no connection")
        change = await super().change(names, producer, decide)
        if how == "after":
            raise OSError("the answer was lost")
        return change


class Pen:
    """A recorder, and what it has written."""

    def __init__(self, log: Log, engine: Slow, lease: Lease, **how: bool | int) -> None:
        self.log, self.engine, self.lease = log, engine, lease
        self.fenced = asyncio.Event()
        self.recorder = Recorder(
            log,
            lease,
            marked=bool(how.get("marked", False)),
            keep=how.get("keep"),
            on_fenced=self.fenced.set,
        )

    async def written(self) -> bytes:
        data, offset = b"", "-1"
        while not (page := await self.log.read(self.lease.name, offset)).up_to_date:
            data, offset = data + b"".join(page.messages), page.next_offset
        return data + b"".join(page.messages)

    async def state(self) -> State:
        return await self.log.describe(self.lease.name)


@asynccontextmanager
async def pen(seconds: float = 30.0, **how: bool | int) -> AsyncIterator[Pen]:
    engine = Slow()
    async with Log(engine) as log:
        lease = await log.claim("run", Config(content_type="text/plain"), seconds=seconds)
        assert lease is not None
        one = Pen(log, engine, lease, **how)
        yield one
        one.recorder.abandon()


async def test_a_run_is_closed_with_its_last_bytes_in_one_commit() -> None:
    async with pen() as one:
        await one.recorder.complete(b"all of it")
        assert await one.written() == b"all of it"
        assert (await one.state()).closed
        assert not (await one.state()).failed
        assert one.engine.changes == 2  # the claim, and this


async def test_a_run_that_failed_is_closed_as_such_after_its_last_words() -> None:
    async with pen() as one:
        await one.recorder.write(b"half, ")
        await one.recorder.fail(b"and why")
        assert await one.written() == b"half, and why"
        assert (await one.state()).failed


async def test_a_run_that_is_left_stays_open_with_all_that_was_produced() -> None:
    async with pen() as one:
        await one.recorder.write(b"half")
        await one.recorder.leave()
        assert await one.written() == b"half"
        assert not (await one.state()).closed


async def test_what_was_committed_stays_complete_whatever_happens_then() -> None:
    async with pen() as one:
        one.engine.through.clear()
        await one.recorder.write(b"x")
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(one.recorder.complete(b"y"))
        await asyncio.sleep(0)
        ending.cancel()
        one.engine.through.set()
        await one.recorder.fail(b"")
        assert await one.written() == b"xy"
        assert not (await one.state()).failed


async def test_an_empty_run_is_complete_too() -> None:
    async with pen() as one:
        await one.recorder.complete(b"")
        assert (await one.state()).closed


async def test_what_comes_during_a_commit_leaves_together() -> None:
    async with pen() as one:
        one.engine.through.clear()
        for number in range(1000):
            await one.recorder.write(b"%d," % number)
        one.engine.through.set()
        await one.recorder.complete(b"")
        assert await one.written() == b"".join(b"%d," % number for number in range(1000))
        assert one.engine.changes < 10


async def test_a_producer_waits_when_too_much_is_not_acknowledged() -> None:
    async with pen() as one:
        one.engine.through.clear()
        await one.recorder.write(b"x" * (AHEAD - 1))
        more = asyncio.ensure_future(one.recorder.write(b"x"))
        done, _ = await asyncio.wait((more,), timeout=0.05)
        assert not done
        one.engine.through.set()
        await more
        await one.recorder.complete(b"")
        assert (await one.state()).tail == AHEAD


async def test_a_long_piece_is_stored_in_short_ones() -> None:
    async with pen() as one:
        await one.recorder.complete(b"x" * (3 * BATCH + 1))
        incarnation = one.lease.state.incarnation
        _, records = await one.engine.records(incarnation, 0, 3 * BATCH + 1, 10**9)
        assert [len(record.data) for record in records] == [BATCH, BATCH, BATCH, 1]


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_append_whose_outcome_is_unknown_counts_once(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RETRY", 0.0)
    async with pen() as one:
        one.engine.fails = [how, how]
        await one.recorder.write(b"first, ")
        await one.recorder.complete(b"second")
        assert await one.written() == b"first, second"


async def test_a_database_that_stays_away_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RETRY", 0.0)
    async with pen(seconds=0.05) as one:
        one.engine.fails = ["before"] * 10**6
        with pytest.raises(OSError, match="no connection"):
            await one.recorder.complete(b"x")
        with pytest.raises(OSError, match="no connection"):
            await one.recorder.write(b"y")
        assert not one.fenced.is_set()


async def test_a_producer_that_was_fenced_off_writes_nothing_more() -> None:
    async with pen() as one:
        await one.log.take_over(await one.state())
        await one.recorder.write(b"x")
        await asyncio.wait_for(one.fenced.wait(), 5)
        with pytest.raises(LogRefused):
            await one.recorder.write(b"y")
        assert await one.written() == b""


async def test_only_so_much_is_kept_and_never_cut_in_a_batch() -> None:
    async with pen(keep=100) as one:
        for number in range(50):
            await one.recorder.write(b"%09d\n" % number)
            await one.log.wait_until("run", lambda state, n=number: state.tail == 10 * n + 10, 5)  # type: ignore[misc]  # mypy cannot infer the default's type
        await one.recorder.complete(b"")
        state = await one.state()
        assert 100 <= state.tail - state.start <= 120
        assert (await one.written()).splitlines()[0] == b"%09d" % (state.start // 10)


async def second(one: Pen, **how: bool | int) -> Pen:
    """The same run, produced again by another."""
    await one.recorder.leave()
    return Pen(one.log, one.engine, await one.log.take_over(await one.state()), **how)


async def test_a_second_production_goes_on_where_the_first_ended() -> None:
    async with pen() as one:
        await one.recorder.write(b"one, tw")
        again = await second(one)
        for piece in (b"on", b"e, ", b"two, three"):
            await again.recorder.write(piece)
        await again.recorder.complete(b".")
        assert await again.written() == b"one, two, three."


async def test_the_events_of_a_second_production_have_the_same_ids() -> None:
    async with pen(marked=True) as one, pen(marked=True) as whole:
        await one.recorder.write(b"data: 1\n\ndata: 2\n\n")
        again = await second(one, marked=True)
        for each in (again, whole):
            for number in range(1, 5):
                await each.recorder.write(b"data: %d\n\n" % number)
            await each.recorder.complete(b"")
        life, other = one.lease.state.incarnation, whole.lease.state.incarnation
        found, expected = await again.written(), await whole.written()
        for given in (life, f"{again.lease.tenure.token:016x}"):
            found = found.replace(given.encode(), other.encode())
        assert found == expected


async def test_an_event_names_the_producer_that_wrote_it() -> None:
    async with pen(marked=True) as one:
        await one.recorder.write(b"data: 1\n\ndata: 2\n\n")
        again = await second(one, marked=True)
        third = await second(again, marked=True)
        for number in range(1, 4):
            await third.recorder.write(b"data: %d\n\n" % number)
        await third.recorder.complete(b"")
        data, state = await third.written(), await third.state()
        offsets = [event.id.partition(":")[2] for event in EventReader().feed(data)]
        places = [await one.log.locate(state, offset) for offset in offsets]
        assert [data[:place].count(b"data: ") for place in places] == [1, 2, 3]
        tokens = [offset.partition("_")[2] for offset in offsets]
        assert tokens == [state.incarnation] * 2 + [f"{third.lease.tenure.token:016x}"]
        with pytest.raises(OffsetGone):
            await one.log.locate(state, one.lease.offset_at(places[2]))


@pytest.mark.parametrize("wrong", [b"one, tWo, three", b"one"])
async def test_two_halves_that_do_not_fit_are_not_joined(wrong: bytes) -> None:
    async with pen() as one:
        await one.recorder.write(b"one, two")
        again = await second(one)
        with pytest.raises(ControllerError, match="does not yield again"):
            await again.recorder.complete(wrong)
        await again.recorder.fail(b" failed")
        assert await again.written() == b"one, two failed"
