from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]  # its types are another package
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest
from pyarrow import parquet

from millstream.codecs.parquet import Parquet
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.ports import EncodesArrow
from millstream.testing.contracts import check_codec

Rows = list[dict[str, Any]]
Comparable = Callable[[Any], Rows]


def codec(*columns: Column, **options: Any) -> Parquet:
    made = Parquet(action="Root.rows", charset="utf-8", **options)
    if columns:
        made.declare(columns)
    return made


def body_of(encoder: Parquet, rows: Rows) -> bytes:
    return b"".join([encoder.head(), *map(encoder.item, rows), encoder.tail()])


def read(body: bytes) -> Rows:
    rows: Rows = parquet.read_table(BytesIO(body)).to_pylist()
    return rows


def test_parquet_keeps_the_contract() -> None:
    check_codec(Parquet, [{"a": 1, "b": "é"}, {"a": None, "b": ""}, {"a": 3, "b": "\n"}], read=read)


def test_pyarrow_reads_every_value_of_undeclared_rows(
    hard_rows: Rows, expected_rows: Rows, comparable: Comparable
) -> None:
    assert comparable(read(body_of(codec(), hard_rows))) == comparable(expected_rows)


def test_polars_reads_every_value_of_declared_rows(
    hard_rows: Rows, expected_rows: Rows, declared: tuple[Column, ...], comparable: Comparable
) -> None:
    body = body_of(codec(*declared), hard_rows)
    assert comparable(pl.read_parquet(BytesIO(body)).to_dicts()) == comparable(expected_rows)


def test_duckdb_reads_the_same_values(hard_rows: Rows, expected_rows: Rows, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(body_of(codec(), hard_rows))
    # Parquet has no durations: they are numbers to whom does not look at the Arrow schema beside them.
    names = [name for name in hard_rows[0] if name not in ("number", "moment", "duration")]
    found = duckdb.from_parquet(str(file)).select(*names).fetchall()
    assert found == [tuple(row[name] for name in names) for row in expected_rows]


def test_pandas_reads_the_rows() -> None:
    frame = pd.read_parquet(BytesIO(body_of(codec(), [{"a": 1, "b": "x"}, {"a": 2, "b": None}])))
    assert frame["a"].to_list() == [1, 2]
    assert frame["b"].isna().to_list() == [False, True]


def test_an_empty_file_has_the_declared_schema() -> None:
    table = parquet.read_table(BytesIO(body_of(codec(Column("a", int)), [])))
    assert (table.num_rows, table.schema) == (0, pa.schema([("a", pa.int64())]))


def test_row_groups_leave_as_they_fill() -> None:
    encoder = codec(Column("a", int))
    chunks = [encoder.item({"a": number}) for number in range(300_000)]
    file = parquet.ParquetFile(BytesIO(b"".join([*chunks, encoder.tail()])))
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [122_880, 122_880, 54_240]
    assert sum(map(bool, chunks)) == 2


def test_a_row_group_of_heavy_rows_is_smaller() -> None:
    encoder = codec(Column("a", str), compression="none")
    chunks = [encoder.item({"a": f"{number:0100000}"}) for number in range(500)]
    assert sum(map(bool, chunks)) == 2


@pytest.mark.parametrize("missing", [1, 8, 100])
def test_a_body_that_was_cut_off_cannot_be_read(missing: int) -> None:
    body = body_of(codec(), [{"a": number} for number in range(1000)])
    with pytest.raises(pa.ArrowInvalid):
        read(body[:-missing])


def test_last_words_leave_the_file_without_its_footer() -> None:
    encoder = codec(Column("a", int))
    body = b"".join(encoder.item({"a": number}) for number in range(200_000)) + encoder.failed({})
    with pytest.raises(pa.ArrowInvalid):
        read(body)


def test_a_row_that_does_not_fit_is_named() -> None:
    encoder = codec(Column("a", int))
    with pytest.raises(WrongItem, match=r"in row 123, the column 'a' holds the float 1.5, .* int64"):
        body_of(encoder, [{"a": 1.5 if number == 123 else number} for number in range(1, 1000)])


def test_batches_fill_row_groups_together() -> None:
    encoder = codec()
    encode = encoder.rows((Column("a", int),))
    body = b"".join([*(encode([(n,)] * 1000) for n in range(200)), encoder.tail()])
    assert parquet.ParquetFile(BytesIO(body)).num_row_groups == 2


def test_record_batches_fill_row_groups_together() -> None:
    encoder = codec()
    assert isinstance(encoder, EncodesArrow)
    batch = pa.record_batch({"a": list(range(1000))})
    encode = encoder.record_batches(batch.schema)
    file = parquet.ParquetFile(BytesIO(b"".join([*(encode(batch) for _ in range(5)), encoder.tail()])))
    assert (file.num_row_groups, file.metadata.num_rows) == (1, 5000)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_pages_are_compressed_as_asked(compression: str) -> None:
    body = body_of(codec(compression=compression), [{"a": "x" * 1000}])
    column = parquet.ParquetFile(BytesIO(body)).metadata.row_group(0).column(0)
    assert column.compression.lower() == compression.replace("none", "uncompressed")


def test_an_unknown_compression_is_refused_at_start_up() -> None:
    with pytest.raises(ConfigurationError, match="'rar': it must be one of none, snappy"):
        Parquet.check_options({"compression": "rar"})
