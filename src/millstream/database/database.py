"""`Database`: the participant, and what an author has of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from sqlalchemy import MetaData, Table
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import sessionmaker
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

from millstream.database import engines
from millstream.database.desk import AsyncRequestSession, Desk, RequestSession, desk_here
from millstream.database.joining import JoinedSession
from millstream.database.judgements import judge
from millstream.database.lease import Lease, LeasedSession, watch_engine
from millstream.database.pins import LeaseReport, Pins
from millstream.database.queries import as_query, by_columns
from millstream.database.rows import Closable, RowSource, read_only
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
            watch_engine(url)
            engines.read_all_values(url)
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

        They are read on a connection of their own, so they show what is committed, and not what the
        request's session has written since.

        Args:
            statement: a `Select` of Core or of mapped classes, or a `text`.
            parameters: of the statement.
            batch: how many rows are read at once; found out when left out.
        """
        return RowSource(self._reading, self._entrust, by_columns(statement), parameters, batch=batch)

    async def close(self) -> None:
        """Close the connections that rest in the pools; told when the application ends."""
        await asyncio.to_thread(self.engine.dispose)
        if self._async_engine is not None:
            await self._async_engine.dispose()

    # The port `Participant`

    def begin(self, join: Join) -> None:
        """See `Participant`."""
        self._desks.set(Desk(join, self._pins))

    def adopt(self, result: object) -> RowSource | None:
        """See `Adopts`: a query becomes its rows, if its tables live here."""
        query = as_query(result)
        return self.rows(cast("Executable", query)) if query is not None and self._owns(query) else None

    def judge(self, raised: BaseException) -> Judgement | None:
        """See `Judges`."""
        return judge(raised)

    def _owns(self, query: SelectBase) -> bool:
        if not self._metadata:
            return True
        return any(isinstance(each, Table) and each.metadata in self._metadata for each in iterate(query))

    def _make_async(self) -> AsyncSession:
        return self._async_factory(bind=self.async_engine)

    def _entrust(self, reader: Closable) -> Callable[[], None]:
        desk = self._desks.get()
        return _nothing if desk is None else desk.entrust(reader)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection for rows: read-only, with its cursor on the server, and seen among the leases."""
        desk_here(self._desks, "database.rows")
        lease = Lease()
        lease.handle = stream_var.get(None)
        lease.warned = True  # to keep the connection while the rows are read is what it is there for
        with self.engine.connect() as connection, read_only(connection) as reading:
            lease.since = time.monotonic()
            self._pins.enter(lease)
            try:
                yield reading
            finally:
                self._pins.leave(lease)


def _metadata_of(tables: Any) -> MetaData:
    """The metadata of a declarative base, a mapped class or a table; Any, because that is what they share."""
    return tables if isinstance(tables, MetaData) else tables.metadata


def _nothing() -> None:
    """Outside requests a reader is closed with its generator, as everywhere in Python."""
