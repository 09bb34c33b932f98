"""The inbox: what threads want done on the event loop, by one call of the loop's for all of them.

A call for each is what a loop offers, and it runs all that were made before it looks at a timer or a socket
again: when thousands of threads wake at a time, everybody else waits for all of them. Here they are called
for a moment, and go on in the loop's next turn.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final

from millstream.engine.loops import one_for_each_loop

SLICE: Final = 0.002
"""Seconds of calls in one turn of the loop."""

Call = tuple[Context, Callable[..., object], tuple[Any, ...]]


class Inbox:
    """What threads want done on one event loop, in the order of their asking."""

    __slots__ = ("_calls", "_is_told", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Call] = deque()
        self._is_told = False  # the loop knows that there is something

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called on the loop, in the caller's context; from any thread.

        Raises:
            RuntimeError: when the loop is closed.
        """
        self._calls.append((copy_context(), function, args))
        if not self._is_told:  # whoever empties it says that first, and sees what came before
            self._is_told = True
            self._loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_told = False
        calls, until = self._calls, time.monotonic() + SLICE
        while calls:
            context, function, args = calls.popleft()
            try:
                context.run(function, *args)
            except Exception as failed:  # noqa: BLE001  as a loop does with what it calls
                told = {"message": f"{function!r} failed", "exception": failed}
                self._loop.call_exception_handler(told)
            if calls and time.monotonic() > until:
                self._is_told = True
                self._loop.call_soon(self._empty)
                return


inbox_of: Final = one_for_each_loop(Inbox)
