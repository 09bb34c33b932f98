from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.engine.conftest import instantly

from millstream.config import Settings
from millstream.engine.deadlines import AGAIN, Deadlines
from millstream.engine.terms import MOST_UNSEEN, terms_of
from millstream.protocol.events import Reason

UNLIMITED = {
    "first_item_timeout": math.inf,
    "keep_alive": None,
    "lifetime": None,
    "idle_timeout": None,
    "stall_timeout": None,
    "min_rate": None,
}


class Timeline:
    """A stream that notes when it was asked for what; its times are seconds since it opened."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.opened_at = self.wrote_at = self.produced_at = self.loop.time()
        self.sending_since = 0.0
        self.sent_by = math.inf
        self.head_sent = True
        self.refuses = False
        self.asked: list[tuple[str, float]] = []
        self.looks: list[float] = []
        self.changed = asyncio.Event()

    @property
    def now(self) -> float:
        return round(self.loop.time() - self.opened_at, 6)

    def note(self, what: str) -> None:
        self.asked.append((what, self.now))
        self.changed.set()

    def look(self) -> None:
        self.looks.append(self.now)

    def send_head_now(self) -> None:
        self.note("head")
        self.head_sent = not self.refuses
        self.wrote_at = self.loop.time()

    def keep_alive_now(self) -> None:
        self.note("keep-alive")
        self.wrote_at = self.loop.time()

    def interrupt(self, reason: Reason) -> None:
        self.note(str(reason))

    def write(self, *, takes: float) -> None:
        """Begin a write that ends later."""
        self.sending_since = self.loop.time()
        self.loop.call_later(takes, self.wrote)

    def wrote(self) -> None:
        self.sending_since = 0.0
        self.wrote_at = self.produced_at = self.loop.time()


@asynccontextmanager
async def limited(*, silent: bool = False, head_sent: bool = True, **limits: Any) -> AsyncIterator[Timeline]:
    timeline = Timeline()
    timeline.head_sent = head_sent
    terms = terms_of(Settings(**{**UNLIMITED, **limits}))
    deadlines = Deadlines(timeline, terms, timeline.loop, keep_alive=not silent)
    try:
        yield timeline
    finally:
        deadlines.cancel()


@instantly
async def test_without_limits_nothing_is_ever_asked() -> None:
    async with limited() as timeline:
        await asyncio.sleep(10**6)
    assert timeline.asked == []


@instantly
async def test_a_client_of_whose_leaving_nobody_tells_is_looked_for_now_and_then() -> None:
    async with limited() as timeline:
        await asyncio.sleep(MOST_UNSEEN * 3 + 1)
    assert timeline.looks == [MOST_UNSEEN, MOST_UNSEEN * 2, MOST_UNSEEN * 3]


@instantly
async def test_a_first_item_that_takes_too_long_lets_the_head_go_alone_once() -> None:
    async with limited(head_sent=False, first_item_timeout=5.0) as timeline:
        timeline.refuses = True
        await asyncio.sleep(100)
    assert timeline.asked == [("head", 5.0)]


@instantly
async def test_a_head_may_be_wanted_at_once() -> None:
    async with limited(head_sent=False, first_item_timeout=0.0) as timeline:
        await asyncio.sleep(1)
    assert timeline.asked == [("head", 0.0)]


@instantly
async def test_a_head_that_has_left_is_not_asked_for() -> None:
    async with limited(head_sent=False, first_item_timeout=5.0) as timeline:
        timeline.loop.call_later(1, setattr, timeline, "head_sent", True)
        await asyncio.sleep(100)
    assert timeline.asked == []


@instantly
async def test_a_long_silence_is_broken_again_and_again() -> None:
    async with limited(keep_alive=15.0) as timeline:
        await asyncio.sleep(50)
    assert timeline.asked == [("keep-alive", 15), ("keep-alive", 30), ("keep-alive", 45)]


@instantly
async def test_a_format_without_a_sign_of_life_gives_none() -> None:
    async with limited(silent=True, keep_alive=15.0) as timeline:
        await asyncio.sleep(100)
    assert timeline.asked == []


@instantly
async def test_silence_is_counted_from_the_last_write() -> None:
    async with limited(keep_alive=15.0) as timeline:
        timeline.loop.call_later(10, timeline.wrote)
        await asyncio.sleep(26)
    assert timeline.asked == [("keep-alive", 25)]


@instantly
async def test_silence_begins_with_the_head_however_long_the_head_might_have_waited() -> None:
    async with limited(head_sent=False, first_item_timeout=60.0, keep_alive=15.0) as timeline:
        timeline.loop.call_later(1, timeline.wrote)
        timeline.loop.call_later(1, setattr, timeline, "head_sent", True)
        await asyncio.sleep(17)
    assert timeline.asked == [("keep-alive", 16)]


@instantly
async def test_nothing_breaks_into_a_write() -> None:
    async with limited(keep_alive=15.0, idle_timeout=20.0) as timeline:
        timeline.loop.call_later(1, lambda: timeline.write(takes=100))
        await asyncio.sleep(100)
    assert timeline.asked == []


@instantly
async def test_after_a_long_write_silence_is_broken_in_time() -> None:
    async with limited(keep_alive=15.0, stall_timeout=1000.0) as timeline:
        timeline.write(takes=20)
        await asyncio.sleep(60)
    first, *_ = timeline.asked
    assert first[0] == "keep-alive"
    assert 35 <= first[1] <= 20 + 2 * 15


@instantly
async def test_a_stream_may_live_so_long_and_no_longer() -> None:
    async with limited(lifetime=60.0) as timeline:
        timeline.loop.call_later(30, timeline.wrote)
        await asyncio.sleep(60.5)
    assert timeline.asked == [("timed-out", 60)]


@instantly
async def test_a_producer_may_take_so_long_for_an_item_and_no_longer() -> None:
    async with limited(idle_timeout=10.0) as timeline:
        timeline.loop.call_later(7, timeline.wrote)
        await asyncio.sleep(17.5)
    assert timeline.asked == [("timed-out", 17)]


@instantly
async def test_a_producer_that_waited_for_its_client_is_soon_asked_for_the_next_item() -> None:
    async with limited(idle_timeout=10.0, stall_timeout=1000.0) as timeline:
        timeline.write(takes=12)
        async with asyncio.timeout(100):
            await timeline.changed.wait()
    assert timeline.asked[0][0] == "timed-out"
    assert 22 <= timeline.asked[0][1] <= 12 + 2 * 10


@instantly
async def test_a_write_may_wait_so_long_for_its_client_and_no_longer() -> None:
    async with limited(stall_timeout=60.0) as timeline:
        timeline.loop.call_later(1, lambda: timeline.write(takes=1000))
        await asyncio.sleep(61.5)
    assert timeline.asked == [("stalled", 61)]


@instantly
async def test_a_stall_is_noticed_whenever_it_begins() -> None:
    async with limited(stall_timeout=60.0) as timeline:
        timeline.loop.call_later(500, lambda: timeline.write(takes=1000))
        async with asyncio.timeout(1000):
            await timeline.changed.wait()
    assert timeline.asked == [("stalled", 560)]


@instantly
async def test_a_write_that_comes_through_is_no_stall() -> None:
    async with limited(stall_timeout=60.0) as timeline:
        for moment in range(0, 500, 59):
            timeline.loop.call_later(moment, lambda: timeline.write(takes=58))
        await asyncio.sleep(500)
    assert timeline.asked == []


@pytest.mark.parametrize("stall_timeout", [None, 1000.0])
@instantly
async def test_a_reader_that_is_too_slow_is_noticed_by_its_rate(stall_timeout: float | None) -> None:
    async with limited(stall_timeout=stall_timeout, min_rate=100.0, high_water=1000) as timeline:
        timeline.loop.call_later(10, lambda: timeline.write(takes=1000))
        timeline.sent_by = timeline.opened_at + 25
        async with asyncio.timeout(100):
            await timeline.changed.wait()
    assert timeline.asked == [("stalled", 25)]


@instantly
async def test_whoever_settles_and_cannot_be_interrupted_is_asked_again() -> None:
    async with limited(lifetime=10.0) as timeline:
        await asyncio.sleep(10 + 2.5 * AGAIN)
    assert timeline.asked == [("timed-out", 10 + again * AGAIN) for again in range(3)]


@instantly
async def test_of_two_limits_the_earlier_says_why() -> None:
    async with limited(lifetime=10.0, stall_timeout=8.0) as timeline:
        timeline.write(takes=100)
        await asyncio.sleep(8.5)
    assert timeline.asked == [("stalled", 8)]


@instantly
async def test_after_the_end_nothing_is_asked() -> None:
    async with limited(lifetime=1.0) as timeline:
        pass
    await asyncio.sleep(10)
    assert timeline.asked == []
