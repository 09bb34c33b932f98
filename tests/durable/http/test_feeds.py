from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from millstream.durable.appending import Append
from millstream.durable.http.cursors import interval_at
from millstream.durable.http.feeds import KEPT, Feed, Feeds
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.refusals import NoSuchStream
from millstream.durable.state import State, offset_at


class Counting(MemoryEngine):
    """Counts how often records are read, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.away = False

    async def look(self, name: str, /) -> State | None:
        if self.away:
            raise ConnectionError("the database is away")
        self.reads += 1
        return await super().look(name)


@pytest.fixture
async def engine() -> Counting:
    return Counting()


@pytest.fixture
async def log(engine: Counting) -> AsyncIterator[Log]:
    async with Log(engine) as log:
        yield log


@pytest.fixture
async def feeds(log: Log) -> AsyncIterator[Feeds]:
    feeds = Feeds(log, time.time, beat=0.5)
    yield feeds
    feeds.stop()


async def begun(log: Log, feeds: Feeds, *records: bytes) -> Feed:
    """A feed of a new stream, begun at the stream's start."""
    state = (await log.create("s", Config(content_type="text/plain"))).state
    feed = feeds.of(state, state.next_offset)
    with feed.heard() as ear:
        await asyncio.sleep(0)
        for record in records:
            before = feed.end
            await log.append("s", Append(records=[record]))
            while feed.end == before:
                await ear.wait_hinted(5)
    return feed


async def test_one_stream_has_one_feed(log: Log, feeds: Feeds) -> None:
    feed = await begun(log, feeds)
    assert feeds.of(await log.describe("s"), feed.offset) is feed
    await log.delete("s")
    again = (await log.create("s", Config())).state
    assert feeds.of(again, again.next_offset) is not feed


async def test_what_was_fed_is_kept_for_those_a_little_behind(log: Log, feeds: Feeds) -> None:
    feed = await begun(log, feeds, b"aa", b"bb", b"cc")
    pages = [await log.read("s", most=size) for size in (2, 6)]
    frames = feed.frames_from(pages[0].next_offset)
    assert frames is not None
    assert [frame.body for frame in frames] == [b"bb", b"cc"]
    assert feed.frames_from(pages[1].next_offset) == []
    for elsewhere in (1, 2, 3, 6, 7):
        assert feed.frames_from(offset_at(elsewhere, "f" * 16)) is None


async def test_events_are_joined_once_for_all_that_stand_at_one_place(log: Log, feeds: Feeds) -> None:
    feed = await begun(log, feeds, b"aa", b"bb")
    begin = offset_at(0, feed.incarnation)
    assert feed.events_from(begin, None) is feed.events_from(begin, None)
    ahead = feed.events_from(begin, interval_at(time.time()) + 7)
    assert ahead is not None
    assert ahead.count(b"event: control") == 2
    assert feed.events_from(offset_at(1, feed.incarnation), None) is None
    assert feed.events_from(offset_at(1, feed.incarnation), 5) is None


async def test_no_more_is_kept_than_may_be(log: Log, feeds: Feeds) -> None:
    feed = await begun(log, feeds, *[b"x" * 50_000] * 20)
    assert feed.frames_from(offset_at(0, feed.incarnation)) is None
    assert sum(len(frame.event) for frame in feed._frames) <= KEPT


async def test_a_feed_nobody_hears_ends_by_itself(log: Log) -> None:
    feeds = Feeds(log, time.time, beat=0.01)
    feed = await begun(log, feeds)
    async with asyncio.timeout(5):
        await feed.task
    assert feed.ended
    assert feeds._feeds == {}


async def test_a_thousand_followers_cost_one_reader(log: Log, feeds: Feeds, engine: Counting) -> None:
    feed = await begun(log, feeds)
    reads = engine.reads

    async def follow() -> bytes | None:
        with feed.heard() as ear:
            await ear.wait_hinted(5)
            return feed.events_from(offset_at(0, feed.incarnation), None)

    followers = [asyncio.create_task(follow()) for _ in range(1000)]
    await asyncio.sleep(0)
    await log.append("s", Append(records=[b"x"]))
    heard = await asyncio.gather(*followers)
    assert len({id(events) for events in heard}) == 1
    assert engine.reads - reads < 10


async def test_a_stream_that_is_gone_ends_its_feed(log: Log, feeds: Feeds) -> None:
    feed = await begun(log, feeds)
    with feed.heard() as ear:
        await log.delete("s")
        await ear.wait_hinted(5)
    assert isinstance(feed.error, NoSuchStream)


async def test_a_database_that_is_away_ends_the_feed_and_is_logged_once(
    log: Log, feeds: Feeds, engine: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    feed = await begun(log, feeds)
    with feed.heard() as ear:
        engine.away = True
        log._hints.awake("s")
        await ear.wait_hinted(5)
    assert isinstance(feed.error, ConnectionError)
    assert len(caplog.records) == 1


async def test_a_feed_can_be_stopped_before_it_began(log: Log, feeds: Feeds) -> None:
    state = (await log.create("s", Config())).state
    feed = feeds.of(state, state.next_offset)
    feeds.stop()
    assert feed.ended
    await asyncio.wait([feed.task])
    assert feeds.of(state, state.next_offset) is not feed
