"""Exports: a query whose rows PostgreSQL writes by itself, in the dialect of the codec, to the byte.

CSV is passed on as it comes. Of JSON, PostgreSQL writes the values, and the keys are put between them here:
to have it build the objects takes four times as long. For Arrow, pyarrow reads the CSV; ADBC would need a
connection of its own, outside of every pool and transaction.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import event
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import GenerativeSelect

from millstream.database.cells import Described, expression_for, is_quoted
from millstream.database.columns import columns_of, converts, types_of
from millstream.database.fetching import Rows
from millstream.database.framing import Frame, csv_lines, json_objects
from millstream.protocol.columns import Column
from millstream.protocol.dialects import CsvDialect, Dialect, JsonLines, RecordBatches, Transposed, Written
from millstream.web.proxies import stream_var

if TYPE_CHECKING:
    from millstream.database.copying import Copying


Sent = tuple[str, Any]
"""A statement and its parameters, as the driver gets them."""


class Exportable:
    """A query that PostgreSQL may be able to write; it has said what comes, and nothing was read."""

    def __init__(
        self, connection: Connection, statement: Executable, result: CursorResult[Any], sent: Sent
    ) -> None:
        self._dialect = connection.dialect
        self._text, self._parameters = sent
        self._told = result.cursor.description
        self.columns: tuple[Column, ...] = columns_of(statement, result)
        self._types = types_of(statement, len(self.columns)) or ()
        handle = stream_var.get(None)
        self._copying: Copying = import_module("millstream.database.copying").Copying(
            connection, lambda: handle is not None and handle.reason is not None
        )

    def written(self, dialect: Dialect) -> Generator[Rows | Written, None, None] | None:
        """The rows, one batch at least, which may be empty; None: they have to be read."""
        copying = self._copying
        in_utc = copying.told("TimeZone") in _UTC
        described = [Described(cast("int", each[1]), each[4], each[5], in_utc) for each in self._told]
        expressions = [
            expression
            for each, type_ in zip(described, self._types, strict=True)
            if (expression := expression_for(dialect, each)) is not None
            and copying.reads_as_usual(each.type)
            and not converts(type_, self._dialect, each.type)
        ]
        if len(expressions) < len(self._told) or copying.told("server_encoding") == "SQL_ASCII":
            return None
        query = copying.merged(self._text, self._parameters)
        return self._copied(_statement(query, expressions, dialect), *self._framed(dialect))

    def _framed(self, dialect: Dialect) -> tuple[Frame, int]:
        """What is done with a block, and how large it is."""
        names = [column.name for column in self.columns]
        types = [cast("int", each[1]) for each in self._told]
        match dialect:
            case CsvDialect():
                return csv_lines, BLOCK
            case JsonLines(end=end):
                return json_objects(names, list(map(is_quoted, types)), end), BLOCK
            case RecordBatches(schema):
                frame: Frame = import_module("millstream.database.arrays").record_batches(
                    schema, partial(self._copying.loaders, types)
                )
                return frame, BATCH

    def _copied(self, statement: str, frame: Frame, size: int) -> Generator[Rows | Written, None, None]:
        for rows, block in self._copying.blocks(statement, size):
            framed = frame(rows, block)
            yield framed if isinstance(framed, Transposed) else Written(framed, rows)


def exportable(
    connection: Connection, statement: Executable, parameters: Any, options: Mapping[str, Any]
) -> Exportable | None:
    """Have a query described by the database; None where this one does not write any dialect."""
    driver = (connection.dialect.name, connection.dialect.driver)
    if driver != ("postgresql", "psycopg") or not isinstance(statement, GenerativeSelect):
        return None
    if not event.contains(connection.engine, "do_execute", _without_rows):
        event.listen(connection.engine, "do_execute", _without_rows)
    sent: list[Sent] = []
    described = {**options, "stream_results": False, _DESCRIBED: sent}
    with connection.execute(statement, parameters, execution_options=described) as result:
        return Exportable(connection, statement, result, sent[-1])


def _without_rows(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    """With a limit of 0 PostgreSQL plans a query and does nothing of it.

    It is asked last, when all listeners of the author's have made of the statement what they want.
    """
    sent: list[Sent] | None = context.execution_options.get(_DESCRIBED)
    if sent is None:
        return False
    sent.append((statement, parameters))
    cursor.execute(f"SELECT * FROM (\n{statement}\n) AS m LIMIT 0", parameters)  # noqa: S608  it is SQLAlchemy's own
    return True


def _statement(query: str, expressions: Sequence[str], dialect: Dialect) -> str:
    """What copies a query, cell by cell."""
    names = [f"c{at}" for at in range(len(expressions))]
    cells = ", ".join(each.replace("{c}", name) for each, name in zip(expressions, names, strict=True))
    form = "text" if isinstance(dialect, JsonLines) else "csv"
    delimiter = f", DELIMITER '{dialect.delimiter}'" if isinstance(dialect, CsvDialect) else ""
    options = f"FORMAT {form}, ENCODING 'UTF8'{delimiter}"
    return f"COPY (SELECT {cells} FROM (\n{query}\n) AS m ({', '.join(names)})) TO STDOUT ({options})"  # noqa: S608  the driver quoted the parameters, the rest is ours


BLOCK: Final = 128 * 1024
"""Bytes of a block: some fit into the outbox, so that reading and sending overlap."""

BATCH: Final = 1024 * 1024
"""Bytes of CSV that become one record batch."""

_DESCRIBED: Final = "millstream_described"
_UTC: Final = frozenset({"UTC", "Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Universal", "GMT", "Etc/GMT"})
"""Names of the zone about which Python and PostgreSQL cannot differ."""
