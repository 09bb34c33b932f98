"""The handle: the `stream` proxy's other end, with verbs that fit the code that calls them.

A waiting verb blocks on the stream's own thread and is awaited in its task. Which of the two it is
follows from where it is called: a thread that runs an event loop must never be blocked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from millstream.engine.ledger import Ledger
from millstream.engine.scope import Scope
from millstream.errors import ControllerError, StreamInterrupted
from millstream.protocol.events import Progress, Reason, Statistics
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import OnEnd, OnInterrupt


class Handle:
    """One stream, as its author sees it; the port `StreamHandle`."""

    __slots__ = ("_ledger", "_scope", "_stream")

    def __init__(self, scope: Scope, ledger: Ledger) -> None:
        self._scope = scope
        self._stream = scope.stream
        self._ledger = ledger

    def _current_obj(self) -> Handle:
        return self

    @property
    def id(self) -> str:
        """See `StreamHandle`, as for all that follows."""
        return self._stream.id

    @property
    def state(self) -> State:
        return self._stream.state

    @property
    def reason(self) -> Reason | None:
        return self._stream.reason

    @property
    def client_gone(self) -> bool:
        return self._stream.client_gone

    @property
    def is_unwanted(self) -> bool:
        return self._stream.unwanted and not self._stream.heard

    @property
    def read_only(self) -> bool:
        return self._scope.read_only

    @property
    def draining(self) -> bool:
        return self._ledger.draining

    @property
    def statistics(self) -> Statistics:
        return self._stream.statistics

    def on_end(self, callback: OnEnd) -> OnEnd:
        self._stream.callbacks = (*self._stream.callbacks, callback)
        return callback

    def on_interrupt(self, callback: OnInterrupt) -> OnInterrupt:
        self._stream.call_on_interrupt(callback)
        return callback

    def stop(self, stream_id: str = "", *, reason: Reason = Reason.STOPPED) -> bool:
        return self._ledger.stop(stream_id, reason) if stream_id else self._stream.stop(reason)

    def find(self, stream_id: str) -> Statistics | None:
        return self._ledger.find(stream_id)

    def progress(self, done: float, total: float | None = None, note: str = "") -> Progress:
        self._stream.progress = Progress(done, total, note)
        return self._stream.progress

    def sleep(self, seconds: float) -> Awaitable[None]:
        if _in_event_loop():
            return self._sleep(seconds) if self._scope.units else asyncio.sleep(seconds)
        if not self._scope.is_here():  # a thread of the author's own
            time.sleep(seconds)
            return _DONE
        self._scope.rest_here()
        until = time.monotonic() + seconds
        stream = self._stream
        while stream.heard or not stream.unwanted:
            rest = until - time.monotonic()
            if rest <= 0 or not self._scope.lane.wait(rest):
                return _DONE
        stream.heard = True
        raise StreamInterrupted

    def commit(self) -> Awaitable[None]:
        if _in_event_loop():
            return self._scope.commit()
        if not self._scope.is_here():
            raise ControllerError(
                f"{self._stream.route} called stream.commit() on a thread of its own: what it would commit "
                "is bound to the thread of the action and its generator; call it there"
            )
        self._scope.commit_here()
        return _DONE

    async def _sleep(self, seconds: float) -> None:
        await self._scope.rest()
        await asyncio.sleep(seconds)


class _Done:
    """Awaited by nobody: what a verb returns that has already waited."""

    def __await__(self) -> Any:
        return iter(())


_DONE = _Done()


def _in_event_loop() -> bool:
    return asyncio._get_running_loop() is not None  # noqa: SLF001  the documented twin raises where this answers
