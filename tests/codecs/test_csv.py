from __future__ import annotations

import collections
import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from millstream.codecs.csv import Csv
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import CsvDialect, Transposed
from millstream.testing.contracts import check_codec


class Named(NamedTuple):
    a: object
    b: object


class Formula(Enum):
    SUM = "=SUM(A1)"


def write(items: list[Any], charset: str = "utf-8", **options: Any) -> bytes:
    codec = Csv(action="Root.table", charset=charset, **options)
    return codec.head() + b"".join(map(codec.item, items)) + codec.tail()


def cells(body: bytes, charset: str = "utf-8", delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(charset), newline=""), delimiter=delimiter, strict=True))


def read(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


def test_csv_keeps_the_contract() -> None:
    rows = [{"a": "1", "b": "x\r\ny"}, {"a": "", "b": '"'}, {"a": ",", "b": "\n"}]
    check_codec(Csv, rows, read=read)
    check_codec(
        Csv, [tuple(row.values()) for row in rows], options={"fields": ["a", "b"]}, read=read, expected=rows
    )


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\r\n\",;\t' =a\0")


@given(st.data(), st.integers(1, 4), st.sampled_from(",;\t|'é\x1f"), st.sampled_from(["utf-8", "utf-16"]))
def test_any_text_is_read_back_equal(data: st.DataObject, width: int, delimiter: str, charset: str) -> None:
    row = st.lists(ANY_TEXT, min_size=width, max_size=width)
    fields = data.draw(st.lists(ANY_TEXT, min_size=width, max_size=width, unique=True))
    rows = data.draw(st.lists(row))
    body = write([tuple(row) for row in rows], charset, fields=fields, delimiter=delimiter)
    assert cells(body, charset, delimiter) == [fields, *rows]


def test_lines_end_with_cr_lf() -> None:
    assert write([{"a": 1, "b": None}]) == b"a,b\r\n1,\r\n"


def test_the_header_names_the_columns_of_the_first_row() -> None:
    rows = [Named(1, 2), {"b": 4, "a": 3}, collections.ChainMap({"a": 5, "b": 6})]
    assert cells(write(rows)) == [["a", "b"], ["1", "2"], ["3", "4"], ["5", "6"]]


def test_the_header_can_be_left_out() -> None:
    assert write([{"a": 1}, {"a": 2}], header=False) == b"1\r\n2\r\n"
    assert write([(1,), (2,)], header=False, fields=["a"]) == b"1\r\n2\r\n"


def test_fields_choose_the_order_and_name_the_columns_of_an_empty_table() -> None:
    assert write([{"a": 1, "b": 2}], fields=["b", "a"]) == b"b,a\r\n2,1\r\n"
    assert write([], fields=["b", "a"]) == b"b,a\r\n"
    assert write([]) == b""


def test_fields_choose_among_the_columns_of_a_query() -> None:
    codec = Csv(action="a", charset="utf-8", fields=["c", "a"])
    encode = codec.rows((Column("a"), Column("b"), Column("c")))
    assert codec.head() + encode([(1, 2, 3)]) + encode([(4, 5, None)]) == b"c,a\r\n3,1\r\n,4\r\n"


@pytest.mark.parametrize("batch", [[(1,), (2,)], Transposed([[1, 2]])], ids=["rows", "columns"])
def test_rows_of_a_query_without_any_of_the_fields_are_rows_of_empty_cells(
    batch: Sequence[Sequence[int]],
) -> None:
    codec = Csv(action="a", charset="utf-8", fields=["b", "c"])
    assert codec.head() + codec.rows((Column("a"),))(batch) == b"b,c\r\n,\r\n,\r\n"


def test_a_column_left_out_is_an_empty_cell() -> None:
    assert cells(write([{"a": 1, "b": 2}, {"b": 3}, {}])) == [["a", "b"], ["1", "2"], ["", "3"], ["", ""]]


@pytest.mark.parametrize("late", [{"a": 1, "c": 2}, {"c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_a_column_that_comes_late_is_refused_not_dropped(late: dict[str, int]) -> None:
    with pytest.raises(WrongItem, match=r"Root\.table .* column 'c' is not among"):
        write([{"a": 1, "b": 2}, late])


def test_a_defaultdict_does_not_make_columns_up() -> None:
    row: dict[str, int] = collections.defaultdict(int, {"a": 1, "c": 2})
    with pytest.raises(WrongItem):
        write([{"a": 1, "b": 2}, row])
    assert set(row) == {"a", "c"}


@pytest.mark.parametrize("item", [1, "text", b"bytes", None, (1, 2), [1], object()])
def test_what_is_no_row_is_refused(item: Any) -> None:
    with pytest.raises(WrongItem, match="codec 'csv' takes rows"):
        write([item])


@pytest.mark.parametrize("item", [{}, {"a": object()}, {"a": "\ud800"}, {"a": {"b": 1j}}, {"a": 2**20000}])
def test_a_row_that_cannot_be_written_is_refused_with_the_reason(item: Any) -> None:
    with pytest.raises(WrongItem, match="cannot be written: "):
        write([item])


def test_values_are_written_as_json_would_say_them() -> None:
    row = [True, Decimal("1.10"), date(2026, 1, 2), {"x": [1]}, b"a", 1e100, None]
    expected = ["true", "1.10", "2026-01-02", '{"x":[1]}', "YQ==", "1e+100", ""]
    assert cells(write([row], fields=list("abcdefg")))[1] == expected


def test_database_rows_are_rows() -> None:
    with create_engine("sqlite://").connect() as connection:
        rows = list(connection.execute(text("select 1 as a, 'x' as b union select 2, null")))
    assert write(rows) == b"a,b\r\n1,x\r\n2,\r\n"


RISKY = ["=1+1", "+1", "-1", "@SUM", "\tx", "\rx", "\nx", "\uff1dx"]


@pytest.mark.parametrize("risky", [*RISKY, Formula.SUM])
def test_text_is_no_formula_when_guarded(risky: Any) -> None:
    value = risky.value if isinstance(risky, Formula) else risky
    guarded = cells(write([{value: risky}], guard_formulas=True))
    assert guarded == [["'" + value], ["'" + value]]
    assert cells(write([{value: risky}])) == [[value], [value]]


def test_the_guard_leaves_numbers_and_harmless_text() -> None:
    row = [-1, -1.5, Decimal(-2), "a=1", "'", "", None]
    expected = ["-1", "-1.5", "-2", "a=1", "'", "", ""]
    assert cells(write([row], fields=list("abcdefg"), guard_formulas=True))[1] == expected


@pytest.mark.parametrize(
    ("delimiter", "value", "guarded"),
    [
        (",", ";=1+1", ";'=1+1"),
        (",", "a;=1+1;b;@x", "a;'=1+1;b;'@x"),
        (",", "a\t=1", "a\t'=1"),
        (",", "a,=1", "a,=1"),  # quoted, and one cell for whoever reads by commas
        (";", "a,=1", "a,'=1"),
        (";", "a;=1", "a;=1"),
        ("\t", "a;=1,-2", "a;'=1,'-2"),
        (",", "a\r\n=1", "a\r'\n'=1"),
    ],
)
def test_the_guard_knows_other_separators_than_its_own(delimiter: str, value: str, guarded: str) -> None:
    written = write([{"a": value}], guard_formulas=True, delimiter=delimiter).decode()
    assert list(csv.reader(io.StringIO(written, newline=""), delimiter=delimiter)) == [["a"], [guarded]]


@given(st.lists(ANY_TEXT, min_size=2, max_size=2), st.sampled_from(",;\t"))
def test_no_cell_is_a_formula_by_whatever_separator_a_guarded_file_is_read(
    row: list[str], separator: str
) -> None:
    written = write([row], fields=["a", "b"], guard_formulas=True).decode()
    for line in re.split("[\r\n]", written):
        for cell in line.split(separator) if separator != "," else ():
            assert not cell.lstrip('"').startswith(("=", "@", "+", "-")), written
    read_back = cells(written.encode())[1]
    assert [found.replace("'", "") for found in read_back] == [cell.replace("'", "") for cell in row]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\r", "\n", "\0"])
def test_a_delimiter_is_one_character_that_means_nothing_else(delimiter: str) -> None:
    with pytest.raises(ConfigurationError, match="'delimiter'"):
        write([], delimiter=delimiter)


def test_a_header_beyond_the_charset_is_the_first_row_s_fault() -> None:
    with pytest.raises(WrongItem):
        write([{"€": 1}], "ascii")


def test_fields_beyond_the_charset_are_found_before_the_first_row() -> None:
    with pytest.raises(ConfigurationError, match="'fields'"):
        write([], "ascii", fields=["€"])


def test_csv_says_its_charset() -> None:
    assert Csv(action="x", charset="utf-8-sig").content_type == "text/csv; charset=utf-8"
    assert write([{"a": 1}, {"a": 2}], "utf-8-sig") == b"\xef\xbb\xbfa\r\n1\r\n2\r\n"


def test_declared_columns_are_the_header_of_an_empty_table() -> None:
    codec = Csv(action="a", charset="utf-8")
    codec.declare((Column("a"), Column("b")))
    assert codec.head() + codec.tail() == b"a,b\r\n"
    assert codec.item({"b": 1}) == b",1\r\n"


def test_fields_go_before_what_is_declared() -> None:
    codec = Csv(action="a", charset="utf-8", fields=["b"])
    codec.declare((Column("a"), Column("b")))
    assert codec.head() == b"b\r\n"


def test_declared_columns_that_no_charset_has_are_refused() -> None:
    with pytest.raises(WrongItem, match="cannot be written"):
        Csv(action="a", charset="ascii").declare((Column("\u20ac"),))


MOMENTS = [
    (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),  # noqa: DTZ001  without a zone
    (datetime(2026, 1, 2, 3, 4, 5, 500_000), "2026-01-02 03:04:05.5"),  # noqa: DTZ001  as above
    (datetime(2026, 1, 2, 3, 4, 0, 10, tzinfo=UTC), "2026-01-02 03:04:00.00001+00:00"),
    (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))), "2026-01-02 00:00:00-05:30"),
    (time(3, 0), "03:00:00"),
    (time(3, 0, 0, 100_000), "03:00:00.1"),
]


@pytest.mark.parametrize(("moment", "written"), MOMENTS)
def test_a_moment_is_written_as_in_sql(moment: object, written: str) -> None:
    assert cells(write([(moment, 1)], fields=["a", "b"]))[1] == [written, "1"]
    codec = Csv(action="a", charset="utf-8", header=False)
    columns = (Column("a"), Column("b"))
    assert codec.rows(columns)([(moment, 1), (None, 2)]).decode() == f"{written},1\r\n,2\r\n"
    assert codec.rows(columns)([(moment, 1), ("x", 2)]).decode() == f"{written},1\r\nx,2\r\n"


@pytest.mark.parametrize(
    ("charset", "options"),
    [
        ("utf-16", {}),
        ("utf-8-sig", {}),
        ("utf-8", {"guard_formulas": True}),
        ("utf-8", {"delimiter": "."}),
        ("utf-8", {"fields": ["b", "a"]}),
    ],
)
def test_only_plain_tables_have_a_dialect(charset: str, options: dict[str, Any]) -> None:
    columns = (Column("a"), Column("b"))
    assert Csv(action="a", charset=charset, **options).dialect(columns) is None
    assert Csv(action="a", charset="UTF8", delimiter=";").dialect(columns) == CsvDialect(";")
    assert Csv(action="a", charset="utf-8").dialect(columns[:1]) is None  # its empty cells are quoted


def test_what_was_written_gets_its_header_once() -> None:
    codec = Csv(action="a", charset="utf-8")
    codec.dialect((Column("a"), Column("b")))
    assert codec.framed(b"") + codec.framed(b"1,2\r\n") == b"a,b\r\n1,2\r\n"


def test_its_dialect_writes_cells_as_the_codec_does() -> None:
    dialect = Csv(action="a", charset="utf-8", delimiter=";").dialect((Column("a"), Column("b")))
    assert dialect is not None
    assert dialect.cells is not None
    assert dialect.cells([None, True, "a;b", 1.5]) == ["", "true", '"a;b"', "1.5"]
    assert dialect.cells([object()]) is None


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (float("nan"), "NaN"),
        (Decimal("NaN"), "NaN"),
        (Decimal("-sNaN12"), "NaN"),
        (float("inf"), "Infinity"),
        (Decimal("-Infinity"), "-Infinity"),
        (Decimal("1e400"), "1E+400"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"nan": ""}, {"guard_formulas": True}, {"delimiter": "n"}])
def test_what_is_no_number_has_one_spelling_by_row_and_in_batches(
    value: Any, cell: str, options: dict[str, Any]
) -> None:
    expected = "" if "nan" in options and cell == "NaN" else cell
    by_row, by_batch = (Csv(action="Root.rows", charset="utf-8", **options) for _ in range(2))
    lines = by_row.item({"a": value, "b": 1}) + by_row.item({"a": 1.5, "b": 1})
    assert lines == by_batch.rows((Column("a"), Column("b")))([(value, 1), (1.5, 1)])
    rows = list(csv.reader(io.StringIO(lines.decode()), delimiter=options.get("delimiter", ",")))
    assert rows[1] == [expected, "1"]


def test_no_database_writes_the_lines_where_nan_is_spelled_otherwise() -> None:
    columns = (Column("a"), Column("b"))
    assert Csv(action="a", charset="utf-8").dialect(columns) is not None
    assert Csv(action="a", charset="utf-8", nan="").dialect(columns) is None
