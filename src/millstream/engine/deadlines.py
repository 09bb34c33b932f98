"""Deadlines: one timer for all the clocks of one stream.

The timer is not touched by writes. It fires at the earliest moment anything could be due, looks, and is set
again for the next such moment; a busy stream pays one firing per `keep_alive`, not one timer per item.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

from millstream.config import Settings
from millstream.protocol.events import Reason

RATE_GRACE: Final = 5.0
"""Seconds a reader always has before `min_rate` is asked of it."""

AGAIN: Final = 1.0
"""Seconds until somebody who could not be interrupted (it settled) is looked at again."""


MOST_UNSEEN: Final = 15.0
"""Seconds until it is seen that a client has left of which the server does not tell."""


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

    __slots__ = (
        "_head_wait",
        "_idle_timeout",
        "_keep_alive",
        "_lifetime",
        "_look_every",
        "_loop",
        "_stall_timeout",
        "_stream",
        "_timer",
    )

    def __init__(self, stream: Timed, settings: Settings, *, keep_alive: bool) -> None:
        self._stream = stream
        self._keep_alive = (settings.keep_alive or math.inf) if keep_alive else math.inf
        self._head_wait = settings.first_item_timeout
        self._lifetime = settings.lifetime or math.inf
        self._idle_timeout = settings.idle_timeout or math.inf
        self._stall_timeout = settings.stall_timeout or math.inf
        rate_timeout = RATE_GRACE + settings.high_water / settings.min_rate if settings.min_rate else math.inf
        # A write may begin right after a look, so look four times as often as one could be too slow.
        self._look_every = min(self._stall_timeout / 4, rate_timeout / 4, MOST_UNSEEN)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def cancel(self) -> None:
        """The stream is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        due = min(self._head_due(), self._silence_due(), self._over_due(), self._stall_look())
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._stream.look()
        now = self._loop.time()
        over, stalled = self._over_due(), self._stall_due()
        if over <= now or stalled <= now:
            self._stream.interrupt(Reason.TIMED_OUT if over <= stalled else Reason.STALLED)
            self._timer = self._loop.call_later(AGAIN, self._look)
            return
        if self._head_due() <= now:
            self._head_wait = math.inf  # asked once: if it cannot be made, the first item will say so
            self._stream.send_head_now()
        elif self._silence_due() <= now:
            self._stream.keep_alive_now()
        self._set()

    def _head_due(self) -> float:
        if self._stream.head_sent:
            return math.inf
        return self._stream.opened_at + self._head_wait

    def _silence_due(self) -> float:
        """Silence begins with the end of a write; as long as that is to come, not before now."""
        begun = self._stream.head_sent and not self._stream.sending_since
        return (self._stream.wrote_at if begun else self._loop.time()) + self._keep_alive

    def _over_due(self) -> float:
        stream = self._stream
        idle_since = self._loop.time() if stream.sending_since else stream.produced_at
        return min(stream.opened_at + self._lifetime, idle_since + self._idle_timeout)

    def _stall_due(self) -> float:
        if not self._stream.sending_since:
            return math.inf
        return min(self._stream.sending_since + self._stall_timeout, self._stream.sent_by)

    def _stall_look(self) -> float:
        return min(self._stall_due(), self._loop.time() + self._look_every)
