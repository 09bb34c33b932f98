"""Dialects: rows that are had as columns are rows all the same."""

from __future__ import annotations

import pytest

from millstream.protocol.dialects import CsvDialect, JsonLines, Transposed

ROWS = [(1, "a"), (2, "b"), (3, "c")]


def test_columns_are_a_sequence_of_rows() -> None:
    rows = Transposed([[1, 2, 3], ["a", "b", "c"]])
    assert (len(rows), list(rows), rows[0], rows[-1], list(rows[1:])) == (3, ROWS, ROWS[0], ROWS[2], ROWS[1:])
    assert (2, "b") in rows


def test_no_rows_are_false() -> None:
    assert not Transposed([[], []])


def test_columns_of_different_lengths_are_no_rows() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(Transposed([[1, 2], ["a"]]))


def test_dialects_are_what_they_say() -> None:
    assert CsvDialect() == CsvDialect(",") != CsvDialect(";")
    assert JsonLines() == JsonLines(b"\n") != JsonLines(b",\n")
