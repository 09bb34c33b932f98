"""The end of the process, told to the streams when it is told to us.

A server tells an application of its shutdown only after the open responses have ended; an endless stream
would never learn of it and never end. So the signal itself starts the drain: streams see `stream.draining`,
and what is still open after `drain_timeout` is ended with a goodbye.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from millstream.app import Millstream


def drained(application: Any) -> Any:
    """The application, listening to the signals of the process; another one than ours stays as it is."""
    return _Listening(application) if isinstance(application, Millstream) else application


class _Listening:
    def __init__(self, application: Millstream) -> None:
        self._application: ASGIApp = application
        self._ledger = application.ledger
        self._drain: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._listen(number, asyncio.get_running_loop())
        await self._application(scope, receive, send)

    def _listen(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        # The server installed its handler before the lifespan began, and puts back what was there before it.
        servers = signal.getsignal(number)

        def told(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin)
            if callable(servers):
                servers(number, frame)

        signal.signal(number, told)

    def _begin(self) -> None:
        if self._drain is None:  # a second signal is the server's business
            self._drain = asyncio.create_task(self._ledger.drain())
