"""The watchdog: in debug, names the line that keeps the event loop from everybody else.

A thread beats and the loop answers. When an answer takes too long, the thread looks at what the loop's thread
is doing at that moment, so the line it names is the one that blocks, not the one that blocked before.
It lives while streams do, and costs the hot path nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Final

_LOG: Final = logging.getLogger("millstream")


class Watchdog:
    """Watches one event loop while anything is live.

    Args:
        threshold: seconds without an answer that are reported; looked for about twice in that time.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._live = 0
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def enter(self) -> None:
        """A stream opened."""
        self._live += 1
        if self._thread is None:
            self._over = threading.Event()
            watch = (asyncio.get_running_loop(), threading.get_ident(), self._over)
            self._thread = threading.Thread(
                target=self._watch, args=watch, name="millstream-watchdog", daemon=True
            )
            self._thread.start()

    def leave(self) -> None:
        """A stream ended; with the last one the watch is over."""
        self._live -= 1
        if not self._live and self._thread is not None:
            self._over.set()
            self._thread = None

    def _watch(self, loop: asyncio.AbstractEventLoop, ident: int, over: threading.Event) -> None:
        answered = threading.Event()
        while not over.wait(self._threshold / 2):
            answered.clear()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed, and so is the watch
                return
            if not answered.wait(self._threshold):
                _report(ident, self._threshold)
                # A loop may close between the question and its answer, which then never comes.
                while not (answered.wait(self._threshold) or over.is_set() or loop.is_closed()):
                    pass


def authored_line(thread: int | None) -> traceback.FrameSummary | None:
    """The innermost line of the author's at which a thread is; None when there is no such line, or thread."""
    frame: FrameType | None = sys._current_frames().get(thread or 0)  # noqa: SLF001  its documented name
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    return next((line for line in stack if not line.filename.startswith(_NOT_THE_AUTHORS)), None)


def _report(thread: int, threshold: float) -> None:
    if (culprit := authored_line(thread)) is not None:
        _LOG.warning(
            "%s:%d in %s blocks the event loop for more than %g s: every stream waits for it. "
            "Await instead, or write a plain `def`, which runs on a thread of its own.",
            culprit.filename,
            culprit.lineno or 0,
            culprit.name,
            threshold,
        )


_NOT_THE_AUTHORS: Final = (
    str(Path(__file__).parent.parent) + "/",
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    "<frozen",
)
