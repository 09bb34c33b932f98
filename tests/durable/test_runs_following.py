from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.durable.restoring import saved_memory

from millstream.durable.appending import Append
from millstream.durable.http.feeds import Feeds
from millstream.durable.log import Log
from millstream.durable.memory import Memory, MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.refusals import LogRefused, OffsetGone
from millstream.durable.runs import following as room
from millstream.durable.runs.following import Following


class Stream:
    """A stream and its readers."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.feeds = Feeds(log, time.time)
        self.checks = 0

    async def append(self, data: bytes = b"", *, close: bool = False) -> None:
        await self.log.append("run", Append(records=[data] if data else (), close=close))

    async def reader(self, place: int = 0) -> Following:
        return Following(self.log, self.feeds, await self.log.describe("run"), place, self._check)

    async def _check(self) -> None:
        self.checks += 1


@asynccontextmanager
async def stream() -> AsyncIterator[Stream]:
    async with Log(MemoryEngine()) as log:
        await log.create("run", Config(content_type="application/octet-stream"))
        one = Stream(log)
        yield one
        one.feeds.stop()


async def rest(reader: Following) -> bytes:
    data = b""
    with reader:
        while piece := await reader.next():
            data += piece
    return data


async def test_everything_comes_as_it_is_appended_and_then_the_end() -> None:
    async with stream() as one:
        await one.append(b"before ")
        reading = asyncio.ensure_future(rest(await one.reader()))
        for piece in (b"a", b"b", b"c"):
            await asyncio.sleep(0)
            await one.append(piece)
        await one.append(close=True)
        assert await reading == b"before abc"


async def test_what_has_ended_is_read_from_any_place() -> None:
    async with stream() as one:
        await one.append(b"0123456789", close=True)
        assert await rest(await one.reader(4)) == b"456789"
        assert await rest(await one.reader(10)) == b""


async def test_a_part_ends_where_it_is_to() -> None:
    async with stream() as one:
        await one.append(b"0123456789", close=True)
        reader = await one.reader(2)
        reader.end = 5
        assert await rest(reader) == b"234"


async def test_all_who_follow_share_one_feed_and_get_the_same() -> None:
    async with stream() as one:
        readings = [asyncio.ensure_future(rest(await one.reader())) for _ in range(20)]
        await asyncio.sleep(0.01)
        for number in range(50):
            await one.append(b"%d," % number)
        await one.append(close=True)
        assert set(await asyncio.gather(*readings)) == {b"".join(b"%d," % n for n in range(50))}


async def test_the_end_can_be_waited_for() -> None:
    async with stream() as one:
        reader = await one.reader()
        waiting = asyncio.ensure_future(reader.wait_closed())
        await one.append(b"0123456789")
        await one.append(close=True)
        await waiting
        assert reader.state.closed
        assert await rest(reader) == b"0123456789"


@pytest.mark.parametrize("wait", [True, False])
async def test_a_stream_that_is_deleted_ends_its_readers(wait: bool) -> None:
    async with stream() as one:
        await one.append(b"x")
        reader = await one.reader(1)
        reading = asyncio.ensure_future(reader.wait_closed() if wait else rest(reader))
        await asyncio.sleep(0.01)
        await one.log.delete("run")
        with pytest.raises(LogRefused):
            await reading


async def test_a_stream_that_began_anew_is_not_taken_for_the_same() -> None:
    async with stream() as one:
        await one.append(b"x", close=True)
        reader = await one.reader()
        await one.log.delete("run")
        await one.log.create("run", Config(content_type="application/octet-stream"), [b"y"], closed=True)
        with pytest.raises(LogRefused):
            await rest(reader)


async def test_who_may_no_longer_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RECHECK", 0.01)
    async with stream() as one:
        reading = asyncio.ensure_future(rest(await one.reader()))
        while one.checks < 3:
            await asyncio.sleep(0.001)
        await one.append(close=True)
        assert await reading == b""


async def test_who_follows_a_run_that_was_lost_in_part_is_told() -> None:
    memory = Memory()
    async with Log(MemoryEngine(memory)) as log:
        first = await log.claim("run", Config(content_type="text/plain"))
        assert first is not None
        await log.append("run", Append(records=[b"AAAA"], producer=first.claim(0)))
        restore = await saved_memory(memory)
        one = Stream(log)
        with await one.reader() as reader:
            assert await reader.next() == b"AAAA"
            await log.append("run", Append(records=[b"BBBB"], producer=first.claim(1)))
            assert await reader.next() == b"BBBB"
            await restore()
            second = await log.take_over(await log.describe("run"))
            await log.append("run", Append(records=[b"cc", b"dddddd"], producer=second.claim(0), close=True))
            with pytest.raises(OffsetGone):
                await reader.next()
        one.feeds.stop()
