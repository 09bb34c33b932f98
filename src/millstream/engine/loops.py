"""Loops: what there is one of for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def one_for_each_loop(
    make: Callable[[asyncio.AbstractEventLoop], T],
) -> Callable[[asyncio.AbstractEventLoop], T]:
    """A function that gives a loop's own; from any thread.

    A process has one loop, all but always. So the last one's is kept, and a loop that was left and is come
    back to gets another: whoever has the former still shares it.
    """
    latest: tuple[asyncio.AbstractEventLoop, T] | None = None

    def of(loop: asyncio.AbstractEventLoop) -> T:
        nonlocal latest
        known = latest
        if known is None or known[0] is not loop:
            known = latest = loop, make(loop)
        return known[1]

    return of
