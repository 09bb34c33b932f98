"""Rows: a query as a source, read by batches with a cursor on the server and a connection of its own.

No object is made of a row but SQLAlchemy's `Row`, and a codec that takes batches makes bytes of a whole batch
at once. The connection is taken when the first batch is asked for and given back on every way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

from sqlalchemy import Select, inspect
from sqlalchemy.engine import Connection, CursorResult, Row
from sqlalchemy.orm import Mapper, Query, QueryableAttribute
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import SelectBase

from millstream.errors import ControllerError

FIRST_BATCH: Final = 50
"""Rows of the first batch: few, so that the first byte is soon there."""

MOST_ROWS: Final = 2000
BATCH_BYTES: Final = 256 * 1024
"""How large a batch becomes: as many rows, unless their bytes are as many before."""

GROWTH: Final = 8


class Closable(Protocol):
    """What holds a connection."""

    def close(self) -> None:
        """Give it back."""


class RowSource:
    """The rows of one query; the port `RowBatches`.

    Iterating it gives the rows one by one, so that a generator can `yield from` it.

    Args:
        connect: opens a connection, ready to stream.
        entrust: is given what has to be closed with the request, should its reader never come to it; returns
            what is called when it did.
        statement: what is run on it.
        parameters: of the statement.
        batch: how many rows are read at once; found out when left out.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        entrust: Callable[[Closable], Callable[[], None]],
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        batch: int | None = None,
    ) -> None:
        self.columns: tuple[str, ...] = ()
        self._connect = connect
        self._entrust = entrust
        self._statement = statement
        self._parameters = parameters
        self._size = FIRST_BATCH if batch is None else batch
        self._grows = batch is None
        self._running: Generator[Sequence[Row[Any]], None, None] | None = None

    def batches(self) -> Generator[Sequence[Row[Any]], None, None]:
        """Batches of rows, each read when it is asked for; one at least, which may be empty.

        Raises:
            ControllerError: when they are asked for on the event loop, which would be blocked.
        """
        self._running = self._read()
        return self._running

    def __iter__(self) -> Iterator[Row[Any]]:
        batches = self.batches()
        forget = self._entrust(batches)
        try:
            for batch in batches:
                yield from batch
                self._grow(MOST_ROWS // 4)  # nobody tells how large the rows are
        finally:
            batches.close()
            forget()

    def took(self, rows: int, size: int) -> None:
        """The last batch became so many bytes: the next one may be larger, or has to be smaller."""
        if rows and size:
            self._grow(min(MOST_ROWS, BATCH_BYTES * rows // size))

    def close(self) -> None:
        """Give the connection back, wherever the reading stands."""
        if self._running is not None:
            self._running.close()

    def _grow(self, most: int) -> None:
        if self._grows:
            self._size = max(1, min(most, self._size * GROWTH))

    def _read(self) -> Generator[Sequence[Row[Any]], None, None]:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  the documented twin raises where this answers
            raise ControllerError(
                "database.rows would block the event loop: return it, "
                "or `await database.async_session.stream(…)`"
            )
        with self._connect() as connection:
            result: CursorResult[Any] = connection.execute(self._statement, self._parameters)
            with result:
                self.columns = tuple(map(str, result.keys()))  # some are a kind of text of their own
                yield result.fetchmany(self._size)  # also an empty one: a table without rows has a header
                while batch := result.fetchmany(self._size):
                    yield batch


@contextmanager
def read_only(connection: Connection) -> Iterator[Connection]:
    """The connection, with the database itself refusing writes, and with cursors on the server."""
    if connection.dialect.name != "sqlite":
        is_postgresql = connection.dialect.name == "postgresql"
        yield connection.execution_options(
            stream_results=True, **({"postgresql_readonly": True} if is_postgresql else {})
        )
        return
    connection.exec_driver_sql("PRAGMA query_only=ON")
    try:
        yield connection
    finally:
        connection.exec_driver_sql("PRAGMA query_only=OFF")


def by_columns(statement: Executable) -> Executable:
    """The same query with each mapped class replaced by its columns, so that no object is made of a row."""
    if not isinstance(statement, Select):
        return statement
    chosen: list[Any] = []
    for described in statement.column_descriptions:
        chosen += _expanded(described["expr"])
    return statement.with_only_columns(*chosen)


def _expanded(expression: Any) -> list[Any]:
    """The columns of a mapped class or an alias of one, without deferred ones; anything else by itself."""
    inspected = inspect(expression, raiseerr=False)
    if not isinstance(inspected, Mapper | AliasedInsp):
        return [_named(expression)]
    attributes = inspected.mapper.column_attrs
    return [_named(getattr(expression, each.key)) for each in attributes if not each.deferred]


def _named(expression: Any) -> Any:
    """An attribute by the name the author gave it, which a session would use, too; others have theirs."""
    if not isinstance(expression, QueryableAttribute) or expression.key == getattr(expression, "name", None):
        return expression
    return expression.label(expression.key)


def as_query(result: object) -> SelectBase | None:
    """The query that an action returned, of Core or of a session; None when it is none."""
    if isinstance(result, Query):
        result = result.statement
    return result if isinstance(result, SelectBase) else None
