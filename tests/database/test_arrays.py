"""Arrays: blocks of CSV, written by hand as PostgreSQL does, become record batches."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.database.arrays import record_batches
from millstream.database.cells import Described

COLUMNS = [
    Described(23, None, None, in_utc=True),
    Described(25, None, None, in_utc=True),
    Described(16, None, None, in_utc=True),
    Described(1700, 12, 2, in_utc=True),
    Described(1184, None, None, in_utc=True),
]
NAMES = ["id", "text", "truth", "price", "at"]


def test_cells_are_of_their_columns_types() -> None:
    block = bytearray(b'1,"a\nb",t,1.10,2026-01-02 03:04:05.5Z\n2,"",f,,\n3,,,,\n')
    batch = record_batches(NAMES, COLUMNS)(3, block)
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
    read = record_batches(NAMES, COLUMNS)
    assert (read(0, bytearray()).num_rows, read(0, bytearray()).schema) == (
        0,
        read(1, bytearray(b"1,,,,\n")).schema,
    )


def test_null_in_a_single_column_is_a_row() -> None:
    assert record_batches(["x"], COLUMNS[:1])(3, bytearray(b"1\n\n3\n")).to_pydict() == {"x": [1, None, 3]}


def test_columns_may_have_one_name() -> None:
    batch = record_batches(["x", "x"], COLUMNS[:2])(1, bytearray(b"1,a\n"))
    assert (batch.schema.names, [column.to_pylist() for column in batch.columns]) == (
        ["x", "x"],
        [[1], ["a"]],
    )


def test_a_moment_that_arrow_cannot_hold_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid):
        record_batches(NAMES[4:], COLUMNS[4:])(1, bytearray(b"infinityZ\n"))
