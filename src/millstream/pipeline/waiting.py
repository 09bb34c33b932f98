"""Waiting: how a request waits for its body, and synchronous code for what belongs into its task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from millstream.engine.ledger import Admission
from millstream.engine.loops import one_for_each_loop
from millstream.engine.scope import Scope
from millstream.errors import ControllerError, StreamInterrupted
from millstream.pipeline.house import House
from millstream.pipeline.plans import Plan
from millstream.web.request import Request

Result = TypeVar("Result")

AT_ONCE: Final = 2
"""Bodies that are parsed at a time: each holds the interpreter lock, which all other requests need."""


class BodyWait:
    """How one request waits for its body; the port `Waiting`.

    Attributes:
        plan: of the action that the body is for, as soon as that is known.
    """

    __slots__ = ("_house", "_scope", "plan")

    def __init__(self, house: House, scope: Scope) -> None:
        self._house = house
        self._scope = scope
        self.plan: Plan | None = None

    def wait(self, reading: Coroutine[Any, Any, bytes], /) -> bytes:
        """See `Waiting`, as for all that follows."""
        return wait_here(self._scope, reading)

    async def offload(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Not on the request's own thread: that may be what waits for this."""
        async with _turns(self._scope.stream.loop):
            lane = self._house.lanes.borrow(self._scope.stream.route)
            try:
                return await lane.submit(function, *args)
            finally:
                lane.release()

    def begins(self, request: Request, /) -> None:
        """Count it, for the caps of its action as soon as that is known."""
        ledger, stream = self._house.ledger, self._scope.stream
        if ledger.waits(stream):
            return
        if self.plan is None:
            ledger.begin_waiting(stream, Admission(retry_after=self._house.settings.retry_after))
        else:
            ledger.begin_waiting(stream, self.plan.admission, self.plan.client(request))

    def ends(self) -> None:
        """Count it no more."""
        self._house.ledger.end_waiting(self._scope.stream)


def wait_here(scope: Scope, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on the request's loop and block its thread until it is done, or the stream is ended.

    Raises:
        ControllerError: when this is no synchronous code of the request's.
        StreamInterrupted: when the stream was ended early.
        Exception: whatever the coroutine raised.
    """
    if not scope.is_here():
        coroutine.close()
        raise ControllerError(
            "request.stream() can be read with `for` on the request's own thread only: in async code write "
            "`async for`, in a thread of your own hand the pieces over"
        )
    lane, stream = scope.lane, scope.stream
    job = asyncio.run_coroutine_threadsafe(coroutine, stream.loop)
    job.add_done_callback(partial(_ring, lane.bell))
    while not stream.unwanted:
        lane.wait(None)  # one ring is ours; others come when the socket has room, or the stream is ended
        if job.done():
            return job.result()
    job.cancel()
    raise StreamInterrupted


def _ring(bell: Any, _: object) -> None:
    bell.put(None)


_turns: Final = one_for_each_loop(lambda _: asyncio.Semaphore(AT_ONCE))
