"""Units: what a session does when its stream pauses, settles and ends; the port `UnitOfWork`, twice.

A cancellation that falls into the middle of a conversation with the database would leave a connection
nobody can use. So everything asynchronous here finishes once it has begun, within a limit of time, and
the cancellation goes on afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession
from transaction.interfaces import DoomedTransaction  # type: ignore[import-untyped]  # it has no annotations

from millstream.database.joining import JoinedSession, make_ready
from millstream.database.lease import LeasedSession, rest
from millstream.database.resolved import is_plain
from millstream.database.rows import Closable
from millstream.database.statements import Effect

TEARDOWN: Final = 10.0
"""Seconds that undoing and giving back may take before the connection is dropped."""

_LOG: Final = logging.getLogger("millstream")


class JoinedUnit:
    """A synchronous session and its thread's `transaction`.

    Several databases share that one transaction: the first unit to commit settles them all, in the two
    phases of `transaction`; the others then find nothing left to do.
    """

    def __init__(self, session: JoinedSession, forget: Callable[[], None]) -> None:
        self.session = session
        self._manager = session.transactions
        self._manager.unit = self  # which settles whatever else joins the transaction, too
        self._forget = forget

    def prepare(self) -> None:
        """See `UnitOfWork`, as for all that follows."""
        discarded = self.session.lease.discarded
        if self._manager.isDoomed() or discarded:
            raise DoomedTransaction(_DISCARDED if discarded else _DOOMED)
        make_ready(self.session)

    def commit(self) -> None:
        self._manager.commit()

    def abort(self) -> None:
        self.session.lease.discarded = False
        self._manager.abort()

    def rest(self) -> None:
        session = self.session
        if session.lease.since is not None and not session.lease.is_needed(session):
            rest(session)

    def close(self) -> None:
        _tell_of_late_writes(self.session)
        try:
            self._manager.abort()
        finally:
            self.session.close()
            self._manager.unit = None  # from here on it is noted again what uses the transaction
            self._forget()


class AsyncUnit:
    """An asynchronous session, which settles by itself."""

    def __init__(self, session: AsyncSession, lease_of: LeasedSession, forget: Callable[[], None]) -> None:
        self.session = session
        self._sync = lease_of
        self._forget = forget

    @property
    def sync_session(self) -> LeasedSession:
        """Its synchronous half."""
        return self._sync

    @property
    def answers_alone(self) -> bool:
        """Whether other connections would give other rows for a query than this session."""
        session, lease = self._sync, self._sync.lease
        if session.has_changes or not is_plain(session):
            return True
        return session.in_transaction() and (
            lease.effect is not Effect.READS
            or lease.is_needed(session)
            or (lease.connection is not None and _ISOLATION in lease.connection.get_execution_options())
        )

    async def discard(self) -> None:
        """Let go of everything on the author's wish."""
        await self._in_time(self.session.close)

    async def prepare(self) -> None:
        """See `UnitOfWork`, as for all that follows."""
        if self._sync.lease.discarded:
            raise DoomedTransaction(_DISCARDED)
        if self._sync.get_transaction() is not None:
            await unbroken(self.session.run_sync(self._make_ready))

    async def commit(self) -> None:
        if self._sync.get_transaction() is not None:
            await unbroken(self.session.commit())

    async def abort(self) -> None:
        self._sync.lease.discarded = False
        if self._sync.get_transaction() is not None:
            await self._in_time(self.session.rollback)

    async def rest(self) -> None:
        session = self._sync
        if session.lease.since is not None and not session.lease.is_needed(session):
            await unbroken(self.session.run_sync(lambda _: rest(session)))

    async def close(self) -> None:
        _tell_of_late_writes(self._sync)
        try:
            await self._in_time(self.session.close)
        finally:
            self._forget()

    def _make_ready(self, _: Any) -> None:
        make_ready(self._sync)
        if self._sync.twophase:
            self._sync.prepare()

    async def _in_time(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it, and drop the connection when the database does not answer."""
        try:
            await unbroken(step(), TEARDOWN)
        except TimeoutError:
            _LOG.warning("a database did not answer for %g s: its connection is dropped", TEARDOWN)
            await unbroken(self.session.invalidate(), TEARDOWN)


class ReadersUnit:
    """Sources of rows that a request reads one by one; there is nothing to settle, only to close."""

    def __init__(self) -> None:
        self._readers: dict[int, Closable] = {}

    def add(self, reader: Closable) -> Callable[[], None]:
        """Close it in the end; the function that is returned says that it was."""
        self._readers[id(reader)] = reader

        def forget() -> None:
            self._readers.pop(id(reader), None)

        return forget

    def prepare(self) -> None:
        """See `UnitOfWork`, as for all that follows."""

    def commit(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def close(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()


def _tell_of_late_writes(session: LeasedSession) -> None:
    """Log that something is undone which was written when its request had been settled, as by an `on_end`."""
    if session.has_changes or session.lease.effect is Effect.WRITES:
        handle = session.lease.handle
        _LOG.error(
            "%s wrote to the database after its transaction had ended, so that is undone: "
            "commit it there, or write it before the end",
            "a request" if handle is None else handle.statistics.route,
        )


async def unbroken(step: Awaitable[Any], seconds: float | None = None) -> None:
    """Await to the end, whoever cancels meanwhile; a cancellation goes on when it is done.

    Raises:
        TimeoutError: when it takes longer.
    """
    running = asyncio.ensure_future(_limited(step, seconds))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as raised:
            cancelled = raised
    if cancelled is not None:
        if not running.cancelled():
            running.exception()  # it is told nobody, and logged by nobody: the cancellation says more
        raise cancelled
    running.result()


async def _limited(step: Awaitable[Any], seconds: float | None) -> None:
    async with asyncio.timeout(seconds):
        await step


_ISOLATION: Final = "isolation_level"
_DOOMED: Final = "the transaction was doomed: nothing of it is committed, so the body does not end well"
_DISCARDED: Final = (
    "the session was removed or closed before its writes were committed: call transaction.commit() before "
    "remove() or close(), or leave them out, the session ends with its stream"
)
