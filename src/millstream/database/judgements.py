"""Judgements: what an error of a database means for the request it ended.

An author sees SQLAlchemy's own exceptions, and may catch them. Those nobody caught are looked at here: some
would not happen again if the request were repeated, and some are nobody's fault here, so that the client is
told to come back instead of being told of an internal error.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from transaction.interfaces import TransientError  # type: ignore[import-untyped]  # it has no annotations

from millstream.errors import Overloaded
from millstream.protocol.ports import Judgement


def judge(raised: BaseException) -> Judgement | None:
    """What an error means; None when it is no passing trouble of a database."""
    if isinstance(raised, PoolTimeout):
        return Judgement(
            repeat=False, told=Overloaded("all database connections are in use, and none became free in time")
        )
    if isinstance(raised, TransientError | StaleDataError):
        return _CONFLICT
    if not isinstance(raised, DBAPIError):
        return None
    return _of_driver(raised)


def _of_driver(raised: DBAPIError) -> Judgement | None:
    original: Any = raised.orig
    state = str(getattr(original, "sqlstate", None) or "")
    if state.startswith(_ROLLED_BACK):
        return _CONFLICT
    if state == _NO_LOCK or _is_busy(original):
        return _LOCKED
    if raised.connection_invalidated:
        return _LOST
    if state.startswith(_UNAVAILABLE) or _is_refused(raised, state):
        return _AWAY
    return None


def _is_busy(original: Any) -> bool:
    """SQLite: another connection holds the lock; the extended codes have these in their low byte."""
    return (getattr(original, "sqlite_errorcode", 0) & 0xFF) in {_SQLITE_BUSY, _SQLITE_LOCKED}


def _is_refused(raised: DBAPIError, state: str) -> bool:
    """No connection was made at all: there was no statement yet, and no answer with a state."""
    return raised.statement is None and not state and isinstance(raised, OperationalError | InterfaceError)


_ROLLED_BACK: Final = "40"  # PostgreSQL, class 40: serialization failure, deadlock
_NO_LOCK: Final = "55P03"  # lock_timeout, or NOWAIT
_UNAVAILABLE: Final = ("08", "53300", "57P")  # connection exception, too many connections, shutting down
_SQLITE_BUSY: Final = 5
_SQLITE_LOCKED: Final = 6

_CONFLICT: Final = Judgement(repeat=True, told=Overloaded("another transaction was in the way"))
_LOCKED: Final = Judgement(repeat=True, told=Overloaded("another transaction held a lock for too long"))
_LOST: Final = Judgement(repeat=True, told=Overloaded("the connection to the database was lost"))
_AWAY: Final = Judgement(repeat=False, told=Overloaded("the database cannot be reached"))
