"""The stream: the record of one response's life, and the one place where it can be ended early."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Final

from millstream.errors import HTTPError
from millstream.protocol.events import Progress, Reason, Statistics
from millstream.protocol.lifecycle import FINAL, Event, State, told
from millstream.protocol.ports import OnEnd

_LOG: Final = logging.getLogger("millstream")


class Stream:
    """One response from request to end.

    Everything but `stop` and `call_on_interrupt` belongs to the event loop's thread.
    """

    __slots__ = (
        "_ended",
        "_id",
        "_thread",
        "bytes",
        "callbacks",
        "client",
        "client_gone",
        "first_byte",
        "heard",
        "interrupt_callbacks",
        "interrupted",
        "items",
        "loop",
        "may_detach",
        "on_interrupt",
        "progress",
        "reason",
        "route",
        "started",
        "state",
        "unwanted",
    )

    def __init__(self, *, client: str = "", route: str = "") -> None:
        self._id = ""
        self.state = State.WAITING  # its place in the table; changed by `tell` alone
        self.loop = asyncio.get_running_loop()  # asked once: each time is a system call
        self._thread = threading.get_ident()
        self.route = route
        self.client = client
        self.client_gone = False
        self.reason: Reason | None = None
        self.interrupted = False  # somebody ended it early, for the reason that is set
        self.unwanted = False  # what it yields has nowhere to go: the producer has to; read by its thread
        self.heard = False  # its synchronous producer knows, and cleans up: its sleeps are its own again
        self.on_interrupt: Callable[[], None] | None = None
        self.may_detach: Callable[[Stream], bool] = _always  # whether it may run on without its client
        self.callbacks: tuple[OnEnd, ...] = ()
        self.interrupt_callbacks: tuple[Callable[[], object], ...] = ()
        self.progress: Progress | None = None
        self.items = self.bytes = 0
        self.started = time.perf_counter()
        self.first_byte: float | None = None
        self._ended: float | None = None

    @property
    def id(self) -> str:
        """Made when first asked for: most responses are never named."""
        if not self._id:
            self._id = secrets.token_urlsafe(12)
        return self._id

    def is_named(self, stream_id: str) -> bool:
        """Whether that is its name; asking does not make one."""
        return self._id == stream_id != ""

    def tell(self, event: Event) -> State:
        """Take in an event; the reason of an ordinary end follows from the state it led to."""
        state = self.state = told(self.state, event)
        if state in FINAL and self._ended is None:
            self._ended = time.perf_counter()
            self.reason = self.reason or _REASONS.get(state)
        return state

    def start_over(self) -> None:
        """The action is called once more; what it said of its stream the first time is forgotten."""
        self.tell(Event.REPEATED)
        self.callbacks = self.interrupt_callbacks = ()
        self.progress = None

    def interrupt(self, reason: Reason) -> bool:
        """End it early; False when it is settling or has ended, and nothing changes."""
        before = self.state
        event = Event.CLIENT_GONE if reason is Reason.CLIENT_GONE else Event.HALTED
        if before not in _INTERRUPTIBLE:
            self.tell(event)
            return False
        if before is not State.ENDING:  # a committed stream ends unseen, but completed
            self.reason = reason
        self.interrupted = self.unwanted = True
        self.tell(event)
        if before is not State.ENDING:
            self.unblock()
        if self.on_interrupt is not None:
            self.on_interrupt()
        return before is not State.ENDING

    def call_on_interrupt(self, callback: Callable[[], object]) -> None:
        """Have something called once when it is ended early; from any thread."""
        callback = partial(copy_context().run, callback)
        with _REGISTERING:
            if not self.unwanted:
                self.interrupt_callbacks = (*self.interrupt_callbacks, callback)
                return
        self._call_all((callback,))

    def unblock(self) -> None:
        """Call what ends the waits of a producer that nobody wants any more; on a thread that may block."""
        with _REGISTERING:
            callbacks, self.interrupt_callbacks = self.interrupt_callbacks, ()
        if not callbacks:
            return
        name = f"millstream interrupts {self.route}"
        try:
            threading.Thread(target=self._call_all, args=(callbacks,), name=name, daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self._call_all(callbacks)

    def _call_all(self, callbacks: Sequence[Callable[[], object]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001  an author's callback cannot keep the others from being called
                _LOG.exception("%s: an on_interrupt callback failed", self.route)

    def stop(self, reason: Reason = Reason.STOPPED) -> bool:
        """The same from any thread; from another one it says whether it came in time to be tried."""
        if threading.get_ident() == self._thread:
            return self.interrupt(reason)
        if self.state not in _INTERRUPTIBLE:
            return False  # and the loop may be closed by now
        self.loop.call_soon_threadsafe(self.interrupt, reason)
        return True

    def require_uninterrupted(self) -> None:
        """Refuse to go on with a stream that was ended early; after its commit it is complete, only unseen.

        Raises:
            HTTPError: what the client is told, if its head has not left.
        """
        if self.interrupted and self.reason in _UNDELIVERED:
            status, detail = _UNDELIVERED[self.reason]
            raise HTTPError(status, detail, headers={"Retry-After": "1"} if status == _COME_BACK else None)

    @property
    def statistics(self) -> Statistics:
        """What it has done until now, frozen."""
        return Statistics(
            id=self.id,
            route=self.route,
            client=self.client,
            state=self.state,
            reason=self.reason,
            items=self.items,
            bytes=self.bytes,
            first_byte=self.first_byte,
            duration=(self._ended or time.perf_counter()) - self.started,
            progress=self.progress,
        )


def _always(_stream: Stream) -> bool:
    """The answer for a stream that no ledger counts."""
    return True


_REGISTERING: Final = threading.Lock()
"""Held for a moment, and by few: hardly any stream has something to be called on an interruption."""

_INTERRUPTIBLE: Final = frozenset({State.WAITING, State.FLOWING, State.UNWATCHED, State.ENDING})
_REASONS: Final = {
    State.DELIVERED: Reason.COMPLETED,
    State.UNSEEN: Reason.COMPLETED,
    State.FAILED: Reason.FAILED,
}
_COME_BACK: Final = 503
_UNDELIVERED: Final[dict[Reason | None, tuple[int, str]]] = {
    Reason.CLIENT_GONE: (499, "the client left"),
    Reason.STOPPED: (503, "the stream was stopped before its first item"),
    Reason.TIMED_OUT: (504, "the stream took too long to produce its first item"),
    Reason.STALLED: (408, "the client does not read"),
    Reason.SHUTDOWN: (503, "this process is about to end"),
    Reason.REVOKED: (403, "the stream may no longer be seen"),
}
