from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # its types are another package
import polars as pl
import pytest
from openpyxl import load_workbook  # type: ignore[import-untyped]  # as pandas

from millstream.codecs.xlsx import Xlsx
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.testing.contracts import check_codec

Rows = list[dict[str, Any]]


def codec(**options: Any) -> Xlsx:
    return Xlsx(action="Root.rows", charset="utf-8", **options)


def body_of(encoder: Xlsx, rows: Iterable[Any]) -> bytes:
    return b"".join([encoder.head(), *map(encoder.item, rows), encoder.tail()])


def read(body: bytes) -> Rows:
    header, *rows = load_workbook(BytesIO(body)).active.iter_rows(values_only=True) or [()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_xlsx_keeps_the_contract() -> None:
    rows: Rows = [{"a": 1, "b": "é"}, {"a": 0.5, "b": "a\nb"}, {"a": True, "b": "=1+1"}]
    check_codec(Xlsx, rows, options={"fields": ["a", "b"]}, read=read)


def test_openpyxl_reads_what_a_spreadsheet_can_hold(hard_rows: Rows) -> None:
    names = ["small", "truth", "text", "list", "uuid", "json", "mixed", "exact", "nothing"]
    found = read(body_of(codec(fields=names), [{name: row[name] for name in names} for row in hard_rows]))
    assert [row["small"] for row in found] == [1, None, -(2**15), 2**15 - 1]
    assert [row["truth"] for row in found] == [True, None, False, True]
    assert [row["exact"] for row in found] == [1.5, None, -0.01, 9999999999.99]
    assert [row["mixed"] for row in found] == [1, None, "two", 3.5]
    assert found[2]["text"] == 'quotes " and_x000D_\nlines, and\ttabs'
    assert found[0]["json"] == '{"a":[1,null]}'


def test_openpyxl_reads_the_hours_and_days(hard_rows: Rows) -> None:
    found = read(body_of(codec(), [{name: row[name] for name in ("day", "time")} for row in hard_rows]))
    assert [str(row["day"]) for row in found] == [
        "0001-01-01",
        "None",
        "9999-12-31 00:00:00",
        "2024-02-29 00:00:00",
    ]
    assert [str(row["time"]) for row in found][::3] == ["00:00:00", "12:30:00"]


def test_every_hard_value_can_be_written(hard_rows: Rows) -> None:
    assert len(read(body_of(codec(), hard_rows))) == len(hard_rows)


def test_pandas_and_polars_read_the_rows() -> None:
    body = body_of(codec(), [{"a": 1, "b": "x"}, {"a": 2, "b": "😀"}])
    assert pd.read_excel(BytesIO(body)).to_dict("list") == {"a": [1, 2], "b": ["x", "😀"]}
    assert pl.read_excel(BytesIO(body), engine="openpyxl").to_dict(as_series=False) == {
        "a": [1, 2],
        "b": ["x", "😀"],
    }


def test_an_empty_table_has_its_declared_header() -> None:
    encoder = codec()
    encoder.declare((Column("a", int), Column("b")))
    assert list(load_workbook(BytesIO(encoder.tail())).active.iter_rows(values_only=True)) == [("a", "b")]


def test_a_header_may_be_left_out_and_a_sheet_named() -> None:
    book = load_workbook(BytesIO(body_of(codec(header=False, sheet="Flights"), [{"a": 1}])))
    assert (book.sheetnames, book.active["A1"].value) == (["Flights"], 1)


def test_batches_are_rows() -> None:
    encoder = codec()
    body = encoder.rows((Column("a"), Column("b")))([(1, "x"), (2, "y")]) + encoder.tail()
    assert read(body) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize("cell", ["\ud800", object(), "x" * 32_768])
def test_a_row_that_cannot_be_written_is_named_with_its_column(cell: Any) -> None:
    encoder = codec()
    encoder.item({"a": 1, "b": 2})
    with pytest.raises(WrongItem, match="in row 2, the column 'b': "):
        encoder.item({"a": 3, "b": cell})


MOMENTS = [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]


def test_moments_with_a_zone_are_dates_in_utc_that_say_so() -> None:
    book = load_workbook(BytesIO(body_of(codec(), [{"at": at} for at in MOMENTS])))
    cells = [book.active.cell(row, 1) for row in (2, 3)]
    assert [cell.value for cell in cells] == [at.replace(tzinfo=None) for at in MOMENTS]
    assert {(cell.is_date, cell.number_format) for cell in cells} == {
        (True, 'yyyy\\-mm\\-dd\\ hh:mm:ss\\ "UTC"')
    }
    frame = pd.read_excel(BytesIO(body_of(codec(), [{"at": at} for at in MOMENTS])))
    assert frame["at"].dtype.kind == "M"


def test_moments_are_shown_by_the_clocks_of_a_zone() -> None:
    body = body_of(codec(zone="Europe/Berlin"), [{"at": at, "day": at.date()} for at in MOMENTS])
    assert [str(row["at"]) for row in read(body)] == ["2026-03-29 01:30:00", "2026-03-29 03:30:00"]
    assert load_workbook(BytesIO(body)).active.cell(2, 1).number_format == "yyyy\\-mm\\-dd\\ hh:mm:ss"


@pytest.mark.parametrize("zone", ["Mars", "", "../etc/passwd", "Europe"])
def test_a_zone_that_there_is_not_is_refused_at_start_up(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="the option 'zone' of the codec 'xlsx'"):
        Xlsx.check_options({"zone": zone})


@pytest.mark.parametrize("width", [16_384, 16_385])
def test_a_sheet_has_so_many_columns(width: int) -> None:
    encoder = codec(fields=[f"c{number}" for number in range(width)])
    if width == 16_384:
        assert len(load_workbook(BytesIO(encoder.tail())).active[1]) == width
    else:
        with pytest.raises(WrongItem, match="16384 columns"):
            encoder.tail()


def test_a_header_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(WrongItem, match="in the header, "):
        codec().item({"x" * 40_000: 1})


@pytest.mark.parametrize("sheet", ["", "a" * 26, "a/b", "[1]", "'a", "a'", "a\n", "\ud800"])
def test_a_name_no_sheet_may_have_is_refused_at_start_up(sheet: str) -> None:
    with pytest.raises(ConfigurationError, match="the option 'sheet'"):
        Xlsx.check_options({"sheet": sheet})


def test_what_is_no_number_is_an_empty_cell_or_the_text_of_its_option() -> None:
    for nan, expected in (("", None), ("NaN", "NaN")):
        codec = Xlsx(action="Root.rows", charset="utf-8", nan=nan)
        body = codec.head() + codec.item({"a": float("nan"), "b": Decimal("NaN"), "c": 1}) + codec.tail()
        (_, row) = load_workbook(BytesIO(body)).active.iter_rows(values_only=True)
        assert row == (expected, expected, 1)
