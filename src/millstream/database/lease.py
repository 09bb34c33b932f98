"""Leases: since when a session holds a pooled connection, why, and whether it can give it back.

A session begins a transaction at its first statement and keeps the connection until the transaction ends.
A stream pauses between two items, often for long. So at every pause the transaction is ended if ending it
loses nothing: nothing was written, nothing waits to be written, no result has rows left to read. What was
loaded stays loaded: `SessionTransaction.close` neither expires nor detaches, as `rollback`, `commit` and
`Session.close` would.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import event, text
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.engine.interfaces import ExceptionContext, ExecutionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from millstream.database.statements import Effect, effect_of
from millstream.errors import ControllerError, StreamInterrupted
from millstream.protocol.ports import StreamHandle

INFO_KEY: Final = "millstream.lease"


class Lease:
    """What one session has of the pool."""

    __slots__ = (
        "_results",
        "connection",
        "discarded",
        "effect",
        "handle",
        "is_head",
        "readers",
        "renewed",
        "since",
        "stopped",
        "warned",
    )

    def __init__(self) -> None:
        self.handle: StreamHandle | None = None  # the stream it belongs to; None outside a request
        self.is_head = False  # whether it answers HEAD, where a write is undone in silence
        self.connection: Connection | None = None
        self.since: float | None = None  # when the connection was taken, on `time.monotonic`'s clock
        self.effect = Effect.READS
        self.renewed = False  # whether what is loaded may come from an earlier transaction
        self.warned = False
        self.discarded = False  # the session was closed while something was not committed
        self.stopped = False  # a statement of it was given up, because its stream has ended early
        self.readers = 0  # sources of rows that read on the connection
        self._results: list[CursorResult[Any]] = []

    @property
    def read_only(self) -> bool:
        """Whether nothing of this request may be committed."""
        return self.handle is not None and self.handle.read_only

    @property
    def wrote(self) -> bool:
        """Whether a commit has something to make lasting."""
        if self.effect is Effect.UNKNOWN:
            self.effect = self._asked()
        return self.effect is Effect.WRITES

    @property
    def broken(self) -> bool:
        """Whether PostgreSQL has given the transaction up, and would answer COMMIT with a rollback."""
        driver = _driver_connection(self.connection)
        return driver is not None and _is_in_error(driver)

    def is_needed(self, session: LeasedSession) -> bool:
        """Whether the connection is needed now, as far as can be told without asking it."""
        return (
            self.effect is Effect.WRITES
            or self.readers > 0
            or session.in_nested_transaction()
            or session.has_changes
            or (bool(self._results) and self._unread())
        )

    def must_stop(self) -> bool:
        """Whether what runs on the connection is for nobody any more.

        It is said once, so that a cleanup may use the connection; and to sources of rows always.
        """
        if self.handle is None or not self.handle.is_unwanted or (self.stopped and not self.readers):
            return False
        self.stopped = True
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """The connection is not given back meanwhile: a source reads its rows on it, past all results."""
        self.readers += 1
        self.warned = True  # to keep the connection is what it is there for
        try:
            yield
        finally:
            self.readers -= 1

    # Told by the events below

    def taken(self, connection: Connection) -> None:
        """A transaction has begun."""
        self.connection = connection
        self.since = time.monotonic()
        connection.info[INFO_KEY] = self

    def given_back(self) -> None:
        """The transaction has ended, and the connection is in the pool."""
        self.connection = self.since = None
        self.effect = Effect.READS
        self.renewed = True

    def executes(self, statement: str, *, raw: bool) -> None:
        """A statement is about to run; `raw` when it passes the driver without SQLAlchemy knowing it.

        Raises:
            ControllerError: when it writes and nothing may be written.
        """
        effect = effect_of(statement)
        if effect is Effect.WRITES:
            self.require_writable()
        self.effect = max(self.effect, Effect.WRITES if raw else effect)

    def returned(self, result: CursorResult[Any]) -> None:
        """A statement has run, and its rows can be read."""
        if self.effect is Effect.WRITES:
            return  # the connection is kept anyway, until it is settled
        if len(self._results) >= _MOST_RESULTS:
            self._results = list(filter(_is_open, self._results))
        self._results.append(result)

    def _unread(self) -> bool:
        """Whether somebody may still read rows; a result that nobody can reach any more does not count.

        Results cannot be referred to weakly, so their references are counted.
        """
        self._results = list(filter(_is_open, self._results))
        return any(count > _OURS_ALONE for count in _references(self._results))

    def close_results(self) -> None:
        """The connection is about to go back: what was not read to its end will not be."""
        results, self._results = self._results, []
        for result in filter(_is_open, results):
            result.close()

    def require_writable(self) -> None:
        """Refuse to write where nothing may be written.

        Raises:
            ControllerError: when the action is declared `read_only`.
        """
        if self.read_only and not self.is_head and self.handle is not None:
            route = self.handle.statistics.route
            raise ControllerError(f"{route} is read_only, but writes to the database: drop one of the two")

    def _asked(self) -> Effect:
        """Ask the database whether a function has written."""
        connection, driver = self.connection, _driver_connection(self.connection)
        if connection is None or driver is None:
            return Effect.READS
        if connection.dialect.name == "sqlite":
            return Effect.WRITES if driver.in_transaction else Effect.READS
        if connection.dialect.name != "postgresql" or _is_in_error(driver):
            return Effect.WRITES
        try:
            return Effect.WRITES if connection.scalar(_HAS_WRITTEN) else Effect.READS
        except DBAPIError:
            return Effect.WRITES


def rest(session: LeasedSession) -> None:
    """End a transaction that holds nothing; the connection goes back, objects stay as they are."""
    transaction = session.get_transaction()
    if transaction is not None and not session.lease.wrote:
        transaction.close()


def watch_engine(engine: Engine) -> None:
    """Tell the leases what runs on an engine's connections."""
    event.listen(engine, "before_cursor_execute", _executes)
    event.listen(engine, "after_execute", _executed)
    event.listen(engine, "checkin", _checked_in)
    event.listen(engine, "handle_error", _stopped)


def is_ours(listener: Callable[..., Any]) -> bool:
    """Whether a listener of a session is one of this module, and none of an author's."""
    return listener in _LISTENERS


def is_rewritten(engine: Engine) -> bool:
    """Whether an author's listener may send the database another statement than SQLAlchemy has made."""
    listeners = len(list(engine.dispatch.before_cursor_execute))
    return listeners > event.contains(engine, "before_cursor_execute", _executes)


class LeasedSession(Session):
    """A session that knows its lease. Its objects never expire by themselves; see `lease`."""

    def __init__(self, bind: Any = None, **options: Any) -> None:
        super().__init__(bind, **options)
        self.lease = Lease()

    @property
    def has_changes(self) -> bool:
        """Whether there is something to flush, or somebody said so."""
        return bool(self.new or self.dirty or self.deleted)

    @property
    def has_written(self) -> bool:
        """Whether anything would be lost if its transaction ended now; may ask the database."""
        return self.has_changes or self.lease.wrote

    def close(self) -> None:
        """See `Session.close`; what it undoes in silence is remembered."""
        self._note_discard()
        super().close()

    def reset(self) -> None:
        """See `Session.reset`, and `close`."""
        self._note_discard()
        super().reset()

    def _note_discard(self) -> None:
        self.lease.discarded = self.lease.discarded or self.has_written


@event.listens_for(LeasedSession, "after_begin")
def _begun(session: LeasedSession, _transaction: SessionTransaction, connection: Connection) -> None:
    session.lease.taken(connection)


@event.listens_for(LeasedSession, "after_transaction_end")
def _ended(session: LeasedSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.lease.given_back()


@event.listens_for(LeasedSession, "before_flush")
def _flushes(session: LeasedSession, _context: Any, _instances: Any) -> None:
    session.lease.require_writable()


@event.listens_for(LeasedSession, "do_orm_execute")
def _queried(state: ORMExecuteState) -> None:
    """A query in a later transaction tells what is in the database then, not what was loaded before.

    Elsewhere the end of a transaction expires all objects for that. Here they stay usable between the
    transactions, and those that a query returns are loaded anew.
    """
    session = state.session
    if (
        isinstance(session, LeasedSession)
        and session.lease.renewed
        and state.is_select
        and not (state.is_column_load or state.is_relationship_load)
        and not session.dirty
    ):
        state.update_execution_options(populate_existing=True)


def _executes(
    connection: Connection,
    _cursor: Any,
    statement: str,
    _parameters: Any,
    context: ExecutionContext | None,
    _many: bool,
) -> None:
    lease: Lease | None = connection.info.get(INFO_KEY)
    if lease is not None:
        lease.executes(statement, raw=context is None or context.compiled is None)


def _executed(
    connection: Connection,
    _clause: Any,
    _multiparams: Any,
    _params: Any,
    _options: Any,
    result: CursorResult[Any],
) -> None:
    lease: Lease | None = connection.info.get(INFO_KEY)
    if lease is not None and result.returns_rows:
        lease.returned(result)


def _stopped(context: ExceptionContext) -> BaseException | None:
    """The error of a statement that was given up for its stream is the end of the stream."""
    connection = context.connection
    return None if connection is None else interruption(connection, context.original_exception)


def interruption(connection: Connection, error: BaseException | None) -> BaseException | None:
    """What an error is instead, when it comes of a statement's being given up; None when it is one."""
    is_lost = connection.closed or connection.invalidated
    lease: Lease | None = None if is_lost else connection.info.get(INFO_KEY)
    was_given_up = (
        getattr(error, "sqlstate", None) == _QUERY_CANCELED
        or getattr(error, "sqlite_errorcode", None) == _SQLITE_INTERRUPT
    )
    if lease is None or not lease.stopped or not was_given_up:
        return None
    return asyncio.CancelledError() if connection.dialect.is_async else StreamInterrupted()


def _checked_in(_driver: Any, record: Any) -> None:
    lease: Lease | None = record.info.pop(INFO_KEY, None)
    if lease is not None:
        lease.close_results()


def _is_open(result: CursorResult[Any]) -> bool:
    cursor: Any = result.cursor  # declared as if it were always there
    return cursor is not None


def _references(objects: Sequence[object]) -> list[int]:
    return [sys.getrefcount(each) for each in objects]


def _driver_connection(connection: Connection | None) -> Any:
    """The driver's own connection, whichever of its kinds it is."""
    if connection is None or connection.closed or connection.invalidated:
        return None
    return connection.connection.driver_connection


def _is_in_error(driver: Any) -> bool:
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    return status is not None and int(status) == _PSYCOPG_INERROR


_LISTENERS: Final = frozenset({_begun, _queried})
_MOST_RESULTS: Final = 32  # from here on, those that were read to their end are forgotten
_OURS_ALONE: Final = _references([object()])[0]  # differs between versions of Python
_QUERY_CANCELED: Final = "57014"
_SQLITE_INTERRUPT: Final = 9
_PSYCOPG_INERROR: Final = 3  # libpq's PQTRANS_INERROR
_HAS_WRITTEN: Final = text("select pg_current_xact_id_if_assigned() is not null")
