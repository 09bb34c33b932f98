"""Tables of Arrow as sources of rows: record batches for who takes them, plain cells for all others.

Imports pyarrow, so only whoever sends such a table imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from millstream.codecs.natures import described, is_named
from millstream.codecs.records import distinct
from millstream.codecs.scalars import duration_text
from millstream.errors import ControllerError
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Transposed, Written

MOST_ROWS: Final = 65_536
MOST_BYTES: Final = 1 << 20
"""Of a record batch that leaves: a larger one is cut, which copies nothing."""

PLAIN_ROWS: Final = 2_000
"""Of a record batch whose cells become Python objects."""

Opened = tuple[Any, Iterable[Any]]
"""A schema and record batches of it."""


class ArrowRows:
    """The rows of one table; the port `HoldsArrow`."""

    def __init__(self, table: Any) -> None:
        self.columns: tuple[Column, ...] = ()
        self._table = table
        self._running: Generator[Any, None, None] | None = None

    def batches(self) -> Generator[Transposed, None, None]:
        """See `RowBatches`.

        Raises:
            ControllerError: when the table cannot be had as record batches.
        """
        self._running = running = self._read(PLAIN_ROWS)
        return (Transposed([values_of(column) for column in batch.columns]) for batch in running)

    def record_batches(self) -> Generator[Written, None, None]:
        """See `HoldsArrow`.

        Raises:
            ControllerError: as `batches`.
        """
        self._running = running = self._read(MOST_ROWS)
        return (Written(batch, batch.num_rows) for batch in running)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            names = distinct([column.name for column in self.columns])
            yield from (dict(zip(names, cells, strict=True)) for cells in batch)

    def took(self, rows: int, size: int) -> None:
        """See `RowBatches`: what a batch weighs is known beforehand."""

    def close(self) -> None:
        """Close the table, and what reads it."""
        if self._running is not None:
            self._running.close()
        table, self._running, self._table = self._table, None, None  # some are closed by being forgotten
        close = getattr(table, "close", None)
        if close is not None:
            close()

    def _read(self, most: int) -> Generator[Any, None, None]:
        with _opened(self._table) as (schema, batches):
            self.columns = tuple(map(Column, schema.names))
            count = 0
            for batch in batches:
                for part in _cut(_common(batch), most):
                    yield part
                    count += 1
            if not count:  # a table without rows has columns
                yield pa.RecordBatch.from_pylist([], schema=_common_schema(schema))


def values_of(array: Any) -> list[Any]:
    """The values of a column, of pyarrow or polars; a moment that Python's types cannot hold as its text.

    Raises:
        ValueError: when a moment is beyond what even its text can say.
    """
    if not isinstance(array, pa.Array | pa.ChunkedArray):
        if str(array.dtype) == _OBJECT:
            raise TypeError("it holds a column of objects of polars: put its .to_list() there")
        array = pa.chunked_array(array)
    kind = array.type
    in_microseconds = _in_microseconds(kind) if getattr(kind, "unit", None) == "ns" else None
    try:
        values: list[Any] = (array if in_microseconds is None else array.cast(in_microseconds)).to_pylist()
    except (pa.ArrowInvalid, OverflowError, ValueError):
        return _texts_of(array)
    return values


def _texts_of(array: Any) -> list[Any]:
    if pa.types.is_duration(array.type):
        return [None if each is None else duration_text(each) for each in array.cast(pa.int64()).to_pylist()]
    texts: list[Any] = array.cast(pa.string()).to_pylist()
    if any(text is not None and text.startswith("<") for text in texts):
        raise ValueError(f"it holds a moment that no calendar has, in a column of the type {array.type}")
    return [None if text is None else text.replace(" ", "T", 1) for text in texts]


@contextmanager
def _opened(table: Any) -> Iterator[Opened]:
    """Begin to read a table.

    Raises:
        ControllerError: when it cannot be had as record batches, or has no columns.
    """
    try:
        schema, batches = _begun(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        why = "; ".join(str(each) for each in error.args)
        raise ControllerError(
            f"{described(type(table))} cannot be sent, because its columns are none of Arrow's: {why}: "
            "convert them, or yield the rows as dicts"
        ) from error
    if not schema.names:
        raise ControllerError(f"{described(type(table))} cannot be sent, because it has no columns")
    _require_values(table, schema)
    try:
        yield schema, batches
    finally:
        if isinstance(batches, pa.RecordBatchReader):
            batches.close()


def _require_values(table: Any, schema: Any) -> None:
    """See that Arrow has the values of each column, and not only the numbers by which a library knows them.

    Raises:
        ControllerError: when it does not.
    """
    is_polars = is_named(type(table), "polars", *_POLARS)
    dtypes = table.collect_schema().dtypes() if is_polars else schema.types
    for field, dtype in zip(schema, dtypes, strict=True):
        if str(dtype) == _OBJECT or getattr(field.type, "extension_name", "") == _PERIOD:
            raise ControllerError(
                f"{described(type(table))} cannot be sent, because its column {field.name!r} holds objects "
                "for which Arrow has no type: convert it to text"
            )


def _begun(table: Any) -> Opened:
    kind = type(table)
    if is_named(kind, "pandas", "DataFrame"):  # without its index, which is no column
        table = pa.Table.from_pandas(table, preserve_index=False)
    if is_named(kind, "polars", "LazyFrame"):
        empty = pa.RecordBatchReader.from_stream(table.head(0).collect())
        return empty.schema, (batch for frame in table.collect_batches() for batch in _read(frame))
    if is_named(kind, "pyarrow", "Dataset"):
        table = table.scanner(batch_size=MOST_ROWS, batch_readahead=2, fragment_readahead=1)
    if is_named(type(table), "pyarrow", "Scanner"):
        table = table.to_reader()
    if isinstance(table, pa.Table):
        return table.schema, table.to_batches()
    reader = table if isinstance(table, pa.RecordBatchReader) else _read(table)
    return reader.schema, reader


def _read(table: Any) -> Any:
    return pa.RecordBatchReader.from_stream(table)


def _cut(batch: Any, most: int) -> Iterator[Any]:
    count = batch.num_rows
    size = max(1, min(most, MOST_BYTES * count // (batch.nbytes + 1))) if count else 1
    return (batch.slice(at, size) for at in range(0, count, size))


def _common(batch: Any) -> Any:
    """A record batch with the types that every reader knows and Parquet has."""
    schema = _common_schema(batch.schema)
    return batch if schema is batch.schema else batch.cast(schema)


def _common_schema(schema: Any) -> Any:
    types = [_common_type(each) for each in schema.types]
    if types == schema.types:
        return schema
    fields = [field.with_type(type_) for field, type_ in zip(schema, types, strict=True)]
    return pa.schema(fields, schema.metadata)


def _common_type(kind: Any) -> Any:
    """The type without views, which are a way to lay out memory; polars' texts have it."""
    return next((make(kind) for is_one, make in _COMMON if is_one(kind)), kind)


def _common_field(field: Any) -> Any:
    return field.with_type(_common_type(field.type))


def _in_microseconds(kind: Any) -> Any:
    """The type of the same moments or durations in microseconds, which Python's types count."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind):
        return pa.duration("us")
    return pa.time64("us")


_POLARS: Final = ("DataFrame", "LazyFrame")
_OBJECT: Final = "Object"
"""polars' type of any object, which Arrow gets as an address in memory."""
_PERIOD: Final = "pandas.period"
"""pandas' type of periods, which Arrow gets as numbers that mean something else for each frequency."""
_COMMON: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...]] = (
    (pa.types.is_string_view, lambda _: pa.string()),
    (pa.types.is_binary_view, lambda _: pa.binary()),
    (
        pa.types.is_dictionary,
        lambda kind: pa.dictionary(kind.index_type, _common_type(kind.value_type), kind.ordered),
    ),
    (
        pa.types.is_struct,
        lambda kind: pa.struct([_common_field(kind.field(at)) for at in range(kind.num_fields)]),
    ),
    (pa.types.is_large_list, lambda kind: pa.large_list(_common_field(kind.value_field))),
    (pa.types.is_large_list_view, lambda kind: pa.large_list(_common_field(kind.value_field))),
    (pa.types.is_list, lambda kind: pa.list_(_common_field(kind.value_field))),
    (pa.types.is_list_view, lambda kind: pa.list_(_common_field(kind.value_field))),
)
"""How a type becomes one that every reader knows."""
