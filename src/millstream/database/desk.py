"""Desks: what one request has of one database; and the two scoped sessions that find it.

A desk costs nothing until a session is asked for. The session is made then, and joins the settlement of the
stream whose context it was asked for in: `_before`, the action, each step of its generator, its `finally`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, cast

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.util import ScopedRegistry

from millstream.database.joining import JoinedSession
from millstream.database.lease import LeasedSession
from millstream.database.pins import Pins
from millstream.database.rows import Closable
from millstream.database.units import AsyncUnit, JoinedUnit, ReadersUnit
from millstream.errors import ControllerError, OutsideRequest
from millstream.protocol.ports import Join, Settled, UnitOfWork
from millstream.web.proxies import request_var, stream_var


class Desk:
    """One request at one database; made on its event loop."""

    __slots__ = ("_join", "_loop", "_pins", "async_unit", "handle", "is_closed", "readers", "unit")

    def __init__(self, join: Join, pins: Pins) -> None:
        self._join = join
        self._pins = pins
        self.handle = stream_var.get(None)
        self._loop = asyncio.get_running_loop()
        self.unit: JoinedUnit | None = None
        self.async_unit: AsyncUnit | None = None
        self.readers: ReadersUnit | None = None
        self.is_closed = False

    def enter(self, session: LeasedSession, unit: UnitOfWork) -> None:
        """A session was made: it settles with the stream, and its lease is watched."""
        session.lease.handle = self.handle
        request = request_var.get(None)
        session.lease.is_head = request is not None and request.method == "HEAD"
        self._join(unit)
        self._pins.enter(session.lease, self._loop)

    def entrust(self, reader: Closable) -> Callable[[], None]:
        """Close a reader of rows with the request, unless it was closed and forgotten before.

        An exception keeps the frames it went through alive, and with them their suspended readers.
        """
        if self.readers is None:
            self.readers = ReadersUnit()
            self._join(self.readers)
        return self.readers.add(reader)

    def close(self, session: LeasedSession) -> None:
        """The request has ended."""
        self.is_closed = True
        self._pins.leave(session.lease)


Desks = ContextVar[Desk | None]
"""Where the desk of the current request is found."""


def desk_here(desks: Desks, used: str) -> Desk | None:
    """The desk of the current request; None outside requests.

    The context of a request reaches into an application that is mounted below it, and into tasks that go on
    after it. So a desk counts only in the request that it was made for.

    Args:
        desks: where it is found.
        used: what the author has used, for the error.

    Raises:
        ControllerError: in a request of an application that does not have the database: nobody would commit.
    """
    desk, handle = desks.get(), stream_var.get(None)
    if handle is not None and (desk is None or desk.handle is not handle):
        raise ControllerError(
            f"{used} was used in a request of an application that does not have this database, so nothing "
            "would be committed: write Millstream(…, participants=[database]), or name the database in the "
            "ini file, as participants = shop.model:database"
        )
    return desk


class RequestSession(scoped_session[JoinedSession], Settled):
    """The request's session in synchronous code; outside requests, the thread's own."""

    registry: _Registry

    def __init__(self, desks: Desks, factory: sessionmaker[JoinedSession]) -> None:
        super().__init__(factory)
        self.registry = _Registry(desks, factory)

    def remove(self) -> None:
        """Let go of all objects and of the connection; the next use begins afresh.

        There is no need to: the session ends with its stream. What was written and not committed is undone,
        and then the body does not end well.
        """
        unit = self.registry.unit
        if unit is None:
            super().remove()
        else:
            unit.session.close()


class AsyncRequestSession(async_scoped_session[AsyncSession], Settled):
    """The request's session in asynchronous code."""

    registry: _AsyncRegistry

    def __init__(
        self, desks: Desks, factory: async_sessionmaker[AsyncSession], make: Callable[[], AsyncSession]
    ) -> None:
        super().__init__(factory, lambda: None)
        self.registry = _AsyncRegistry(desks, make)

    async def remove(self) -> None:
        """As `RequestSession.remove`."""
        unit = self.registry.unit
        if unit is not None:
            await unit.discard()


class _Registry(ScopedRegistry[JoinedSession]):
    """Where `RequestSession` looks for its session."""

    __slots__ = ("_desks", "_of_thread")

    def __init__(self, desks: Desks, make: Callable[[], JoinedSession]) -> None:
        super().__init__(make, threading.get_ident)
        self._desks = desks
        self._of_thread = threading.local()

    @property
    def unit(self) -> JoinedUnit | None:
        """The unit of the current request, if it has one."""
        desk = desk_here(self._desks, _SESSION)
        return None if desk is None else desk.unit

    def __call__(self) -> JoinedSession:
        """The current session, made when there is none.

        Raises:
            ControllerError: on the event loop of a request, which it would block; after the request; in a
                request of an application that does not have the database.
        """
        desk = desk_here(self._desks, _SESSION)
        if desk is None:
            return self._own()
        _require_open(desk)
        if _on_event_loop():
            raise ControllerError(
                "database.session would block the event loop: use `await database.async_session…` "
                "in asynchronous code"
            )
        if desk.unit is None:
            session = self.createfunc()
            unit = JoinedUnit(session, lambda: desk.close(session))
            desk.enter(session, unit)
            desk.unit = unit
        return desk.unit.session

    @property
    def current(self) -> JoinedSession | None:
        """The current session, if there is one already."""
        desk = desk_here(self._desks, _SESSION)
        if desk is None:
            return getattr(self._of_thread, "session", None)
        return None if desk.unit is None else desk.unit.session

    def has(self) -> bool:
        """Whether there is one already."""
        return self.current is not None

    def clear(self) -> None:
        """Forget the thread's own, which was just closed."""
        if hasattr(self._of_thread, "session"):
            del self._of_thread.session

    def _own(self) -> JoinedSession:
        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = self.createfunc()
        return cast("JoinedSession", self._of_thread.session)


class _AsyncRegistry(ScopedRegistry[AsyncSession]):
    """Where `AsyncRequestSession` looks for its session."""

    __slots__ = ("_desks",)

    def __init__(self, desks: Desks, make: Callable[[], AsyncSession]) -> None:
        super().__init__(make, threading.get_ident)
        self._desks = desks

    @property
    def unit(self) -> AsyncUnit | None:
        """The unit of the current request, if it has one."""
        desk = desk_here(self._desks, _ASYNC_SESSION)
        return None if desk is None else desk.async_unit

    def __call__(self) -> AsyncSession:
        """The current session, made when there is none.

        Raises:
            ControllerError: in synchronous code, which cannot await it; after the request; in a request of
                an application that does not have the database.
            OutsideRequest: outside requests, where nobody would close it.
        """
        desk = desk_here(self._desks, _ASYNC_SESSION)
        if desk is None:
            raise OutsideRequest(_ASYNC_SESSION)
        _require_open(desk)
        if not _on_event_loop():
            raise ControllerError(
                "database.async_session cannot be awaited in synchronous code: use database.session there"
            )
        if desk.async_unit is None:
            session = self.createfunc()
            leased = cast("LeasedSession", session.sync_session)
            unit = AsyncUnit(session, leased, lambda: desk.close(leased))
            desk.enter(leased, unit)
            desk.async_unit = unit
        return desk.async_unit.session

    def has(self) -> bool:
        """Whether there is one already."""
        return self.unit is not None


def _require_open(desk: Desk) -> None:
    if desk.is_closed:
        raise ControllerError(
            "a database session was used by code that outlived its request: it has to open one of its own"
        )


def _on_event_loop() -> bool:
    return asyncio._get_running_loop() is not None  # noqa: SLF001  the documented twin raises where this answers


_SESSION: Final = "database.session"
_ASYNC_SESSION: Final = "database.async_session"
