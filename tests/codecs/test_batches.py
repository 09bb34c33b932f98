"""Batches of rows: many at once, and byte for byte what one after the other would be."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.sse import Sse
from millstream.errors import WrongItem
from millstream.protocol.columns import Column

NAMES = ("id", "na\u00efve", 'quo"ted', "d")
COLUMNS = tuple(map(Column, NAMES))

# None, text with what has to be quoted, numbers that JSON has no word for, and everything a column may hold.
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(),
    st.text(),
    st.sampled_from(["=1+1", "NaN", "Infinity", "a,b", 'say "x"', "line\nbreak", ""]),
    st.decimals(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9)),
    st.uuids(),
    st.binary(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)
COLUMN_KINDS = [st.integers(), st.text(), st.floats(), st.none() | st.booleans(), st.none() | st.datetimes()]
ROWS = st.lists(st.tuples(*[CELLS] * 4)) | st.lists(
    st.tuples(*[st.sampled_from(COLUMN_KINDS).flatmap(lambda s: s)] * 4)
)
MAKERS: list[Callable[[], Codec]] = [
    lambda: Csv(action="a", charset="utf-8"),
    lambda: Csv(action="a", charset="utf-16", delimiter=";", guard_formulas=True),
    lambda: Csv(action="a", charset="utf-8", header=False),
    lambda: Csv(action="a", charset="utf-8", fields=["d", "id", 'quo"ted', "na\u00efve", "more"]),
    lambda: Csv(action="a", charset="utf-8", fields=NAMES),
    lambda: Csv(action="a", charset="utf-8", delimiter="."),
    lambda: Csv(action="a", charset="utf-8", delimiter="\\"),
    lambda: Json(action="a", charset="utf-8"),
    lambda: Ndjson(action="a", charset="utf-8"),
    lambda: Sse(action="a", charset="utf-8"),
]
IDS = [
    "csv",
    "guarded",
    "headless",
    "other fields",
    "same fields",
    "dots",
    "backslashes",
    "json",
    "ndjson",
    "sse",
]


def one_by_one(codec: Codec, rows: Sequence[tuple[Any, ...]]) -> bytes:
    return (
        codec.head() + b"".join(codec.item(dict(zip(NAMES, row, strict=True))) for row in rows) + codec.tail()
    )


def by_batches(codec: Codec, rows: Sequence[tuple[Any, ...]], size: int) -> bytes:
    encode = codec.rows(COLUMNS)
    batches = [rows[at : at + size] for at in range(0, len(rows), size)]
    return codec.head() + b"".join(map(encode, batches)) + codec.tail()


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
@given(rows=ROWS, size=st.integers(1, 4))
def test_batches_are_byte_for_byte_what_single_rows_are(
    make: Callable[[], Codec], rows: list[tuple[Any, ...]], size: int
) -> None:
    try:
        expected = one_by_one(make(), rows)
    except WrongItem:
        with pytest.raises(WrongItem):
            by_batches(make(), rows, size)
    else:
        assert by_batches(make(), rows, size) == expected


def test_a_column_of_one_kind_of_text_is_what_its_cells_are() -> None:
    columns: list[list[Any]] = [
        [date(2026, 1, 2), None],
        [time(1, 2, 3), None],
        [timedelta(hours=1), None],
        [uuid.UUID(int=1), None],
        [Decimal("1.10"), None],
        [True, None],
    ]
    rows = list(zip(*columns, strict=True))
    names = tuple("abcdef")
    batch = Csv(action="a", charset="utf-8").rows(tuple(map(Column, names)))(rows)
    single = Csv(action="a", charset="utf-8")
    assert batch == b"".join(single.item(dict(zip(names, row, strict=True))) for row in rows)


@pytest.mark.parametrize("make", MAKERS[7:9], ids=IDS[7:9])
def test_a_raw_value_with_a_line_break_does_not_break_a_line(make: Callable[[], Codec]) -> None:
    rows = [(1, msgspec.Raw(b'{"x":\n1}'), None, None), (2, None, None, None)]
    assert by_batches(make(), rows, 2) == one_by_one(make(), rows)


@given(st.lists(st.one_of(st.none(), st.text(), st.integers())))
def test_a_table_of_one_column_is_what_its_rows_are(cells: list[Any]) -> None:
    single = Csv(action="a", charset="utf-8")
    expected = b"".join(single.item({"x": each}) for each in cells) or b"x\r\n"
    assert Csv(action="a", charset="utf-8").rows((Column("x"),))([(each,) for each in cells]) == expected


def test_a_table_without_rows_has_a_header() -> None:
    assert Csv(action="a", charset="utf-8").rows((Column("id"), Column("name")))([]) == b"id,name\r\n"
    assert Json(action="a", charset="utf-8").rows((Column("id"), Column("name")))([]) == b""


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_two_columns_of_one_name_are_refused(make: Callable[[], Codec]) -> None:
    with pytest.raises(WrongItem, match="two columns named 'id'"):
        make().rows(tuple(map(Column, ("id", "name", "id"))))


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_a_row_that_cannot_be_written_is_named(make: Callable[[], Codec]) -> None:
    with pytest.raises(WrongItem, match="object"):
        make().rows(COLUMNS)([(1, 2, 3, 4), (1, 2, 3, object())])
