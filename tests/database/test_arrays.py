"""Arrays: blocks of CSV, written by hand as PostgreSQL does, become record batches."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from millstream.database.arrays import record_batches
from millstream.protocol.dialects import Transposed

SCHEMA = pa.schema(
    {
        "id": pa.int32(),
        "text": pa.utf8(),
        "truth": pa.bool_(),
        "price": pa.decimal128(12, 2),
        "at": pa.timestamp("us", "UTC"),
    }
)


def text(value: bytes) -> str:
    return value.decode()


def read(block: bytes, schema: Any = SCHEMA, rows: int = 1) -> Any:
    return record_batches(schema, lambda: [text] * len(schema))(rows, bytearray(block))


def test_cells_are_of_their_columns_types() -> None:
    batch = read(b'1,"a\nb",t,1.10,2026-01-02 03:04:05.5+00\n2,"",f,,\n3,,,,\n', rows=3)
    at = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    assert batch.to_pylist()[0] == {
        "id": 1,
        "text": "a\nb",
        "truth": True,
        "price": Decimal("1.10"),
        "at": at,
    }
    assert batch["text"].to_pylist() == ["a\nb", "", None]  # an empty text is not NULL


def test_no_rows_have_the_schema_all_the_same() -> None:
    assert (read(b"", rows=0).num_rows, read(b"", rows=0).schema) == (0, read(b"1,,,,\n").schema)


def test_null_in_a_single_column_is_a_row() -> None:
    single = pa.schema({"x": pa.int64()})
    assert read(b"1\n\n3\n", single, rows=3).to_pydict() == {"x": [1, None, 3]}


def test_columns_may_have_one_name() -> None:
    batch = read(b"1,a\n", pa.schema([("x", pa.int32()), ("x", pa.utf8())]))
    assert (batch.schema.names, [column.to_pylist() for column in batch.columns]) == (
        ["x", "x"],
        [[1], ["a"]],
    )


def test_rows_with_a_value_that_does_not_fit_stay_rows() -> None:
    rows = read(b'1,"",t,1.5,infinity\n2,,,,\n', rows=2)
    assert isinstance(rows, Transposed)
    assert list(rows) == [("1", "", "t", "1.5", "infinity"), ("2", None, None, None, None)]
