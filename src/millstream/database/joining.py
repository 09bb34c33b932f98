"""Joining: a session and the `transaction` package, through zope.sqlalchemy.

zope.sqlalchemy's data manager ends with its transaction by closing the session, which detaches every object.
A stream goes on after a checkpoint, and after its connection was given back in a pause; so this one only ends
the transaction and stays joined until the zope transaction is over, however many of the session's own
transactions begin and end meanwhile.
"""

from __future__ import annotations

from typing import Any, Final

import transaction as zope  # type: ignore[import-untyped]  # it has no annotations
from sqlalchemy import event
from sqlalchemy.orm import SessionTransaction
from transaction._transaction import Status  # type: ignore[import-untyped]  # as above
from zope.sqlalchemy.datamanager import (  # type: ignore[import-untyped]  # as above
    _SESSION_STATE,
    STATUS_ACTIVE,
    STATUS_CHANGED,
    SessionDataManager,
    TwoPhaseSessionDataManager,
)

from millstream.database.lease import LeasedSession
from millstream.errors import ControllerError


class JoinedSession(LeasedSession):
    """A session that is part of the current `transaction` of the thread it was made in."""

    def __init__(self, bind: Any = None, **options: Any) -> None:
        super().__init__(bind, **options)
        self.transactions = zope.manager.manager  # the thread's own, which may be called from others
        self.joined: _Joined | None = None

    @property
    def has_changes(self) -> bool:
        """Also whether `zope.sqlalchemy.mark_changed` was called."""
        return super().has_changes or _SESSION_STATE.get(self) == STATUS_CHANGED


class _Joined(SessionDataManager):  # type: ignore[misc]  # the base has no annotations
    """What `transaction` calls; the order of its calls is the contract of `IDataManager`."""

    session: JoinedSession | None
    tx: SessionTransaction | None

    def __init__(self, session: JoinedSession, transaction_manager: Any) -> None:
        super().__init__(session, STATUS_ACTIVE, transaction_manager)
        session.joined = self

    def begun(self, tx: SessionTransaction) -> None:
        """The session goes on in a new transaction of its own."""
        self.tx = tx

    def abort(self, trans: Any) -> None:
        """Undo whatever was not committed."""
        self._finish("aborted")
        del trans

    def tpc_begin(self, trans: Any) -> None:
        """Write what waits; what the database then holds is known, and whether it may be kept."""
        if self.session is not None:
            make_ready(self.session)
        del trans

    def commit(self, trans: Any) -> None:
        """End here when nothing was written, or nothing may be."""
        session = self.session
        if session is not None and (session.lease.read_only or not session.has_written):
            self._finish("aborted" if session.lease.read_only else "no work")
        del trans

    def _finish(self, final_state: str) -> None:
        """End the transaction, and leave the session and what it loaded as they are."""
        session, tx = self.session, self.tx
        self.session = self.tx = None
        self.state = final_state
        if session is None:
            return
        session.joined = None
        _SESSION_STATE.pop(session, None)
        if final_state in _UNDONE:
            session.rollback()
        elif tx is not None and session.get_transaction() is tx:
            tx.close()


class _OnePhase(_Joined):
    """Its vote is its commit, and it votes last: all that can be had without a prepared transaction."""


class _TwoPhase(_Joined, TwoPhaseSessionDataManager):  # type: ignore[misc]  # as above
    """Its vote prepares the transaction in the database, so that only a crash can part it from the others."""


@event.listens_for(JoinedSession, "after_transaction_create")
def _join(session: JoinedSession, tx: SessionTransaction) -> None:
    if tx.parent is not None:
        return
    if session.joined is not None:
        session.joined.begun(tx)
    else:
        (_TwoPhase if session.twophase else _OnePhase)(session, session.transactions)


@event.listens_for(JoinedSession, "after_transaction_end")
def _paused(session: JoinedSession, tx: SessionTransaction) -> None:
    if tx.parent is None and session.joined is not None and session.joined.tx is tx:
        session.joined.tx = None


@event.listens_for(JoinedSession, "before_commit")
def _require_settlement(session: JoinedSession) -> None:
    if session.in_nested_transaction() or session.joined is None:
        return
    if session.transactions.get().status != Status.COMMITTING:
        raise ControllerError(
            "a joined session was committed by itself: use stream.commit() or transaction.commit(), "
            "which settle everything that belongs together"
        )


def make_ready(session: LeasedSession) -> None:
    """Flush, and make sure that a commit would make lasting what was done.

    Raises:
        ControllerError: when PostgreSQL has given up the transaction, because a statement failed and its
            error was swallowed: it would answer COMMIT with a rollback, and nobody would know.
    """
    if session.new or session.dirty or session.deleted:
        session.flush()
    if session.lease.readers:
        raise ControllerError(
            "a transaction was to be committed while rows are read on the connection of the session: "
            "read them to their end before, or begin to read them before anything is written"
        )
    if session.lease.broken:
        raise ControllerError(
            "a statement failed, its error was swallowed, and PostgreSQL undid the whole transaction: "
            "let the error through, or run the statement inside session.begin_nested()"
        )


_UNDONE: Final = frozenset({"aborted", "aborted commit"})
