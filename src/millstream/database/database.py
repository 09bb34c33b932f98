"""`Database`: the participant, and what an author has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, cast

from sqlalchemy import MetaData, Table, TextClause
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Query, Session, sessionmaker
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

from millstream.database import engines
from millstream.database.asyncrows import AsyncRowSource
from millstream.database.desk import AsyncRequestSession, Desk, RequestSession, desk_here
from millstream.database.joining import JoinedSession
from millstream.database.judgements import judge
from millstream.database.lease import INFO_KEY, Lease, LeasedSession
from millstream.database.pins import LeaseReport, Pins
from millstream.database.queries import as_query, by_columns
from millstream.database.resolved import Asked, Resolved, is_needed, is_plain, resolved, unresolved
from millstream.database.rows import Closable, Reading, RowSource, read_only
from millstream.database.units import AsyncUnit
from millstream.errors import ControllerError
from millstream.protocol.ports import Join, Judgement
from millstream.web.proxies import stream_var


class Database:
    """One database; given to `Millstream(participants=[…])`.

    Args:
        url: where it is, as `sqlite:///app.db` or `postgresql://user@host/name`; or an engine, and then
            there is no `async_session` unless the engine's URL has an asynchronous driver.
        pin_warning: seconds after which a stream that keeps a connection is logged.
        twophase: whether transactions are prepared in the database before any is committed; for several
            databases that settle together, and only where the database can (PostgreSQL).
        tables: the declarative bases, mapped classes, tables or metadata that live here. Needed only to
            find the database of a query that an action returns, where there are several.
        engine_options: of SQLAlchemy's `create_engine`, as `pool_size=20`.

    Raises:
        ConfigurationError: when the URL cannot be used, or its driver is not installed.
    """

    def __init__(
        self,
        url: str | URL | Engine,
        *,
        pin_warning: float = 10.0,
        twophase: bool = False,
        tables: Sequence[Any] = (),
        **engine_options: Any,
    ) -> None:
        self._options = engine_options
        if isinstance(url, Engine):
            self.url, self.engine = url.url, url
            engines.prepare(url)
        else:
            self.url = engines.parsed(url)
            self.engine = engines.sync_engine(self.url, dict(engine_options))
        self._async_engine: AsyncEngine | None = None
        self._metadata = frozenset(_metadata_of(each) for each in tables)
        self._pins = Pins(pin_warning)
        self._desks: ContextVar[Desk | None] = ContextVar(f"millstream.database.{id(self)}", default=None)
        self.session = RequestSession(
            self._desks,
            sessionmaker(self.engine, class_=JoinedSession, expire_on_commit=False, twophase=twophase),
        )
        """The request's session in synchronous code: TurboGears' `DBSession`."""
        self._async_factory = async_sessionmaker(
            sync_session_class=LeasedSession, expire_on_commit=False, twophase=twophase
        )
        self.async_session = AsyncRequestSession(self._desks, self._async_factory, self._make_async)
        """The request's session in asynchronous code."""
        self.session.participant = self.async_session.participant = self

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string()})"

    @property
    def async_engine(self) -> AsyncEngine:
        """The engine of `async_session`, made when first asked for.

        Raises:
            ConfigurationError: when its driver is not installed.
        """
        if self._async_engine is None:
            self._async_engine = engines.async_engine(self.url, dict(self._options))
        return self._async_engine

    @property
    def leases(self) -> tuple[LeaseReport, ...]:
        """Which open streams hold a connection at this moment, the longest first."""
        return self._pins.reports

    def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None, *, batch: int | None = None
    ) -> RowSource:
        """The rows of a query as a source: to be returned, or to `yield from`.

        They are the rows that the session would give. They are read on the session's connection if it has
        begun a transaction, else on a connection of their own.

        Args:
            statement: a `Select` of Core or of mapped classes, or a `text`.
            parameters: of the statement.
            batch: how many rows are read at once; found out when left out.
        """
        return RowSource(Asked(statement, parameters), self._reading, self._entrust, batch=batch)

    async def close(self) -> None:
        """Close the connections that rest in the pools; told when the application ends."""
        await asyncio.to_thread(self.engine.dispose)
        if self._async_engine is not None:
            await self._async_engine.dispose()

    # The port `Participant`

    def begin(self, join: Join) -> None:
        """See `Participant`."""
        self._desks.set(Desk(join, self._pins))

    def adopt(self, result: object) -> RowSource | AsyncRowSource | None:
        """See `Adopts`: a query becomes its rows, if its tables live here."""
        if isinstance(result, RowSource):
            return self._of_async_session(result.asked) if result.read == self._reading else None
        query = as_query(result)
        if query is None or not self._owns(query):
            return None
        session = result.session if isinstance(result, Query) else None
        asked = Asked(cast("Executable", query), session=session)
        return self._of_async_session(asked) or RowSource(asked, self._reading, self._entrust)

    def judge(self, raised: BaseException) -> Judgement | None:
        """See `Judges`."""
        return judge(raised)

    def _owns(self, query: SelectBase | TextClause) -> bool:
        if not self._metadata:
            return True
        return any(isinstance(each, Table) and each.metadata in self._metadata for each in iterate(query))

    def _make_async(self) -> AsyncSession:
        return self._async_factory(bind=self.async_engine)

    def _entrust(self, reader: Closable) -> Callable[[], None]:
        desk = self._desks.get()
        return _nothing if desk is None else desk.entrust(reader)

    def _of_async_session(self, asked: Asked) -> AsyncRowSource | None:
        """The rows of a query that the request's asynchronous session alone can answer.

        Raises:
            ControllerError: when the synchronous session has something of its own to show, too.
        """
        desk, unit = self._desks.get(), self._unit_alone(asked)
        if desk is None or unit is None:
            return None
        if asked.session is None and desk.unit is not None and desk.unit.session.in_transaction():
            raise ControllerError(
                "a query was returned while both database.session and database.async_session have begun "
                "a transaction: return database.session.query(…), or iterate over "
                "database.async_session.stream(…)"
            )
        return AsyncRowSource(unit.session, asked)

    def _unit_alone(self, asked: Asked) -> AsyncUnit | None:
        """The asynchronous session of the request, if it alone can answer a query."""
        desk = self._desks.get()
        unit = None if desk is None else desk.async_unit
        if unit is None or asked.session is None:
            return unit if unit is not None and unit.answers_alone else None
        return unit if asked.session is unit.sync_session else None

    @contextmanager
    def _reading(self, asked: Asked) -> Iterator[Reading]:
        """A query that is about to be read as its session would read it, and seen among the leases."""
        desk_here(self._desks, "database.rows")
        if self._unit_alone(asked) is not None:
            raise ControllerError(
                "database.rows was read by synchronous code, and database.async_session alone can give its "
                "rows: return it from the action, or iterate over database.async_session.stream(…)"
            )
        found, session = self._resolved(asked)
        with self._connected(found, session) as connection:
            columns = by_columns(found.statement, connection.dialect)
            yield Reading(connection, columns, found.parameters, found.options)

    def _resolved(self, asked: Asked) -> tuple[Resolved, Session | None]:
        """What is read, and the session on whose connection it has to be; None for any connection."""
        session = asked.session or self.session.registry.current
        if session is None:
            plain = (
                self.session.session_factory()
            )  # it holds nothing, and tells what any session here would do
            if is_plain(plain):
                return unresolved(plain, asked), None
            session = self.session()
        found = resolved(session, asked)
        return found, session if is_needed(session) else None

    @contextmanager
    def _connected(self, found: Resolved, session: Session | None) -> Iterator[Connection]:
        if session is not None:
            with session.lease.held() if isinstance(session, LeasedSession) else nullcontext():
                yield session.connection(bind_arguments=found.bind_arguments)
        elif isinstance(found.bind, Connection):
            yield found.bind
        else:
            with found.bind.connect() as connection, read_only(connection), self._seen(connection):
                yield connection

    @contextmanager
    def _seen(self, connection: Connection) -> Iterator[None]:
        lease = Lease()
        lease.handle = stream_var.get(None)
        lease.taken(connection)
        info = connection.info  # which a connection that is lost has no more
        self._pins.enter(lease)
        try:
            with lease.held():
                yield
        finally:
            self._pins.leave(lease)
            info.pop(INFO_KEY, None)


def _metadata_of(tables: Any) -> MetaData:
    """The metadata of a declarative base, a mapped class or a table; Any, because that is what they share."""
    return tables if isinstance(tables, MetaData) else tables.metadata


def _nothing() -> None:
    """Outside requests a reader is closed with its generator, as everywhere in Python."""
