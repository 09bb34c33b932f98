"""Requires that a block leaves nothing behind."""

# ruff: noqa: ASYNC109  these waits end with a sentence on what did not come, asyncio.timeout's with none

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol, runtime_checkable
from weakref import WeakSet, ref

from millstream.protocol.events import Statistics
from millstream.testing.failures import Leaked
from millstream.testing.waiting import line_of, stands_at

IDLE_THREAD: Final = "millstream-idle"
"""The name of a pinned thread that waits for its next stream."""

PATIENCE: Final = 2.0
"""Seconds that cleaning up may take after the block."""


class Ledger(Protocol):
    """Knows which streams are alive."""

    @property
    def live(self) -> Sequence[Statistics]:
        """What each of them has done until now."""
        ...


@runtime_checkable
class HasLedger(Protocol):
    """An application that keeps one, as Millstream does."""

    @property
    def ledger(self) -> Ledger:
        """Its ledger."""
        ...


@asynccontextmanager
async def no_leaks(
    app: object = None, *, watch: Sequence[ref[Any]] = (), timeout: float = PATIENCE
) -> AsyncIterator[None]:
    """Require that what the block starts has ended soon after it: tasks, threads, streams, generators.

    A block that raises is not checked: its own error matters more.

    Args:
        app: an application; if it, or what it wraps as `.app`, has a `ledger`, no stream may live on.
        watch: weak references to sync generators, which must be closed or gone; looked at in the end, so the
            block may add to it. Async generators that take their first step in the block are always watched.
        timeout: seconds to wait until everything is gone.

    Raises:
        Leaked: naming what is left.
    """
    stepped: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
    before = set(asyncio.all_tasks()), set(threading.enumerate()), {stream.id for stream in _streams(app)}

    def left() -> list[str]:
        tasks, threads, streams = before
        return [
            *(f"the task {task.get_name()!r} at {stands_at(task)}" for task in asyncio.all_tasks() - tasks),
            *_threads(threads),
            *(
                f"the stream {s.id} of {s.route}, {s.state.value}"
                for s in _streams(app)
                if s.id not in streams
            ),
            *_generators([*stepped, *(reference() for reference in watch)]),
        ]

    with _noting_first_steps(stepped):
        yield
    await _until_nothing(left, timeout)


async def _until_nothing(left: Callable[[], list[str]], timeout: float) -> None:
    """Look again and again: nothing tells when a thread or a foreign task ends."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    while remains := left():
        if clock() >= deadline:
            raise Leaked(remains)
        await asyncio.sleep(_STEP)


def _streams(app: object) -> Sequence[Statistics]:
    wrapped: object = app
    while wrapped is not None:
        if isinstance(wrapped, HasLedger):
            return wrapped.ledger.live
        wrapped = getattr(wrapped, "app", None)
    return ()


def _threads(before: set[threading.Thread]) -> Iterator[str]:
    frames = sys._current_frames()  # noqa: SLF001  the documented way to other threads' frames
    for thread in set(threading.enumerate()) - before:
        frame = frames.get(thread.ident or 0)
        if thread.name != IDLE_THREAD and not _is_pooled_and_idle(frame):
            yield f"the thread {thread.name!r}" + (f" at {line_of(_telling(frame))}" if frame else "")


def _telling(frame: FrameType) -> FrameType:
    """The innermost frame outside of locks and queues, if there is one."""
    outer: FrameType | None = frame
    while outer is not None and (_stands_in(outer, "threading.py") or _stands_in(outer, "queue.py")):
        outer = outer.f_back
    return outer or frame


def _is_pooled_and_idle(frame: FrameType | None) -> bool:
    """Whether a thread of an executor, or of anyio, waits for work: such threads stay, and do no harm."""
    while frame is not None and _stands_in(frame, "threading.py"):
        frame = frame.f_back  # the lock inside a queue
    if frame is None:
        return False
    if _stands_in(frame, "queue.py"):
        return frame.f_back is not None and _stands_in(frame.f_back, "anyio", "_backends", "_asyncio.py")
    # Work runs one frame further in: the loop of an executor's thread is innermost only between two pieces.
    return frame.f_code.co_name == "_worker" and _stands_in(frame, "concurrent", "futures", "thread.py")


def _stands_in(frame: FrameType, *path: str) -> bool:
    return Path(frame.f_code.co_filename).parts[-len(path) :] == path


@contextmanager
def _noting_first_steps(stepped: WeakSet[AsyncGenerator[Any, Any]]) -> Iterator[None]:
    earlier = sys.get_asyncgen_hooks().firstiter  # the event loop's own

    def note(generator: AsyncGenerator[Any, Any]) -> None:
        stepped.add(generator)
        if earlier is not None:
            earlier(generator)

    sys.set_asyncgen_hooks(firstiter=note)
    try:
        yield
    finally:
        if sys.get_asyncgen_hooks().firstiter is note:  # a loop that was left meanwhile has put its own back
            sys.set_asyncgen_hooks(firstiter=earlier)


def _generators(watched: Sequence[Any]) -> Iterator[str]:
    for generator in watched:
        frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        if frame is not None:
            yield f"the generator {line_of(frame)}"


_STEP: Final = 0.005
