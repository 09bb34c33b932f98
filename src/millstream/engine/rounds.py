"""Rounds: the moments at which many want to be looked at, kept by one timer of their loop's.

A timer for each is what a loop offers. It is an object, a copy of the context and a place in a heap, for
something that hardly ever happens; so all that are due within a thirty-second of a second share one.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Final, Protocol

from millstream.engine.loops import one_for_each_loop

PER_SECOND: Final = 32
"""Rounds; nobody is looked at earlier than wanted, and hardly later than this."""

EARLY: Final = 0.001
"""Seconds by which a timer may ring early: some loops count milliseconds."""


class Waiting(Protocol):
    """Who waits for a moment."""

    def come_round(self) -> None:
        """It has come; told in an empty context."""


class Rounds:
    """All rounds of one event loop."""

    __slots__ = ("_context", "_loop", "_next", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = Context()  # whoever sets the timer is not to be kept by it
        self._waiting: dict[int, set[Waiting]] = {}
        self._next: float = math.inf  # the round the timer is set for
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, waiting: Waiting, moment: float) -> int:
        """Have somebody told of a moment, in the loop's time; the number of the round, to leave it by."""
        number = math.ceil(moment * PER_SECOND)
        others = self._waiting.get(number)
        if others is None:
            self._waiting[number] = {waiting}
            if number < self._next:
                self._set(number)
        else:
            others.add(waiting)
        return number

    def leave(self, waiting: Waiting, number: int) -> None:
        """Somebody does not want to be told any more."""
        others = self._waiting.get(number)
        if others is not None:
            others.discard(waiting)
            if not others:
                del self._waiting[number]

    def _set(self, number: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = number
        self._timer = None
        if number < math.inf:
            self._timer = self._loop.call_at(number / PER_SECOND, self._ring, context=self._context)

    def _ring(self) -> None:
        self._timer = None
        now = (self._loop.time() + EARLY) * PER_SECOND
        due = [number for number in self._waiting if number <= now]
        told = [waiting for number in due for waiting in self._waiting.pop(number)]
        try:
            for waiting in told:
                self._tell(waiting)
        finally:
            self._set(min(self._waiting, default=math.inf))

    def _tell(self, waiting: Waiting) -> None:
        """One that fails must not keep the others from being told."""
        try:
            waiting.come_round()
        except Exception as failed:  # noqa: BLE001  as a loop does with what it calls
            self._loop.call_exception_handler({"message": "a deadline failed", "exception": failed})


rounds_of: Final = one_for_each_loop(Rounds)
