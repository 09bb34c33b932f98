"""The scope: the one owner of everything that lives as long as a request's stream.

It owns the thread (if any synchronous code runs), the context that code runs in, the units of work and the
callbacks for the end, opens them in order and closes them in reverse, once, on every way out.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

from anyio import CancelScope

from millstream.engine import settlement, transactions
from millstream.engine.stream import Stream
from millstream.engine.threads import Lane, Lanes, ThreadResult
from millstream.protocol.lifecycle import Event
from millstream.protocol.ports import Participant, UnitOfWork

_LOG: Final = logging.getLogger("millstream")
_UNSET: Final = object()


class Scope:
    """One request's lifetime.

    Asynchronous code runs in the request's task. Synchronous code runs on one thread of its own, in one
    context of its own; what either side sets in its context variables is carried to the other at each
    change of sides, so that the author sees one context.
    """

    __slots__ = ("_context", "_lane", "_lanes", "read_only", "stream", "units")

    def __init__(self, lanes: Lanes, stream: Stream) -> None:
        self.stream = stream
        self._lanes = lanes
        self._lane: Lane | None = None
        self._context: Context | None = None
        self.units: list[UnitOfWork] = []
        self.read_only = False  # nothing of this request may be committed

    # Running the author's code

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run any function of the author's where it belongs; the port `Call`."""
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        if args or kwargs:
            function = partial(function, *args, **kwargs)
        context = self._synchronous_context()
        job = self.lane.submit(context.run, function)
        try:
            result = await job
        except asyncio.CancelledError:
            _discard(job)
            raise
        finally:
            for variable, value in _changed(context, copy_context()):
                variable.set(value)
        return await result if inspect.iscoroutine(result) else result

    def start(self, function: Callable[[], Any]) -> ThreadResult:
        """Start a long job (a producer) in the synchronous context; nothing is carried back."""
        return self.lane.submit(self._synchronous_context().run, function)

    @property
    def lane(self) -> Lane:
        """The request's thread, borrowed when first needed.

        Raises:
            Overloaded: when there is none left.
        """
        if self._lane is None:
            self._lane = self._lanes.borrow(self.stream.route)
        return self._lane

    def is_here(self) -> bool:
        """Whether the caller runs on the request's thread."""
        return self._lane is not None and self._lane.is_current()

    def wake(self) -> None:
        """Wake synchronous code that waits on the request's thread."""
        if self._lane is not None:
            self._lane.bell.put(None)

    def release_idle_lane(self) -> None:
        """Give the thread back before an asynchronous stream, when no unit of work is bound to it."""
        if self._lane is not None and not self.units:
            self._lane.release()
            self._lane = None

    def _synchronous_context(self) -> Context:
        current = copy_context()
        if self._context is None:
            self._context = current
        elif changed := _changed(current, self._context):
            self._context.run(_set_all, changed)
        return self._context

    # Owning the units of work

    def begin(self, participants: Sequence[Participant]) -> None:
        """Let every participant bind itself to this request; their units join when they are first used."""
        transactions.begin(self.units.append)
        for participant in participants:
            participant.begin(self.units.append)

    async def commit(self) -> None:
        """Make lasting what was done until now: a checkpoint, or the settlement itself."""
        if self.units and self.read_only:
            await settlement.abort(self.units, self.call)
        elif self.units:
            await settlement.commit(self.units, self.call)

    async def settled(self) -> None:
        """Settle after the last item: the one way to a body's end, which every sender takes.

        Nothing that a client takes for the end of a body is sent before this returns.

        Raises:
            HTTPError: the stream was ended early; then nothing is committed.
            Exception: whatever a participant raised; then nothing is committed, as far as that can be had.
        """
        self.stream.require_uninterrupted()
        self.stream.tell(Event.EXHAUSTED)
        await self.commit()
        self.stream.tell(Event.COMMITTED)

    async def rest(self) -> None:
        """The stream pauses: let the units give back what they do not need for now."""
        await settlement.rest(self.units, self.call)

    def rest_here(self) -> None:
        """The same, for code that runs on the request's thread and cannot wait for it."""
        _finish(settlement.rest(self.units, self._call_here))

    def commit_here(self) -> None:
        """A checkpoint, for code that runs on the request's thread and cannot wait for it."""
        settle = settlement.abort if self.read_only else settlement.commit
        _finish(settle(self.units, self._call_here))

    async def _call_here(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The port `Call` without a suspension: what belongs into the task is waited for, blocking."""
        result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            return asyncio.run_coroutine_threadsafe(result, self.stream.loop).result()
        return result

    async def abort(self) -> None:
        """Undo what was not committed, also while the request's task is being cancelled."""
        if self.units and not self._is_given_up:
            with CancelScope(shield=True):
                await settlement.abort(self.units, self._call_at_last)

    async def close(self) -> None:
        """Give back everything: the last step of a request's way, after the last byte."""
        if self._is_given_up:
            self._leave_behind()
        try:
            if self.units or self.stream.callbacks:
                with CancelScope(shield=True):
                    try:
                        for callback in self.stream.callbacks:
                            await self._tell_end(callback)
                    finally:
                        await settlement.close(self.units, self._call_at_last)
        finally:
            if self._lane is not None:
                self._lane.release()
                self._lane = None
            self._context = None

    @property
    def _is_given_up(self) -> bool:
        return self._lane is not None and self._lane.is_given_up

    def _leave_behind(self) -> None:
        """Part from a thread that blocks, and from the units it may be in; the process ends with both."""
        if self._lane is not None:
            self._lane.release()
        self._lane = self._context = None
        self.units.clear()

    async def _call_at_last(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """The port `Call` for giving up, which must not fail for want of a thread."""
        if self._lane is None and not inspect.iscoroutinefunction(function):
            self._lane = self._lanes.borrow(self.stream.route, beyond_limit=True)
        return await self.call(function, *args)

    async def _tell_end(self, callback: Callable[..., Any]) -> None:
        statistics = self.stream.statistics
        try:
            await self._call_at_last(callback, statistics.reason, statistics)
        except Exception:  # noqa: BLE001  an author's callback cannot keep the others from being told
            _LOG.exception("%s: an on_end callback failed", self.stream.route)


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a coroutine that must not suspend did")


def _changed(source: Context, target: Context) -> list[tuple[Any, Any]]:
    """What must be set in the target to see what the source sees."""
    return [
        (variable, value) for variable, value in source.items() if target.get(variable, _UNSET) is not value
    ]


def _set_all(values: list[tuple[Any, Any]]) -> None:
    for variable, value in values:
        variable.set(value)


def _discard(job: ThreadResult) -> None:
    """Close what nobody will use: a job went on after its request was cancelled, and made a generator."""
    if job.done() and job.exception() is None and isinstance(job.result(), Generator | Coroutine):
        job.result().close()
