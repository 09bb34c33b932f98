"""Rows: a query as a source, with a cursor on the server.

A codec gets its own bytes where the database can write them (`exports`), else batches of plain tuples
(`fetching`), of which it makes bytes at once; after some of them SQLite may write the others (`weaving`). An
author who iterates a source gets SQLAlchemy's rows. The connection is taken when the first is asked for and
given back on every way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy.engine import Connection, CursorResult, Row
from sqlalchemy.sql.base import Executable

from millstream.database.columns import columns_of
from millstream.database.exports import exportable
from millstream.database.fetching import Fetch, Rows, fetching, kept
from millstream.database.lease import is_rewritten
from millstream.database.resolved import Asked
from millstream.database.translating import translated
from millstream.database.weaving import Unusual, Weaver, weaver
from millstream.errors import ControllerError
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Dialect, JsonLines, Written

FIRST_BATCH: Final = 50
"""Rows of the first batch: few, so that the first byte is soon there."""

MOST_ROWS: Final = 2000
BATCH_BYTES: Final = 256 * 1024
"""How large a batch becomes: as many rows, unless their bytes are as many before."""

GROWTH: Final = 8

_LASTING: Final = (
    "set_config('idle_in_transaction_session_timeout', '0', true)",
    "set_config('transaction_timeout', '0', true)",
)
"""The time-outs of PostgreSQL that a client would break which reads slowly; a stream has its own."""
_WITH_TRANSACTIONS: Final = (17,)  # the version from which on there is the second

_FEW: Final = 3  # batches for which it is not worth while to begin the query again
_BLIND: Final = MOST_ROWS // 4  # rows of a batch while nobody tells how large they are

DialectOf = Callable[[tuple[Column, ...]], Dialect | None]
"""What is wanted, once the columns are known; see `WritesRows`."""

_Batch = TypeVar("_Batch", bound=Sequence[Any])


class Closable(Protocol):
    """What holds a connection."""

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A query that is about to be read."""

    connection: Connection
    statement: Executable
    parameters: Any
    options: Mapping[str, Any]


class RowSource:
    """The rows of one query; the port `RowBatches`.

    Iterating it gives the rows one by one, so that a generator can `yield from` it.

    Args:
        asked: the query.
        read: opens a connection for it, and says what is read.
        entrust: is given what has to be closed with the request, should its reader never come to it; returns
            what is called when it did.
        batch: how many rows are read at once; found out when left out.
    """

    def __init__(
        self,
        asked: Asked,
        read: Callable[[Asked], AbstractContextManager[Reading]],
        entrust: Callable[[Closable], Callable[[], None]],
        *,
        batch: int | None = None,
    ) -> None:
        self.columns: tuple[Column, ...] = ()
        self.asked = asked
        self.read = read
        self._entrust = entrust
        self._size = FIRST_BATCH if batch is None else batch
        self._grows = batch is None
        self._running: Generator[Any, None, None] | None = None

    def batches(self) -> Generator[Rows, None, None]:
        """Batches of rows, each read when it is asked for; one at least, which may be empty.

        Raises:
            ControllerError: when they are asked for on the event loop, which would be blocked.
        """
        return cast("Generator[Rows, None, None]", self.written(lambda _: None))

    def written(self, dialect_of: DialectOf) -> Generator[Rows | Written, None, None]:
        """See `WritesRows`.

        Raises:
            ControllerError: as `batches`.
        """
        self._running = self._written(dialect_of)
        return self._running

    def __iter__(self) -> Iterator[Row[Any]]:
        batches = self._running = self._read()
        forget = self._entrust(batches)
        try:
            for batch in batches:
                yield from batch
                self._grow(_BLIND)
        finally:
            batches.close()
            forget()

    def took(self, rows: int, size: int) -> None:
        """So many rows became so many bytes: the next batch may be larger, or has to be smaller."""
        if rows:
            self._grow(min(MOST_ROWS, BATCH_BYTES * rows // size) if size else max(self._size, _BLIND))

    def close(self) -> None:
        """Give the connection back, wherever the reading stands."""
        if self._running is not None:
            self._running.close()

    def _grow(self, most: int) -> None:
        if self._grows:
            self._size = max(1, min(most, self._size * GROWTH))

    def _read(self) -> Generator[Sequence[Row[Any]], None, None]:
        ahead = _BLIND if self._grows else self._size
        with self._connected() as reading, _executed(reading, max_row_buffer=ahead) as result:
            self.columns = columns_of(reading.statement, result)
            yield from self._fetched(kept(iter(result)))

    def _written(self, dialect_of: DialectOf) -> Generator[Rows | Written, None, None]:
        with self._connected() as reading:
            exports = exportable(reading.connection, reading.statement, reading.parameters, reading.options)
            if exports is None:
                yield from self._tuples(reading, dialect_of)
                return
            self.columns = exports.columns
            dialect = dialect_of(self.columns)
            written = None if dialect is None else exports.written(dialect)
            if written is None:
                yield from self._tuples(reading, lambda _: dialect)
            else:
                yield from written

    def _tuples(self, reading: Reading, dialect_of: DialectOf) -> Generator[Rows | Written, None, None]:
        statement = reading.statement
        with _executed(reading) as result:
            self.columns = columns_of(statement, result)
            dialect = dialect_of(self.columns)
            fetch = fetching(statement, result, digits=isinstance(dialect, JsonLines))
            passed = 0
            with translated(reading.connection, str(result.context.statement)):
                for number, batch in enumerate(self._fetched(fetch), start=1):
                    yield batch
                    passed += len(batch)
                    is_time = number == _FEW and not is_rewritten(reading.connection.engine)
                    writer = weaver(statement, result, dialect) if is_time else None
                    if writer is not None and (yield from self._woven(fetch, writer, passed)):
                        return

    def _woven(self, fetch: Fetch, writer: Weaver, passed: int) -> Generator[Rows | Written, None, bool]:
        """Have all further rows written, or as many as it goes; whether it were all."""
        with writer.same_rows() as are_same:
            if not are_same:
                return False
            last = fetch(self._size)
            yield last
            if not last:  # it had been at its end, where it held nothing any more
                return True
            passed += len(last)
            written = 0
            with suppress(Unusual), closing(writer.batches(passed, last, lambda: self._size)) as batches:
                for batch in batches:
                    yield batch
                    written += batch.rows if isinstance(batch, Written) else len(batch)
                return True
            while written > 0:
                written -= len(fetch(min(written, MOST_ROWS))) or written
            return False

    @contextmanager
    def _connected(self) -> Iterator[Reading]:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  the documented twin raises where this answers
            raise ControllerError(
                "database.rows would block the event loop: return it, "
                "or `await database.async_session.stream(…)`"
            )
        with self.read(self.asked) as reading:
            yield reading

    def _fetched(self, fetch: Callable[[int], _Batch]) -> Generator[_Batch, None, None]:
        yield fetch(self._size)  # also an empty one: a table without rows has a header
        while batch := fetch(self._size):
            yield batch


def _executed(reading: Reading, **more: int) -> CursorResult[Any]:
    has_cursors = reading.connection.dialect.name != "sqlite"  # on the server; SQLAlchemy would read ahead
    options = {**reading.options, "stream_results": has_cursors, **more}
    result: CursorResult[Any] = reading.connection.execute(
        reading.statement, reading.parameters, execution_options=options
    )
    return result


@contextmanager
def read_only(connection: Connection) -> Iterator[Connection]:
    """The connection, with the database itself refusing writes."""
    if connection.dialect.name != "sqlite":
        if connection.dialect.name == "postgresql":
            connection.execution_options(postgresql_readonly=True)
            version = connection.dialect.server_version_info or ()
            connection.exec_driver_sql(f"SELECT {', '.join(_LASTING[: 1 + (version >= _WITH_TRANSACTIONS)])}")
        yield connection
        return
    connection.exec_driver_sql("PRAGMA query_only=ON")
    try:
        yield connection
    finally:
        connection.exec_driver_sql("PRAGMA query_only=OFF")
