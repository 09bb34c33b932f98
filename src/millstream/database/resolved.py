"""Resolved: what a session would run for a query, and on which connection.

A session is more than a connection. Listeners of `do_orm_execute` add the filters of a tenant, those of
`after_begin` set the variables that row-level security reads, and its transaction holds what was written and
not yet committed. Rows that are read past the session would be other rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql.base import Executable

from millstream.database.lease import is_ours
from millstream.errors import ControllerError

Parameters = Mapping[str, Any] | None
"""Of a statement."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as its author gave it."""

    statement: Executable
    parameters: Parameters = None
    session: Session | None = None  # that it was made with; None: whichever the request has


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query after all listeners of its session."""

    statement: Executable
    parameters: Any  # as a listener may have left them
    options: Mapping[str, Any]  # of its execution
    bind: Engine | Connection
    bind_arguments: dict[str, Any]  # by which the session finds that again


def resolved(session: Session, asked: Asked) -> Resolved:
    """Let a session do everything with a query but run it.

    Raises:
        ControllerError: when a listener answers by itself, from a cache for example.
        Exception: whatever a listener or the flush of waiting changes raises.
    """
    event.listen(session, "do_orm_execute", _take)
    try:
        session.execute(asked.statement, asked.parameters or {})
    except _Taken as taken:
        state = taken.state
    else:
        raise ControllerError(
            "a listener of do_orm_execute has answered a query by itself, which gives no rows to stream: "
            "iterate over database.session.execute(…) in a generator"
        )
    finally:
        event.remove(session, "do_orm_execute", _take)
    if session.autoflush and state.execution_options.get("autoflush", True):
        session.flush()
    arguments = dict(state.bind_arguments)
    bind = session.get_bind(**arguments)
    return Resolved(state.statement, state.parameters, state.local_execution_options, bind, arguments)


def unresolved(session: Session, asked: Asked) -> Resolved:
    """The same where the session is plain and does nothing with a query."""
    bind = session.get_bind(clause=asked.statement)  # type: ignore[arg-type]  # each has tables, or it is a text
    return Resolved(asked.statement, asked.parameters, {}, bind, {})


def is_plain(session: Session) -> bool:
    """Whether no listener of an author's changes what a query of the session gives."""
    return all(map(is_ours, session.dispatch.do_orm_execute)) and _begins_plainly(session)


def is_needed(session: Session) -> bool:
    """Whether a query has to run on the session's own connection to give the session's rows."""
    return session.in_transaction() or not _begins_plainly(session)


def _begins_plainly(session: Session) -> bool:
    return all(map(is_ours, session.dispatch.after_begin))


class _Taken(BaseException):
    """Takes a statement out of a session, past everything that a listener may catch."""

    def __init__(self, state: ORMExecuteState) -> None:
        super().__init__(state)
        self.state = state


def _take(state: ORMExecuteState) -> None:
    raise _Taken(state)
