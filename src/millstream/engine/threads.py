"""Pinned threads: a synchronous action and its stream run on one thread from first line to last cleanup.

Thread-bound libraries (`sqlite3`, thread-local sessions, `transaction.manager`) just work there. A thread
that is given back waits for the next request and goes away when there is none for a while.

Everything here is made for thousands of them: the loop never waits for a thread (not even for its start), a
thread is woken once for a job and never for anything else, and the loop is told once of a job's end. See
`pace` for what their number asks of the interpreter.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from millstream.engine import transactions
from millstream.engine.inbox import inbox_of
from millstream.engine.leftovers import give_back_soon, is_gone
from millstream.engine.pace import PACE
from millstream.errors import Overloaded, ThreadGivenUp

_LOG: Final = logging.getLogger("millstream")
IDLE_NAME: Final = "millstream-idle"
IDLE_SECONDS: Final = 30.0


class ThreadResult(asyncio.Future[Any]):
    """What a job on a thread will come to; nobody cancels it, because a thread cannot be.

    A task that is cancelled while it waits here learns of it when the job is done, and not before:
    so nobody tears a scope down around code that still runs in it.
    """

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait by plain futures.

        A task that is woken by any other asks it for its `result` by a name made for the occasion (CPython
        3.11), and the interpreter's cache of attributes keeps each of those names, and what it was good for.
        """
        cancelled = None
        while not self.done():
            waiter = self.get_loop().create_future()
            told = partial(_wake, waiter)
            self.add_done_callback(told)
            try:
                yield from waiter
            except asyncio.CancelledError as raised:
                self.remove_done_callback(told)
                cancelled = raised
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled  # or else it holds this frame, and this frame holds it
        return self.result()

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

    __slots__ = ("_jobs", "_lanes", "_thread", "_undone", "bell", "is_given_up", "loop")

    def __init__(self, lanes: Lanes, name: str) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  # the last one it worked for
        self._lanes = lanes
        self._jobs: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], ThreadResult] | None] = (
            SimpleQueue()
        )
        self._undone: list[ThreadResult] = []  # of jobs of whose end the loop does not know yet
        self.is_given_up = False
        self.bell: SimpleQueue[None] = SimpleQueue()  # rung to wake a job that waits; see `wait`
        self._thread = _Thread(self._work, name)
        self._thread.start()

    def lend(self, name: str) -> None:
        """Name the thread after the route it works for, for whoever looks with a debugger."""
        self._thread.name = name

    def submit(self, function: Callable[..., Any], *args: Any) -> ThreadResult:
        """Run a function on the thread, after everything submitted before."""
        self.loop = asyncio.get_running_loop()
        outcome = ThreadResult(loop=self.loop)
        if self.is_given_up:
            outcome.set_exception(ThreadGivenUp())
        else:
            self._undone.append(outcome)
            self._jobs.put((function, args, outcome))
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
        self._lanes.returned(self)
        if self.is_given_up:
            return
        if self._undone:
            self.submit(self._rest)
        else:  # it does so already: there is no need to wake it
            self._rest()

    def dismiss(self) -> None:
        """Let the thread end after its last job."""
        self._jobs.put(None)

    def give_up(self) -> bool:
        """Wait no more for what it does, if it does anything; later jobs come to nothing, too."""
        self.is_given_up = bool(self._undone)
        for outcome in self._undone:
            outcome.set_exception(ThreadGivenUp())
        if self.is_given_up:
            self.dismiss()
        return self.is_given_up

    @property
    def name(self) -> str:
        """Of the route it works for."""
        return self._thread.name

    @property
    def ident(self) -> int | None:
        """Of its thread."""
        return self._thread.ident

    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.get_ident() == self._thread.ident

    def _rest(self) -> None:
        while not self.bell.empty():
            self.bell.get()
        self._thread.name = IDLE_NAME
        self._lanes.keep(self)

    # On the thread

    def _work(self) -> None:
        transactions.lend_thread()
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                if self._lanes.forget(self):
                    return
                continue
            if job is None:
                return
            function, args, outcome = job
            result, raised = _called(function, args)
            del (
                job,
                function,
                args,
            )  # before anybody hears of it: they hold the request, which ends with its end
            with suppress(RuntimeError):  # the loop was closed over our head: nobody waits any more
                inbox_of(outcome.get_loop()).call(self._done, outcome, result, raised)
            del outcome, result, raised

    def _done(self, outcome: ThreadResult, result: Any, raised: BaseException | None) -> None:
        if self.is_given_up:
            return
        self._undone.pop(0)  # they are done in order
        outcome.resolve(result, raised)


class Lanes:
    """All pinned threads of one application; grows on demand up to `limit`, shrinks by itself."""

    def __init__(self, limit: int, retry_after: int = 1) -> None:
        self._limit = limit
        self._retry_after = retry_after
        self._idle: dict[Lane, None] = {}  # in the order they came to rest
        self._lent: set[Lane] = set()
        self._ended = 0  # threads nobody needed, since memory was given back

    @property
    def busy(self) -> int:
        """How many threads are lent."""
        return len(self._lent)

    def borrow(self, name: str, *, beyond_limit: bool = False) -> Lane:
        """Lend a thread; the one that rested last, for its caches are warm.

        Args:
            name: of the route it will work for.
            beyond_limit: for what is to be given up: that frees more than it takes.

        Raises:
            Overloaded: when all are lent, or the system gives no more.
        """
        if len(self._lent) >= self._limit and not beyond_limit:
            told = f"all {self._limit} threads for synchronous actions are busy"
            raise Overloaded(told, retry_after=self._retry_after)
        name = f"millstream {name}"
        try:
            lane, _ = self._idle.popitem()
        except KeyError:
            lane = self._start(name)
        else:
            lane.lend(name)
        self._lent.add(lane)
        PACE.threads(+1)
        return lane

    def returned(self, lane: Lane) -> None:
        """A thread was given back."""
        self._lent.discard(lane)
        PACE.threads(-1)

    def give_up(self) -> None:
        """The process ends: wait no more for the threads that are at work."""
        for lane in list(self._lent):
            if lane.give_up():
                _LOG.error("%s: the thread blocks, and is given up with the process", lane.name)

    def keep(self, lane: Lane) -> None:
        """A thread has no more to do: told by itself, or for it."""
        self._idle[lane] = None

    def forget(self, lane: Lane) -> bool:
        """Called by a thread nobody needed for a while; False when somebody has just borrowed it."""
        if self._idle.pop(lane, _BORROWED) is _BORROWED:
            return False
        self._ended += 1
        if is_gone(self._ended, len(self._idle)):
            self._ended = 0
            if lane.loop is not None:
                with suppress(RuntimeError):  # it is closed
                    lane.loop.call_soon_threadsafe(give_back_soon, lane.loop)
        return True

    def close(self) -> None:
        """Let the idle threads end."""
        while self._idle:
            self._idle.popitem()[0].dismiss()

    def _start(self, name: str) -> Lane:
        try:
            return Lane(self, name)
        except RuntimeError as refused:  # "can't start new thread"
            raise Overloaded("the system gives this process no more threads") from refused


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():  # it may have been cancelled in this turn of the loop
        waiter.set_result(None)


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*args), None
    except BaseException as raised:  # noqa: BLE001  whatever it is, it belongs to whoever waits
        return None, raised


class _Thread(threading.Thread):
    """A thread whose `start` does not wait until it runs.

    The wait gives the interpreter lock up, and who gives it up stands at the end of a queue of all the
    threads that wait for it: with thousands of them, starting one more would take the loop seconds.
    """

    _hook: Any = None

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Started()
        if _Thread._hook is None:
            _Thread._hook = vars(self)["_invoke_excepthook"]
        vars(self)["_invoke_excepthook"] = _Thread._hook  # the same for all, but half a kilobyte for each


class _Started:
    """The event a thread's `start` waits for, less the wait, and less the kilobyte an event takes."""

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        self._flag = False

    def set(self) -> None:
        self._flag = True

    def is_set(self) -> bool:
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  the signature is threading's
        return True

    def _at_fork_reinit(self) -> None:
        """Nothing: there is no lock in it that a fork could have caught."""


_BORROWED: Final = object()
