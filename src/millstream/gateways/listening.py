"""Listening: how a `receive` that may wait for as long as its stream lives is waited for.

A task for each is the ordinary way, and costs a stream as much memory as all that Millstream itself keeps for
it. Where the server is known to wait for plain futures only, the coroutine is taken on by hand instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from starlette.types import Receive

from millstream.gateways.uvicorn import is_plain


class Listening(Protocol):
    """A coroutine under way, of which nobody wants to know anything."""

    def cancel(self) -> object:
        """Give it up; it may take a turn of the loop to end."""
        ...

    def done(self) -> bool:
        """Whether it has ended."""
        ...


def listen(receive: Receive, listener: Coroutine[Any, Any, None]) -> Listening:
    """Let a coroutine that waits for this `receive` run on its own."""
    if is_plain(receive):
        by_hand = ByHand(listener)
        by_hand()
        return by_hand
    return asyncio.get_running_loop().create_task(listener)


async def ended(listening: Listening) -> None:
    """Wait until one that was given up has ended."""
    if isinstance(listening, asyncio.Task) and not listening.done():
        await asyncio.wait({listening})


class ByHand:
    """A coroutine that is taken on by whatever it waits for.

    What asks for the current task inside finds another's, or none: it must wait for futures only, without
    time-outs and task groups.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine

    def __call__(self, _: object = None) -> None:
        """Take it on to where it waits next."""
        if self._coroutine is None:
            return
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            self._coroutine = None
        except BaseException:
            self._coroutine = None
            raise
        else:
            future._asyncio_future_blocking = False  # noqa: SLF001  how asyncio's own tasks take a future over
            future.add_done_callback(self)

    def cancel(self) -> None:
        """Give it up, at once."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._coroutine is None
