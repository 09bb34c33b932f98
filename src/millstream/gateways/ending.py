"""The end of the process, told to the streams when it is told to us.

A server tells an application of its shutdown only after the open responses have ended; an endless stream
would never learn of it and never end. So the signal itself starts the drain: streams see `stream.draining`,
and what is still open after `drain_timeout` is ended with a goodbye. The server's own handler goes on to do
what it does: it stops listening and waits for the responses. So that it does not wait for ever, threads that
block are given up `close_timeout` after that.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from millstream.engine.ledger import Ledger

FREED: Final = 0.1
"""Seconds after the drain until the collector frees what the requests that were interrupted have held.

granian ends a connection whose request has not come whole only once nothing holds the request's `receive`.
"""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Listens to the signals of a process whose server does.

    Args:
        ledger: tells the streams.
        give_up: gives up what has not ended when it should have.
    """

    def __init__(self, ledger: Ledger, give_up: Callable[[], None]) -> None:
        self._ledger = ledger
        self._give_up = give_up
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._heard: set[int] = set()
        self._drain: asyncio.Task[None] | None = None
        self.listens = False

    def listen(self) -> None:
        """Hear the signals before the server does, once it has begun to.

        Where nobody handles SIGTERM there is no server that ends well, but a test or a script, whose
        signals are not ours; and only a main thread has any.
        """
        self.listens = True
        if threading.current_thread() is not threading.main_thread() or not callable(
            signal.getsignal(signal.SIGTERM)
        ):
            return
        self._loop = asyncio.get_running_loop()
        self._heard.clear()
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._servers[number] = handler
                signal.signal(number, self._told)

    def leave(self) -> None:
        """The application has ended: the signals are the server's again."""
        self.listens = False
        if self._drain is not None:
            self._drain.cancel()
        self._drain = self._loop = None
        for number, handler in self._servers.items():
            if signal.getsignal(number) == self._told:
                signal.signal(number, handler)
        self._servers.clear()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """A second SIGINT, from impatient fingers, or a second SIGTERM gives no more time.

        One of each may be a single wish: a terminal tells all processes, and a supervisor its workers again.
        """
        again = number in self._heard or (number == signal.SIGINT and bool(self._heard))
        self._heard.add(number)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hurry if again else self._begin)
        if (handler := self._servers.get(number)) is not None:
            handler(number, frame)

    def _begin(self) -> None:
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        await self._ledger.drain()
        await asyncio.sleep(FREED)
        gc.unfreeze()
        gc.collect()
        await self._ledger.overdue()
        self._give_up()

    def _hurry(self) -> None:
        self._begin()
        self._ledger.hurry()
