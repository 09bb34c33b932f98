"""Waiting that always ends, and says what it waited for."""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from millstream.testing.failures import TimedOut

TIMEOUT: Final = 5.0
"""Seconds that a wait takes at most, unless the test says otherwise."""


class Change:
    """Wakes whoever waits for a condition, each time something about it may have changed.

    It belongs to one event loop; a condition is a plain look at plain attributes: there is nothing to lock.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Let every waiter look again."""
        self._event.set()

    async def wait_for(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds; at once, without giving way, if it does already."""
        while not condition():
            # `set` wakes all that wait at that moment, so clearing here cannot lose another's wake-up.
            self._event.clear()
            await self._event.wait()


@asynccontextmanager
async def within(
    seconds: float, where: str, what: str, meanwhile: Callable[[], str] = str
) -> AsyncIterator[None]:
    """Give the block a time limit.

    Raises:
        TimedOut: when it is over; `meanwhile` is asked only then.
    """
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise TimedOut(where, what=what, seconds=seconds, meanwhile=meanwhile()) from None


def stands_at(task: asyncio.Task[Any]) -> str:
    """The innermost line that a suspended task waits in and that is not the event loop's or this kit's."""
    awaited: Any = task.get_coro()  # what a coroutine awaits may be any awaitable: asked by attribute
    found: FrameType | None = None
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None and not frame.f_code.co_filename.startswith(_OURS):
            found = frame
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    return "an unknown line" if found is None else line_of(found)


def line_of(frame: FrameType) -> str:
    """A frame in words."""
    code = frame.f_code
    return f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"


def _first(awaited: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(awaited, name, None)) is not None), None)


_OURS: Final = (str(Path(sysconfig.get_path("stdlib"), "asyncio")), str(Path(__file__).parent))
