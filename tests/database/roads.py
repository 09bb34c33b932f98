"""The roads that the rows of one query take into one format, and what arrives.

* `returned`: an action returns the query; PostgreSQL or SQLite may write the rows by itself.
* `looped`: an action iterates the result of its session, and yields row by row.
* `iterated`: the same with `database.rows(query)`.

Whoever mends a road adds queries to the tests; whoever makes a new one adds it here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import openpyxl  # type: ignore[import-untyped]  # it ships no types
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above
from sqlalchemy.orm import Session

from millstream.codecs.base import Codec
from millstream.codecs.catalogue import DEFAULT
from millstream.database import Database
from millstream.engine.batches import batches_of
from millstream.engine.source import source_of
from millstream.errors import UnreadableValue, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Written

TEXTS: Final = ("csv", "json", "ndjson", "sse", "xml")
TYPED: Final = ("arrow", "parquet")
FORMATS: Final = (*TEXTS, "xlsx", *TYPED)
COPYING: Final = ("csv", "json", "ndjson", *TYPED)
"""Formats that PostgreSQL writes by itself, of common types."""


@dataclass
class Arrived:
    """What a client has in the end."""

    content: Any  # the body of a text; of the others what a reader finds in it
    failure: tuple[str, int] | None  # the kind of error and the number of the row
    written: bool  # whether the database wrote rows by itself


def codec(format_: str, **options: Any) -> Codec:
    return DEFAULT[format_](action="a", charset="utf-8", **options)


def returned(
    database: Database, query: Any, format_: str, batch: int | None = None, **options: Any
) -> Arrived:
    encoder = codec(format_, **options)
    source = source_of(database.rows(query, batch=batch))
    assert source is not None
    batches = batches_of(source, encoder)
    assert batches is not None
    body, rows, written = encoder.head(), 0, False
    try:
        try:
            for each in batches.source.iterator:
                written = written or isinstance(each, Written)
                before = batches.more
                body += batches.encode(each)
                rows += batches.more - before + 1
        finally:
            batches.source.close()
        body += encoder.tail()
    except Exception as error:  # noqa: BLE001  all that can be wrong has to be the same on every road
        return Arrived(_end(encoder, body, format_), _failure(error, rows), written)
    return Arrived(read(format_, body), None, written)


def looped(
    database: Database, query: Any, format_: str, columns: tuple[Column, ...] = (), **options: Any
) -> Arrived:
    with Session(database.engine) as session:
        return _one_by_one(lambda: session.execute(query), codec(format_, **options), format_, columns)


def iterated(
    database: Database, query: Any, format_: str, columns: tuple[Column, ...] = (), **options: Any
) -> Arrived:
    return _one_by_one(lambda: database.rows(query), codec(format_, **options), format_, columns)


def columns_of(database: Database, query: Any) -> tuple[Column, ...]:
    """What an annotation would say, so that record batches need no sample."""
    source = database.rows(query)
    batches = source.batches()
    try:
        next(batches)
    except UnreadableValue:
        pass
    finally:
        batches.close()
    return source.columns


def read(format_: str, body: bytes) -> Any:
    if format_ == "arrow":
        return _table(pa.ipc.open_stream(body).read_all())
    if format_ == "parquet":
        return _table(pq.read_table(BytesIO(body)))
    if format_ == "xlsx":
        with warnings.catch_warnings(action="ignore"):  # openpyxl has its own limits for dates
            sheet = openpyxl.load_workbook(BytesIO(body)).worksheets[0]
        return [[(cell.data_type, repr(cell.value)) for cell in row] for row in sheet.rows]
    return body


def _one_by_one(
    rows_of: Callable[[], Iterable[Any]], encoder: Codec, format_: str, columns: tuple[Column, ...]
) -> Arrived:
    if columns:
        encoder.declare(columns)
    body, rows = encoder.head(), 0
    try:
        for row in rows_of():
            body += encoder.item(row)
            rows += 1
        body += encoder.tail()
    except Exception as error:  # noqa: BLE001  as above
        return Arrived(_end(encoder, body, format_), _failure(error, rows), written=False)
    return Arrived(read(format_, body), None, written=False)


def _end(encoder: Codec, body: bytes, format_: str) -> bytes | None:
    """What is left of a body that was broken off; nobody reads half of a workbook or of a Parquet file."""
    if format_ in ("xlsx", "parquet"):
        return None
    if format_ == "arrow":  # how many rows were in a batch differs
        data = body + encoder.failed({})
        return repr(_rows_of_stream(data)).encode() if data else None
    return body


def _rows_of_stream(data: bytes) -> list[Any]:
    rows: list[Any] = []
    try:
        with pa.ipc.open_stream(data) as stream:
            for batch in stream:
                rows += batch.to_pylist()
    except (pa.ArrowInvalid, OSError, EOFError):
        pass
    return rows


def _failure(error: Exception, rows: int) -> tuple[str, int]:
    counted = getattr(error, "row", None) if isinstance(error, WrongItem | UnreadableValue) else None
    return type(error).__name__, rows + 1 if counted is None else counted


def _table(table: Any) -> tuple[Any, str]:
    return table.schema, repr(table.to_pylist())  # NaN is not equal to itself, and -0.0 is to 0.0
