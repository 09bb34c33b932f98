from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.codecs.arrowrows import MOST_BYTES, PLAIN_ROWS, ArrowRows, values_of
from millstream.errors import ControllerError
from millstream.protocol.columns import Column
from millstream.protocol.ports import HoldsArrow


class Table:
    """Gives a stream of record batches, as a library of its own, and can be closed."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.closed = 0

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        self.closed += 1


NUMBERS = pa.table({"a": list(range(5000)), "b": ["x"] * 5000})


def test_it_is_a_source_of_record_batches() -> None:
    assert isinstance(ArrowRows(NUMBERS), HoldsArrow)


@pytest.mark.parametrize(
    "make", [lambda: NUMBERS, lambda: Table(NUMBERS), NUMBERS.to_reader, lambda: pl.from_arrow(NUMBERS)]
)
def test_rows_come_some_at_a_time(make: Any) -> None:
    rows = ArrowRows(make())
    batches = list(rows.batches())
    assert rows.columns == (Column("a"), Column("b"))
    assert max(map(len, batches)) <= PLAIN_ROWS
    assert [row for batch in batches for row in batch] == [(number, "x") for number in range(5000)]
    assert list(ArrowRows(make()))[4999] == {"a": 4999, "b": "x"}


def test_a_large_record_batch_is_cut_and_not_copied() -> None:
    batch = pa.record_batch({"text": ["x" * 1000] * 10_000})
    parts = [written.data for written in ArrowRows(batch).record_batches()]
    assert sum(part.num_rows for part in parts) == 10_000
    assert max(part.nbytes for part in parts) <= MOST_BYTES
    assert parts[1].column(0).buffers()[2].address == batch.column(0).buffers()[2].address


def test_a_table_without_rows_has_one_empty_batch() -> None:
    (only,) = ArrowRows(NUMBERS.slice(0, 0)).record_batches()
    assert (only.rows, only.data.schema) == (0, NUMBERS.schema)


@pytest.mark.parametrize("steps", [0, 1])
def test_the_table_is_closed_once_whether_or_not_it_was_read(steps: int) -> None:
    table = Table(NUMBERS)
    rows = ArrowRows(table)
    batches = rows.batches()
    for _ in range(steps):
        next(batches)
    batches.close()
    rows.close()
    assert table.closed == 1


def test_a_reader_is_read_as_far_as_its_rows_are_wanted() -> None:
    read = []

    def batches() -> Iterator[Any]:
        for number in range(100):
            read.append(number)
            yield pa.record_batch({"a": [number]})

    rows = ArrowRows(pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), batches()))
    source = rows.record_batches()
    next(source)
    assert len(read) <= 2
    source.close()
    rows.close()


def test_a_lazy_frame_is_collected_in_batches() -> None:
    lazy = pl.LazyFrame({"a": [1, 2]})
    assert list(ArrowRows(lazy)) == [{"a": 1}, {"a": 2}]
    assert [written.rows for written in ArrowRows(lazy.filter(pl.col("a") > 2)).record_batches()] == [0]


def test_views_become_the_types_that_every_reader_knows() -> None:
    view = pa.array(["x"]).cast(pa.string_view())
    table = pa.table(
        {
            "view": view,
            "list": pa.ListArray.from_arrays([0, 1], view),
            "word": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), view),
            "struct": pa.StructArray.from_arrays([view], ["in"]),
        }
    )
    (written,) = ArrowRows(table).record_batches()
    assert written.data.schema.types == [
        pa.string(),
        pa.list_(pa.string()),
        pa.dictionary(pa.int8(), pa.string()),
        pa.struct({"in": pa.string()}),
    ]


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", None]),
        (pa.array([1000, None], pa.duration("ns")), [timedelta(microseconds=1), None]),
        (pa.array([-1, None], pa.duration("ns")), ["-PT0.000000001S", None]),
        (pa.array([5_000_000, None], pa.int32()).cast(pa.date32()), ["15659-07-15", None]),
        (pl.Series(["x", None]), ["x", None]),
    ],
)
def test_what_python_has_no_value_for_is_text(array: Any, values: list[Any]) -> None:
    assert values_of(array) == values


def test_a_moment_that_not_even_text_can_say_is_refused() -> None:
    with pytest.raises(ValueError, match="a moment that no calendar has"):
        values_of(pa.array([10**15], pa.timestamp("s")))


def test_a_table_without_columns_is_refused() -> None:
    with pytest.raises(
        ControllerError, match=r"a pyarrow\.lib\.Table cannot be sent, because it has no columns"
    ):
        list(ArrowRows(pa.table({})).batches())
