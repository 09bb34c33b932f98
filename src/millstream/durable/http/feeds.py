"""The feeds: one tailer a stream and process, however many follow it.

A feed reads what is appended once, encodes it once, and keeps the last of it for a while. A follower is a
place in the stream and an ear: it takes what the feed has from there on. One that falls behind what is
kept reads the log for itself until it has caught up: nothing waits for it, and it misses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from millstream.durable.hints import Watch
from millstream.durable.http.cursors import interval_at
from millstream.durable.http.events import Frame
from millstream.durable.log import Log
from millstream.durable.offsets import position_of
from millstream.durable.refusals import LogRefused
from millstream.durable.state import State

KEPT: Final = 256 * 1024
"""Bytes a feed keeps for followers that are a little behind, and the most that one page of it has."""

BEAT: Final = 15.0
"""Seconds of silence after which followers are woken to give a sign of life."""

RETRY: Final = 1.0
"""Seconds between two attempts to read a log whose database is away."""

_logger: Final = logging.getLogger("millstream.durable")


class Feed:
    """What is appended to one stream, from the offset at which somebody began to follow it.

    Attributes:
        end: how far it has come.
        offset: the same as an offset: it names what comes before, which the database may lose.
        closed: whether there is no more to come.
        ended: whether it will never go on: it is closed, or the stream or the database is gone.
    """

    def __init__(self, log: Log, state: State, offset: str, clock: Callable[[], float], beat: float) -> None:
        self._log = log
        self._clock = clock
        self._beat = beat
        self.name = state.name
        self.incarnation = state.incarnation
        self.end = position_of(offset, state)
        self.offset = offset
        self.closed = False
        self.ended = False
        self.error: Exception | None = None
        self._seen: str | None = state.next_offset  # by the last look: some of it may be held back
        self._frames: deque[Frame] = deque()
        self._size = 0
        self._joined: dict[str, bytes] = {}
        self._ears: set[Watch] = set()
        self.task = asyncio.create_task(self._run(), name=f"feed of {state.name}")

    @contextmanager
    def heard(self) -> Iterator[Watch]:
        """An ear, hinted at when there is news, an end, or a long silence."""
        ear = Watch()
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)

    def frames_from(self, offset: str) -> list[Frame] | None:
        """What comes after an offset, as far as the feed is; None when it has not kept it like that."""
        frames: list[Frame] = []
        for frame in reversed(self._frames):
            frames.append(frame)
            if frame.offset == offset:
                return frames[::-1]
            if frame.offset < offset:
                break
        return [] if offset == self.offset else None

    def events_from(self, offset: str, cursor: int | None) -> bytes | None:
        """The same as events; joined once for all that stand at one place and have no cursor of their own."""
        if cursor is not None:
            frames = self.frames_from(offset)
            return None if frames is None else b"".join(frame.event_for(cursor) for frame in frames)
        joined = self._joined.get(offset)
        if joined is None:
            frames = self.frames_from(offset)
            if frames is None:
                return None
            joined = self._joined[offset] = b"".join(frame.event for frame in frames)
        return joined

    def stop(self) -> None:
        """End it; its followers are told."""
        self._end()
        self.task.cancel()  # which may not have begun

    async def _run(self) -> None:
        try:
            while await self._next_in_time():
                pass
        except LogRefused as refusal:
            self.error = refusal
        except Exception as error:
            _logger.exception("the feed of the stream %r ends", self.name)
            self.error = error
        finally:
            self._end()

    async def _next_in_time(self) -> bool:
        """As `_next`; a database that is away is waited for, with signs of life for those who follow."""
        try:
            return await self._next()
        except self._log.failures as failed:
            self._log.outage.note(failed)
            await asyncio.sleep(RETRY)
            self._tell()
            return bool(self._ears)

    async def _next(self) -> bool:
        """Wait for news or for the end of patience, and tell of it; False at the end."""
        await self._log.wait_until(self.name, self._is_news, self._beat)
        if not self._ears:
            return False
        page = await self._log.read(self.name, self.offset, most=KEPT)
        self._seen = page.next_offset if page.up_to_date else None
        if page.messages or page.closed:
            self._publish(Frame(page, interval_at(self._clock()), self.offset))
        self._tell()
        return not self.closed

    def _is_news(self, state: State) -> bool:
        return state.next_offset != self._seen or state.closed or state.incarnation != self.incarnation

    def _publish(self, frame: Frame) -> None:
        self._joined.clear()
        if frame.moved or frame.closed:
            self._frames.append(frame)
            self._size += len(frame.event)
        self.end, self.closed, self.offset = frame.end, frame.closed, frame.next_offset
        while self._size > KEPT and len(self._frames) > 1:
            self._size -= len(self._frames.popleft().event)

    def _end(self) -> None:
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        for ear in self._ears:
            ear.hint()


class Feeds:
    """The feeds of this process, by name."""

    def __init__(self, log: Log, clock: Callable[[], float], beat: float = BEAT) -> None:
        self._log = log
        self._clock = clock
        self._beat = beat
        self._feeds: dict[str, Feed] = {}
        self._stopped = False

    def start(self) -> None:
        """Let them go on, after an earlier `stop`."""
        self._stopped = False

    def of(self, state: State, offset: str) -> Feed:
        """The feed of a stream; begun at an offset near its tail, if nobody follows it yet."""
        feed = self._feeds.get(state.name)
        if feed is None or feed.ended or feed.incarnation != state.incarnation:
            feed = self._feeds[state.name] = Feed(self._log, state, offset, self._clock, self._beat)
            feed.task.add_done_callback(partial(self._forget, feed))
            if self._stopped:
                feed.stop()
        return feed

    def stop(self) -> None:
        """End them all; whoever still comes is told at once."""
        self._stopped = True
        for feed in list(self._feeds.values()):
            feed.stop()

    def _forget(self, feed: Feed, _: asyncio.Task[None]) -> None:
        if self._feeds.get(feed.name) is feed:
            del self._feeds[feed.name]
