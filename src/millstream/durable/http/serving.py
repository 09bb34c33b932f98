"""What every way of reading shares: the log, the settings, and how somebody follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.types import Receive, Send

from millstream.durable.hints import Watch
from millstream.durable.http.feeds import Feed, Feeds
from millstream.durable.http.replies import Pairs
from millstream.durable.http.requests import Asked
from millstream.durable.log import Log
from millstream.durable.state import State
from millstream.errors import Overloaded, Truncated


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSettings:
    """How streams are read. Times are seconds."""

    cache: str  # the Cache-Control of what may be cached at all
    long_poll: float  # how long a poll waits
    reconnect: float  # how long one stream of events lasts; the client comes back then
    beat: float  # silence after which a follower is given a sign of life
    stall: float  # how long a follower may not read what was written to it
    max_followers: int  # in this process; beyond, 503


@dataclass(frozen=True, slots=True)
class Read:
    """One question for a stream's content."""

    asked: Asked
    offset: str
    cursor: int  # the one to answer with

    @property
    def name(self) -> str:
        """The stream's."""
        return self.asked.name


class Follower:
    """Somebody's ear at a feed, and how it is with that somebody."""

    __slots__ = ("_leaving", "_now", "_task", "_writing_since", "ear", "feed", "stalled")

    def __init__(self, feed: Feed, ear: Watch, leaving: asyncio.Task[None]) -> None:
        self.feed = feed
        self.ear = ear
        self.stalled = False
        self._leaving = leaving
        self._task = asyncio.current_task()
        self._now = asyncio.get_running_loop().time
        self._writing_since: float | None = None

    @property
    def left(self) -> bool:
        """Whether the client has gone."""
        return self._leaving.done()

    async def write(self, send: Send, data: bytes) -> None:
        """Write, for as long as the client may take to read."""
        self._writing_since = self._now()
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing_since = None

    def give_up_after(self, stall: float) -> None:
        """Interrupt it, if it has been writing for longer."""
        since = self._writing_since
        if since is not None and self._now() - since > stall and self._task is not None and not self.stalled:
            self.stalled = True
            self._task.cancel()


class Service:
    """What reads, and counts who follows.

    Args:
        log: an open log.
        settings: how streams are read.
        common: headers of every answer.
        clock: the time that cursors are made of.

    Attributes:
        passing: why somebody may not be served now, but soon.
    """

    def __init__(
        self, log: Log, settings: ReadingSettings, common: Pairs, clock: Callable[[], float]
    ) -> None:
        self.log = log
        self.settings = settings
        self.common = common
        self.clock = clock
        self.passing: tuple[type[Exception], ...] = (Overloaded, *log.failures)
        self.feeds = Feeds(log, clock, settings.beat)
        self._followers: set[Follower] = set()
        self._rounds: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def following(self, state: State, offset: str, receive: Receive) -> AsyncIterator[Follower]:
        """Follow a stream from about an offset on, until the block ends.

        Raises:
            Overloaded: when too many do.
            Truncated: when the client does not read.
        """
        if len(self._followers) >= self.settings.max_followers:
            raise Overloaded("too many clients follow streams here")
        feed = self.feeds.of(state, offset)
        leaving = asyncio.create_task(_wait_gone(receive))
        with feed.heard() as ear:
            leaving.add_done_callback(lambda _: ear.hint())
            follower = Follower(feed, ear, leaving)
            self._followers.add(follower)
            self._go_round_later()
            try:
                yield follower
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not follower.stalled or task is None or task.uncancel():
                    raise
                raise Truncated(f"the stream {state.name!r}", "its reader does not read") from None
            finally:
                self._followers.discard(follower)
                leaving.cancel()
                await asyncio.wait((leaving,))

    def _go_round_later(self) -> None:
        """One timer for all followers, as long as there are any."""
        if self._rounds is None and self._followers:
            loop = asyncio.get_running_loop()
            self._rounds = loop.call_later(self.settings.stall / 4, self._go_round)

    def _go_round(self) -> None:
        self._rounds = None
        for follower in self._followers:
            follower.give_up_after(self.settings.stall)
        self._go_round_later()


async def _wait_gone(receive: Receive) -> None:
    """Return when the client has left."""
    with suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
