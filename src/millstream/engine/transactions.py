"""Transactions: what joins the thread's `transaction` in a request, and who settles it.

The package `transaction` has one transaction for each thread. In TurboGears a middleware commits it. Here a
participant does, a `Database` for example, when its own session is in it. Whatever else joins it (a session
that is registered with zope.sqlalchemy, a mailer, a hook) would wait for a commit that never comes, or be
committed by the next request on the same thread. So the threads of requests have a manager that notes its
use. A synchronous request that leaves something behind fails before its response ends, unless its author has
committed it. Asynchronous requests share their thread, so they cannot use its transaction at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

import transaction  # type: ignore[import-untyped]  # it has no annotations

from millstream.errors import ControllerError
from millstream.protocol.ports import Join
from millstream.web.proxies import stream_var


def begin(join: Join) -> None:
    """A request begins in this context, on its event loop."""
    _join.set(join)
    if not isinstance(transaction.manager.manager, _LoopManager):
        transaction.manager.manager = _LoopManager()


def lend_thread() -> None:
    """The current thread is going to run the synchronous code of requests."""
    transaction.manager.manager = _ThreadManager()


class _NotingManager(transaction.TransactionManager):  # type: ignore[misc]  # the base has no annotations
    """A manager of one thread that notes its use in a request."""

    def get(self) -> Any:
        """See `ITransactionManager`, as for all that follows."""
        self._note()
        return super().get()

    def begin(self) -> Any:
        self._note()
        return super().begin()

    def _note(self) -> None:
        raise NotImplementedError


class _ThreadManager(_NotingManager):
    """The manager of a thread that one request has at a time."""

    unit: object | None = None
    """What settles the transaction in this request; the unit of a session sets itself."""

    def _note(self) -> None:
        if self.unit is None and (join := _join.get(None)) is not None:
            self.unit = unit = _LeftoverUnit(self)
            join(unit)


class _LoopManager(_NotingManager):
    """The manager of an event loop's thread, which many requests have at the same time."""

    def _note(self) -> None:
        if (handle := stream_var.get(None)) is not None:
            raise ControllerError(
                f"{handle.statistics.route} used the transaction of its thread, which all asynchronous "
                "requests share: use database.async_session, or write the action as def"
            )


class _LeftoverUnit:
    """Nothing that settles; it sees to it that nothing is left."""

    def __init__(self, manager: _ThreadManager) -> None:
        self._manager = manager

    def prepare(self) -> None:
        """See `UnitOfWork`, as for all that follows.

        Raises:
            ControllerError: when something waits for a commit that never comes.
        """
        if self._manager.unit is self and (left := ", ".join(dict.fromkeys(_left(self._manager.get())))):
            raise ControllerError(
                f"{left} joined the transaction of the thread, which nobody commits: make the session as "
                "DBSession = Database(url).session and name the database among the participants of the "
                "application, or call transaction.commit() in the action"
            )

    def commit(self) -> None:
        pass

    def abort(self) -> None:
        self._manager.abort()

    def rest(self) -> None:
        pass

    def close(self) -> None:
        if self._manager.unit is self:  # or whoever has taken its place does it
            self._manager.abort()
            self._manager.unit = None


def _left(current: Any) -> Iterator[str]:
    """What a transaction would still do, in words; Any, because it has no annotations."""
    for resource in current._resources:  # noqa: SLF001  there is no public name for it
        session = getattr(resource, "session", None)
        if session is None:
            yield f"a {type(resource).__name__}"
        else:
            yield f"a session that is registered with zope.sqlalchemy ({getattr(session, 'bind', None)})"
    for hooks in (current.getBeforeCommitHooks(), current.getAfterCommitHooks()):
        for hook, *_ in hooks:
            yield f"the hook {getattr(hook, '__qualname__', hook)}"


_join: Final[ContextVar[Join]] = ContextVar("millstream.transactions")
