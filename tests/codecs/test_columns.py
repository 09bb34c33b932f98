"""Columns: batches turned, and the cells that CSV writes in a way of its own."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.columns import CsvCells, transposed
from millstream.codecs.values import VALUES
from millstream.protocol.dialects import Transposed


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.tuples(*[st.integers()] * width))))
def test_columns_are_those_of_the_rows(rows: list[tuple[int, ...]]) -> None:
    assert [tuple(column) for column in transposed(rows)] == list(zip(*rows, strict=True))


def test_rows_that_are_had_as_columns_are_not_turned_twice() -> None:
    columns: list[list[Any]] = [[1, 2], ["a", None]]
    assert transposed(Transposed(columns)) == columns
    assert CsvCells(VALUES, ",").lines(2)(Transposed(columns)) == "1,a\r\n2,\r\n"


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        transposed([(1, 2), (3,)])


@given(st.datetimes(timezones=st.just(UTC) | st.none()) | st.times())
def test_a_moment_is_read_back(moment: datetime | time) -> None:
    written = str(CsvCells(VALUES, ",").cell(moment))
    whole, point, rest = written.partition(".")
    digits = "".join(character for character in rest if character.isdigit())
    if point:
        assert not rest.partition("+")[0].endswith("0")
        written = f"{whole}.{rest.partition('+')[0]:0<6}" + ("+00:00" if "+" in rest else "")
    assert digits or not point
    assert type(moment).fromisoformat(written) == moment


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(
    column=st.lists(
        st.none()
        | st.text('a,;\t"\r\n')
        | st.integers()
        | st.floats()
        | st.datetimes()
        | st.booleans()
        | st.decimals()
    )
)
def test_the_texts_of_a_column_are_those_in_its_lines(delimiter: str, column: list[Any]) -> None:
    cells = CsvCells(VALUES, delimiter)
    lines = [cells.lines(2)([(value, 0)]) for value in column]
    assert [f"{text}{delimiter}0\r\n" for text in cells.texts(column)] == lines
