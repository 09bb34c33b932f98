"""Who waits for which stream in this process, and how they are woken.

A hint says "look again", never what is there: it may come for nothing. A waiter is registered before it
looks, so that what happens between its look and its sleep wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One waiter's place."""

    __slots__ = ("_hinted", "_sleeper")

    def __init__(self) -> None:
        self._hinted = False
        self._sleeper: asyncio.Future[None] | None = None

    def hint(self) -> None:
        """Wake the waiter, or spare it its next sleep."""
        self._hinted = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait_hinted(self, timeout: float | None) -> None:  # noqa: ASYNC109  a hot path: no scope, no task
        """Sleep until there was a hint since the last call, or the time is over."""
        if not self._hinted:
            loop = asyncio.get_running_loop()
            sleeper = self._sleeper = loop.create_future()
            alarm = None if timeout is None else loop.call_later(timeout, _ring, sleeper)
            try:
                await sleeper
            finally:
                self._sleeper = None
                if alarm is not None:
                    alarm.cancel()
        self._hinted = False


class Hints:
    """The watches of each stream."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    @contextmanager
    def watching(self, name: str) -> Iterator[Watch]:
        """A watch that is hinted at whatever happens to a stream from now on."""
        watch = Watch()
        watches = self._watches.setdefault(name, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches and self._watches.get(name) is watches:
                del self._watches[name]

    def awake(self, name: str | None) -> None:
        """Hint at everybody who watches a stream; at everybody, when it may be any."""
        if name is not None:
            for watch in self._watches.get(name, ()):
                watch.hint()
            return
        for watches in self._watches.values():
            for watch in watches:
                watch.hint()


def _ring(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
