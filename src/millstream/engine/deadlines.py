"""Deadlines: all the clocks of one stream, looked at when anything could be due.

They are not touched by writes. A stream is looked at in the earliest round in which anything could be due,
and asks for the next such one; a busy stream is looked at once per `keep_alive`, not once per item.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

from millstream.engine.rounds import rounds_of
from millstream.engine.terms import Terms
from millstream.protocol.events import Reason

AGAIN: Final = 1.0
"""Seconds until somebody who could not be interrupted (it settled) is looked at again."""


class Timed(Protocol):
    """What the deadlines look at. Moments are the loop's time; `sending_since` is 0 between writes."""

    opened_at: float
    wrote_at: float
    produced_at: float
    sending_since: float
    sent_by: float  # when `min_rate` wants to see a write done: every byte before it has earned its time
    head_sent: bool

    def look(self) -> None:
        """See whether the client has left without anybody's telling."""

    def send_head_now(self) -> None:
        """The first item takes too long: let the head go without it."""

    def keep_alive_now(self) -> None:
        """It was silent for long: give a sign of life."""

    def interrupt(self, reason: Reason) -> None:
        """It is over."""


class Deadlines:
    """All time limits of one stream."""

    __slots__ = ("_head_wait", "_keep_alive", "_loop", "_round", "_rounds", "_stream", "_terms")

    def __init__(
        self, stream: Timed, terms: Terms, loop: asyncio.AbstractEventLoop, *, keep_alive: bool
    ) -> None:
        self._stream = stream
        self._terms = terms
        self._loop = loop
        self._keep_alive = terms.keep_alive if keep_alive else math.inf
        self._head_wait = terms.first_item_timeout
        self._rounds = rounds_of(loop)
        self._round: int | None = self._rounds.enter(self, stream.opened_at + terms.first_look)

    def cancel(self) -> None:
        """The stream is over."""
        if self._round is not None:
            self._rounds.leave(self, self._round)
            self._round = None

    def come_round(self) -> None:
        """See `Waiting`."""
        if self._round is None:  # it has left in the same round
            return
        self._stream.look()
        now = self._loop.time()
        over, stalled = self._over_due(now), self._stall_due()
        if over <= now or stalled <= now:
            self._stream.interrupt(Reason.TIMED_OUT if over <= stalled else Reason.STALLED)
            self._round = self._rounds.enter(self, now + AGAIN)
            return
        if self._head_due() <= now:
            self._head_wait = math.inf  # asked once: if it cannot be made, the first item will say so
            self._stream.send_head_now()
        elif self._silence_due(now) <= now:
            self._stream.keep_alive_now()
        next_due = min(self._head_due(), self._silence_due(now), over, stalled, now + self._terms.look_every)
        self._round = self._rounds.enter(self, next_due)

    def _head_due(self) -> float:
        if self._stream.head_sent:
            return math.inf
        return self._stream.opened_at + self._head_wait

    def _silence_due(self, now: float) -> float:
        """Silence begins with the end of a write; as long as that is to come, not before now."""
        begun = self._stream.head_sent and not self._stream.sending_since
        return (self._stream.wrote_at if begun else now) + self._keep_alive

    def _over_due(self, now: float) -> float:
        stream = self._stream
        idle_since = now if stream.sending_since else stream.produced_at
        return min(stream.opened_at + self._terms.lifetime, idle_since + self._terms.idle_timeout)

    def _stall_due(self) -> float:
        if not self._stream.sending_since:
            return math.inf
        return min(self._stream.sending_since + self._terms.stall_timeout, self._stream.sent_by)
