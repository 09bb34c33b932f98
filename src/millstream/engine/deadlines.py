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
"""Seconds a write may always take before `min_rate` is asked of it."""


class Timed(Protocol):
    """What the deadlines look at. Moments are the loop's time; `sending_since` is 0 between writes."""

    opened_at: float
    wrote_at: float
    produced_at: float
    sending_since: float
    sending_bytes: int
    head_sent: bool

    def send_head_now(self) -> None:
        """The first item takes too long: let the head go without it."""

    def keep_alive_now(self) -> None:
        """It was silent for long: give a sign of life."""

    def interrupt(self, reason: Reason) -> None:
        """It is over."""


class Deadlines:
    """All time limits of one stream."""

    __slots__ = ("_head_wait", "_keep_alive", "_loop", "_settings", "_stream", "_timer")

    def __init__(self, stream: Timed, settings: Settings, *, keep_alive: bool) -> None:
        self._stream = stream
        self._settings = settings
        self._keep_alive = (settings.keep_alive or math.inf) if keep_alive else math.inf
        self._head_wait = settings.first_item_timeout
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def cancel(self) -> None:
        """The stream is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        due = min(self._head_due(), self._silence_due(), self._over_due()[0], self._stall_look())
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        due, reason = min(self._over_due(), self._stall_due(), key=lambda d: d[0])
        if due <= now:
            self._timer = None
            self._stream.interrupt(reason)
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
        if not self._stream.head_sent or self._stream.sending_since:
            return math.inf
        return self._stream.wrote_at + self._keep_alive

    def _over_due(self) -> tuple[float, Reason]:
        lifetime = self._stream.opened_at + (self._settings.lifetime or math.inf)
        idle = math.inf
        if not self._stream.sending_since:
            idle = self._stream.produced_at + (self._settings.idle_timeout or math.inf)
        return min(lifetime, idle), Reason.TIMED_OUT

    def _stall_due(self) -> tuple[float, Reason]:
        if not self._stream.sending_since:
            return math.inf, Reason.STALLED
        return self._stream.sending_since + self._patience(self._stream.sending_bytes), Reason.STALLED

    def _stall_look(self) -> float:
        """When to look for a stall: a write may begin right after a look, so look four times as often."""
        if self._stream.sending_since:
            return self._stall_due()[0]
        return self._loop.time() + self._patience(self._settings.high_water) / 4

    def _patience(self, size: int) -> float:
        """How long a write of so many bytes may take a reader that is neither stalled nor too slow."""
        rate = self._settings.min_rate
        return min(self._settings.stall_timeout or math.inf, RATE_GRACE + size / rate if rate else math.inf)
