"""Pinned threads: a synchronous action and its stream run on one thread from first line to last cleanup.

Thread-bound libraries (`sqlite3`, thread-local sessions, `transaction.manager`) just work there. A thread
that is given back waits for the next request and goes away when there is none for a while.

The convoy
    Every thread that waits for the interpreter lock polls it once per switch interval (5 ms), so a few
    thousand sleeping streams fill a core with polls when they wake, and no one gets on. The interval is
    therefore stretched with the number of busy threads, and restored when they go.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from millstream.errors import Overloaded

IDLE_NAME: Final = "millstream-idle"
IDLE_SECONDS: Final = 30.0
SECONDS_PER_BUSY_THREAD: Final = 20e-6


class ThreadResult(asyncio.Future[Any]):
    """What a job on a thread will come to. It cannot be cancelled, because a thread cannot.

    A task that is cancelled while it waits here learns of it when the job is done, and not before:
    so nobody tears a scope down around code that still runs in it.
    """

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002  the signature is asyncio's
        """Refuse."""
        return False

    def resolve(self, result: Any, raised: BaseException | None) -> None:
        """Take the outcome in, on the event loop."""
        if raised is None:
            self.set_result(result)
        elif isinstance(raised, StopIteration | GeneratorExit):  # they mean something else to a coroutine
            wrapped = RuntimeError(f"a function raised {type(raised).__name__}")
            wrapped.__cause__ = raised
            self.set_exception(wrapped)
        else:
            self.set_exception(raised)


class Lane:
    """One thread, lent to one request at a time, doing its jobs in order."""

    __slots__ = ("_jobs", "_lanes", "_thread", "bell")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.bell: SimpleQueue[None] = SimpleQueue()  # rung to wake a job that waits; see `wait`
        self._thread = threading.Thread(target=self._work, name=IDLE_NAME, daemon=True)
        self._thread.start()

    def lend(self, name: str) -> None:
        """Name the thread after the route it works for, for whoever looks with a debugger."""
        self._thread.name = f"millstream {name}"

    def submit(self, function: Callable[[], Any]) -> ThreadResult:
        """Run a function on the thread, after everything submitted before."""
        loop = asyncio.get_running_loop()
        outcome = ThreadResult(loop=loop)

        def job() -> None:
            result, raised = None, None
            try:
                result = function()
            except BaseException as caught:  # noqa: BLE001  whatever it is, it belongs to whoever waits
                raised = caught
            with suppress(RuntimeError):  # the loop was closed over our head: nobody waits any more
                loop.call_soon_threadsafe(outcome.resolve, result, raised)

        self._jobs.put(job)
        return outcome

    def wait(self, seconds: float | None) -> bool:
        """On the thread: wait for the bell; False when it did not ring in time."""
        try:
            self.bell.get(timeout=seconds)
        except Empty:
            return False
        return True

    def release(self) -> None:
        """Give the thread back; it rests once its last job is done, and does not count from now on."""
        self._lanes.returned()
        self._jobs.put(self._rest)

    def dismiss(self) -> None:
        """Let the thread end after its last job."""
        self._jobs.put(None)

    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.get_ident() == self._thread.ident

    def _rest(self) -> None:
        while not self.bell.empty():
            self.bell.get()
        self._thread.name = IDLE_NAME
        self._lanes.keep(self)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                if self._lanes.forget(self):
                    return
                continue
            if job is None:
                return
            job()
            del job  # it holds the last request's objects, which end with their request


class Lanes:
    """All pinned threads of one application; grows on demand up to `limit`, shrinks by itself."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle: deque[Lane] = deque()
        self._lock = threading.Lock()
        self._busy = 0
        self._usual_interval: float | None = None

    @property
    def busy(self) -> int:
        """How many threads are lent."""
        return self._busy

    def borrow(self, name: str, *, beyond_limit: bool = False) -> Lane:
        """Lend a thread; the one that rested last, for its caches are warm.

        Args:
            name: of the route it will work for.
            beyond_limit: for what is to be given up: that frees more than it takes.

        Raises:
            Overloaded: when all are lent, or the system gives no more.
        """
        if self._busy >= self._limit and not beyond_limit:
            raise Overloaded(f"all {self._limit} threads for synchronous actions are busy")
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = self._start()
        self._count(+1)
        lane.lend(name)
        return lane

    def returned(self) -> None:
        """A thread was given back."""
        self._count(-1)

    def keep(self, lane: Lane) -> None:
        """Called by a thread itself that has no more to do."""
        self._idle.append(lane)

    def forget(self, lane: Lane) -> bool:
        """Called by a thread nobody needed for a while; False when somebody has just borrowed it."""
        try:
            self._idle.remove(lane)
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Let the idle threads end."""
        while self._idle:
            self._idle.pop().dismiss()

    def _start(self) -> Lane:
        try:
            return Lane(self)
        except RuntimeError as refused:  # "can't start new thread"
            raise Overloaded("the system gives this process no more threads") from refused

    def _count(self, change: int) -> None:
        with self._lock:
            self._busy += change
            if self._usual_interval is None:
                self._usual_interval = sys.getswitchinterval()
            sys.setswitchinterval(max(self._usual_interval, self._busy * SECONDS_PER_BUSY_THREAD))
            if not self._busy:
                self._usual_interval = None
