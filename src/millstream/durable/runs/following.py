"""Following a run: its bytes from a place on, as they come, to the end. The same bytes for whoever reads.

A run that still goes on is heard through its process' one `Feed`, however many follow it; who is behind, and
who reads a run that has ended, reads the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from millstream.durable.hints import Watch
from millstream.durable.http.feeds import KEPT, Feed, Feeds
from millstream.durable.log import Log
from millstream.durable.offsets import At, Offset
from millstream.durable.state import State
from millstream.errors import Overloaded

RECHECK: Final = 10.0
"""Seconds after which it is asked again whether a reader may go on."""


class Following:
    """One reader's way through a run, as long as it is entered.

    Args:
        log: an open log.
        feeds: of that log.
        state: the run's stream.
        place: where to begin.
        check: awaited now and then; raises when the reader may not go on.

    Attributes:
        log: as given.
        state: as it was last seen.
        place: how far the reader is.
        end: how far it wants to go; to the run's end, if None.
    """

    __slots__ = (
        "_check",
        "_checked",
        "_ear",
        "_feed",
        "_feeds",
        "_offset",
        "_stack",
        "end",
        "log",
        "place",
        "state",
    )

    def __init__(
        self, log: Log, feeds: Feeds, state: State, place: int, check: Callable[[], Awaitable[None]]
    ) -> None:
        self.log = log
        self._feeds = feeds
        self._check = check
        self._checked = asyncio.get_running_loop().time()
        self._stack = ExitStack()
        self._feed: Feed | None = None
        self._ear: Watch | None = None
        self.state = state
        self.place = place
        self._offset: Offset = At(place, state.incarnation)  # then whatever each page says
        self.end: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def limit(self, part: slice) -> None:
        """Read this part, and no more."""
        self.place, self.end = part.start, part.stop
        self._offset = At(part.start, self.state.incarnation)

    async def next(self) -> bytes:
        """What comes next, waited for if need be; nothing at the end.

        Raises:
            LogRefused: when it is gone.
            Overloaded: when the run cannot be followed here any more.
            Exception: whatever the database or the check raised.
        """
        while not self.state.closed:
            data = await self._news()
            await self._ask()
            if data:
                return data
        left = (self.state.tail if self.end is None else self.end) - self.place
        if left <= 0:
            return b""
        data = await self._read(left)
        await self._ask()
        return data

    async def wait_closed(self) -> None:
        """Wait for the run's end.

        Raises:
            LogRefused: when it is gone.
        """
        incarnation = self.state.incarnation
        while not self.state.closed:
            await self.log.wait_until(
                self.state.name, lambda now: now.closed or now.incarnation != incarnation, RECHECK
            )
            self.state = (await self.log.read(self.state.name, self._offset, most=1)).state
            await self._ask()

    async def _news(self) -> bytes:
        """What has come, or nothing after a while."""
        if self._feed is None or self._ear is None:
            self._feed = self._feeds.of(self.state, self.state.next_offset)
            self._ear = self._stack.enter_context(self._feed.heard())
        feed, ended = self._feed, self._feed.ended  # it may end while the log is read
        frames = None if ended or isinstance(self._offset, At) else feed.frames_from(self._offset)
        if frames is None:
            data = await self._read(KEPT)
        else:
            data = b"".join([frame.body for frame in frames])
            if frames:
                self.place, self.state = frames[-1].end, frames[-1].page.state
                self._offset = frames[-1].next_offset
        if not data and not self.state.closed:
            if ended:
                raise feed.error or Overloaded("the run cannot be followed here any more")
            await self._ear.wait_hinted(RECHECK)
        return data

    async def _read(self, most: int) -> bytes:
        page = await self.log.read(self.state.name, self._offset, most=min(most, KEPT))
        self.state, self.place, self._offset = page.state, page.end, page.next_offset
        return b"".join(page.messages)

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._checked >= RECHECK:
            self._checked = now
            await self._check()
