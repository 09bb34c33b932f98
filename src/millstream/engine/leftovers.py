"""Leftovers: the memory of a crowd that has gone, given back to the system.

Python and the C library keep it for the next crowd, megabytes at a time, as long as anything in them is in
use: and that are a few objects each, which are kept for reuse themselves. So those are let go first.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

CROWD: Final = 1_000
"""Streams, or idle threads, whose memory is worth giving back when all but a sixteenth have gone."""

MOMENT: Final = 2.0
"""Seconds until the connections of the last ones have gone, too."""

KEPT: Final = 256
"""Objects of a kind that asyncio and uvloop keep for reuse, at most."""


def is_gone(most: int, left: int) -> bool:
    """Whether there was a crowd, and has gone."""
    return most >= CROWD and left * 16 <= most


def give_back_soon(loop: asyncio.AbstractEventLoop) -> None:
    """Give back what a crowd has left, when all of it is free; on the loop."""
    loop.call_later(MOMENT, _exchange_kept, loop, context=Context())


def _give_back() -> None:
    """Give back all that nobody uses, as far as that is possible without a pause."""
    if not gc.get_freeze_count():  # else it is the author's
        gc.freeze()
        gc.collect()  # which empties the interpreter's own stores, and has nothing to look at
        gc.unfreeze()
    if _trim is not None:
        _trim(0)


def _exchange_kept(loop: asyncio.AbstractEventLoop) -> None:
    """Exchange what is kept for reuse: it lies wherever the crowd was, and what is new lies with the rest.

    Who takes twice as many as are kept has the old ones first. Those that are let go first are kept.
    """
    future = loop.create_future()
    soon: list[Any] = [loop.call_soon(_nothing, context=Context()) for _ in range(2 * KEPT)]
    late: list[Any] = [loop.call_later(MOMENT, _nothing, context=Context()) for _ in range(2 * KEPT)]
    for timer in late:
        timer.cancel()
    iterators: list[Any] = [future.__await__() for _ in range(2 * KEPT)]
    loop.call_soon(_let_go, soon, late, iterators)  # after all that were to be called


def _let_go(*taken: list[Any]) -> None:
    for kind in taken:
        while kind:
            kind.pop()
    _give_back()


def _nothing() -> None:
    """What is called when nothing is to be done."""


def _trim_of_libc() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no glibc
        return None
    return trim


_trim: Final = _trim_of_libc()  # before there is a crowd, among whose memory it would lie
