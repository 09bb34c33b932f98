"""The ledger: which streams are alive in this process, how many may be, and how they are told to end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from millstream.config import Settings
from millstream.engine.leftovers import give_back_soon, is_gone
from millstream.engine.stream import Stream
from millstream.engine.watchdog import Watchdog
from millstream.errors import Overloaded
from millstream.protocol.events import Reason, Statistics


@dataclass(frozen=True, slots=True)
class Cap:
    """How many streams may be open at a time: of everybody or of one client, of all actions or of one."""

    most: int
    per_client: bool
    action: str = ""  # "" for all

    def seat(self, client: str) -> tuple[str, str | None]:
        """What is counted."""
        return self.action, client if self.per_client else None

    def refusal(self, retry_after: int, counted: str) -> Overloaded:
        """What one too many is told (RFC 9110 §15.6.4, RFC 6585 §4)."""
        whose = " for this client" if self.per_client else ""
        kind = " of this kind" if self.action else ""
        status = HTTPStatus.TOO_MANY_REQUESTS if self.per_client else HTTPStatus.SERVICE_UNAVAILABLE
        told = f"{self.most} {counted.format(kind=kind)}{whose}, and no more are allowed"
        return Overloaded(told, status=status, retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class Admission:
    """On what terms the streams of one action are let in, beside the cap of all."""

    caps: tuple[Cap, ...] = ()
    retry_after: int = 1  # seconds, for whoever is not

    @property
    def asks_who(self) -> bool:
        """Whether it matters who the client is."""
        return any(cap.per_client for cap in self.caps)


def admission(settings: Settings, action: str = "", own: Sequence[str] = ()) -> Admission:
    """The terms that settings mean.

    Args:
        settings: the action's.
        action: its name.
        own: the settings the action does not share with others; a cap among them counts its streams alone.
    """
    caps = []
    if "max_streams" in own:
        caps.append(Cap(settings.max_streams, per_client=False, action=action))
    if settings.max_streams_per_client is not None:
        of = action if "max_streams_per_client" in own else ""
        caps.append(Cap(settings.max_streams_per_client, per_client=True, action=of))
    return Admission(tuple(caps), settings.retry_after)


_ANYBODY: Final = Admission()


class Seats:
    """What the caps count of one sort: open streams, or requests that wait for their bodies.

    Args:
        cap: of all.
        counted: how it is told, with a place for the `{kind}`.
    """

    __slots__ = ("_cap", "_counted", "_of", "_taken", "streams")

    def __init__(self, cap: Cap, counted: str) -> None:
        self._cap = cap
        self._counted = counted
        self.streams: dict[int, Stream] = {}
        self._of: dict[int, list[tuple[str, str | None]]] = {}  # of those that count for a cap beside that
        self._taken: Counter[tuple[str, str | None]] = Counter()

    def take(self, stream: Stream, terms: Admission, client: str) -> None:
        """Count a stream.

        Raises:
            Overloaded: when there are as many as may be.
        """
        if len(self.streams) >= self._cap.most:
            raise self._cap.refusal(terms.retry_after, self._counted)
        if terms.caps:
            self._of[id(stream)] = self._seated(terms, client)
        self.streams[id(stream)] = stream

    def give_back(self, stream: Stream) -> bool:
        """Count it no more; False when it was not counted."""
        if self.streams.pop(id(stream), None) is None:
            return False
        for seat in self._of.pop(id(stream), ()):
            self._taken[seat] -= 1
            if not self._taken[seat]:
                del self._taken[seat]
        return True

    def _seated(self, terms: Admission, client: str) -> list[tuple[str, str | None]]:
        seats = []
        for cap in terms.caps:
            if cap.per_client and not client:
                continue
            seat = cap.seat(client)
            if self._taken[seat] >= cap.most:
                raise cap.refusal(terms.retry_after, self._counted)
            seats.append(seat)
        self._taken.update(seats)
        return seats


class Ledger:
    """Every open stream of one application in one process, and every request that may become one."""

    def __init__(self, settings: Settings) -> None:
        self.drain_timeout = settings.drain_timeout
        self._close_timeout = settings.close_timeout
        self._open = Seats(Cap(settings.max_streams, per_client=False), "streams{kind} are open")
        most = min(settings.max_bodies, settings.max_streams)
        self._waiting = Seats(Cap(most, per_client=False), "requests{kind} wait for their bodies")
        self._streams = self._open.streams
        self._answered: dict[int, Stream] = {}  # of requests that are answered, and are no open streams
        self._most_detached = settings.max_detached
        self._detached: set[int] = set()
        self._grant = self._may_detach  # one for all streams
        self._watchdog = Watchdog(settings.slow_step) if settings.debug else None
        self._news: asyncio.Event | None = None  # for whoever waits for the streams' ends
        self._crowd = 0  # streams there have been, since their memory was given back
        self._end_by = math.inf
        self._listeners: list[Callable[[], None]] = []
        self._enders: list[Callable[[], None]] = []
        self.draining = False

    @property
    def live(self) -> tuple[Statistics, ...]:
        """What every open stream has done until now, oldest first."""
        return tuple(stream.statistics for stream in list(self._streams.values()))  # asked from any thread

    def __len__(self) -> int:
        return len(self._streams)

    # Coming and going

    def begin(self, stream: Stream) -> None:
        """A request is answered; told once for each, as `leave`."""
        self._answered[id(stream)] = stream

    def enter(self, stream: Stream, terms: Admission = _ANYBODY, client: str = "") -> None:
        """A stream opens.

        Args:
            stream: the stream.
            terms: its action's.
            client: whom it counts for; nobody when it is empty.

        Raises:
            Overloaded: when there are as many as may be.
        """
        if self.draining:
            raise Overloaded("this process is about to end", retry_after=terms.retry_after)
        self._open.take(stream, terms, client)
        self._answered.pop(id(stream), None)
        self._crowd = max(self._crowd, len(self._streams))
        stream.may_detach = self._grant
        if self._watchdog is not None:
            self._watchdog.enter()

    def leave(self, stream: Stream) -> None:
        """A request has ended, or its stream has and was cleaned up."""
        self._waiting.give_back(stream)
        answered = self._answered.pop(id(stream), None) is not None
        was_open = self._open.give_back(stream)
        if (answered or was_open) and not (self._streams or self._answered) and self._news is not None:
            self._news.set()
        if not was_open:
            return
        if self._watchdog is not None:
            self._watchdog.leave()
        self._detached.discard(id(stream))
        if is_gone(self._crowd, len(self._streams)):
            self._crowd = 0
            give_back_soon(stream.loop)

    def waits(self, stream: Stream) -> bool:
        """Whether it counts already: as one that waits for its body, or as an open stream."""
        return id(stream) in self._waiting.streams or id(stream) in self._streams

    def begin_waiting(self, stream: Stream, terms: Admission = _ANYBODY, client: str = "") -> None:
        """A request waits for its body; it counts for the same caps as a stream, but apart from streams.

        Raises:
            Overloaded: when as many wait as may.
        """
        self._waiting.take(stream, terms, client)

    def end_waiting(self, stream: Stream) -> None:
        """The body is there."""
        self._waiting.give_back(stream)

    def _may_detach(self, stream: Stream) -> bool:
        if len(self._detached) >= self._most_detached:
            return False
        self._detached.add(id(stream))
        return True

    # One stream, by its name

    def find(self, stream_id: str) -> Statistics | None:
        """What the stream of that name has done until now; None when there is none."""
        found = self._named(stream_id)
        return None if found is None else found.statistics

    def stop(self, stream_id: str, reason: Reason = Reason.STOPPED) -> bool:
        """End one stream on purpose, from any thread; False when there is none of that name that could be."""
        found = self._named(stream_id)
        return found is not None and found.stop(reason)

    def _named(self, stream_id: str) -> Stream | None:
        return next((stream for stream in list(self._streams.values()) if stream.is_named(stream_id)), None)

    # The end of the process

    def on_drain(self, listener: Callable[[], None]) -> None:
        """Have somebody told of the end whose streams are not counted here; possibly more than once."""
        self._listeners.append(listener)

    def on_drained(self, listener: Callable[[], None]) -> None:
        """The same of the moment at which what has not ended by itself is ended."""
        self._enders.append(listener)

    async def drain(self) -> None:
        """Tell the streams that the process ends, let them, and end those that do not.

        A further call, as of a server that also tells by its own means, waits for the same moments.
        """
        self._begin_draining()
        self._end_by = min(self._end_by, asyncio.get_running_loop().time() + self.drain_timeout)
        await self._wait(lambda: self._end_by, until_empty=True)
        self._interrupt()
        await self._wait(lambda: self._end_by + self._close_timeout, until_empty=True)

    async def overdue(self) -> None:
        """Wait for the moment at which everything should have ended."""
        await self._wait(lambda: self._end_by + self._close_timeout, until_empty=False)

    def hurry(self) -> None:
        """No more time is given: what is still open ends now."""
        self._begin_draining()
        self._end_by = min(self._end_by, asyncio.get_running_loop().time())
        self._interrupt()
        if self._news is not None:
            self._news.set()

    def reopen(self) -> None:
        """The application is served again, as tests do."""
        self.draining = False
        self._end_by = math.inf

    def _begin_draining(self) -> None:
        self.draining = True
        for listener in self._listeners:
            listener()

    def _interrupt(self) -> None:
        for stream in (*self._streams.values(), *self._answered.values()):
            stream.interrupt(Reason.SHUTDOWN)
        for listener in self._enders:
            listener()

    async def _wait(self, moment: Callable[[], float], *, until_empty: bool) -> None:
        clock = asyncio.get_running_loop().time
        while (self._streams or self._answered or not until_empty) and clock() < moment():
            if self._news is None or self._news.is_set():
                self._news = asyncio.Event()
            until = moment()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until if math.isfinite(until) else None):
                    await self._news.wait()
