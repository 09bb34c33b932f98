"""Waiting: what belongs into the request's task, waited for on the request's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from millstream.engine.scope import Scope
from millstream.errors import ControllerError, StreamInterrupted

Result = TypeVar("Result")


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
