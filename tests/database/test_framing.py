"""Framing: blocks of COPY's formats, written by hand as PostgreSQL does, become lines and objects."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.ndjson import Ndjson
from millstream.database.framing import csv_lines, json_objects

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    '\\Nv"\n\t\r:,\x0b\x01'
)
ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def copied_text(cell: str | None) -> str:
    """A cell in COPY's text format (PostgreSQL's manual, COPY, Text Format)."""
    return "\\N" if cell is None else re.sub(r"[\b\f\n\r\t\v\\]", lambda found: ESCAPES[found[0]], cell)


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_lines_end_with_cr_lf_and_their_cells_stay(rows: list[tuple[str, str]]) -> None:
    files = [io.StringIO(newline="") for _ in range(2)]
    for file, end in zip(files, ("\n", "\r\n"), strict=True):
        csv.writer(file, lineterminator=end).writerows(rows)
    block = bytearray(_quoted_as_postgresql(files[0].getvalue(), rows).encode())
    found = list(csv.reader(io.StringIO(csv_lines(len(rows), block).decode(), newline="")))
    assert found == [list(row) for row in rows]
    assert csv_lines(len(rows), block).count(b"\r\n") >= len(rows)


def _quoted_as_postgresql(written: str, rows: list[tuple[str, str]]) -> str:
    """Where Python quotes line ends by what it ends lines with, PostgreSQL quotes all of them."""
    if not any("\r" in cell for row in rows for cell in row):
        return written
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


@given(st.lists(st.tuples(TEXT | st.none(), st.integers() | st.none())), TEXT)
def test_objects_are_those_of_the_codec(rows: list[tuple[str | None, int | None]], name: str) -> None:
    frame = (
        json_objects([name, "n"], [True, False], b"\n")
        if name != "n"
        else json_objects(["t", "n"], [True, False], b"\n")
    )
    key = name if name != "n" else "t"
    lines = [f"{copied_text(text)}\t{copied_text(None if n is None else str(n))}\n" for text, n in rows]
    codec = Ndjson(action="a", charset="utf-8")
    found = frame(len(rows), bytearray("".join(lines).encode()))
    assert found == b"".join(codec.item({key: text, "n": n}) for text, n in rows)
    assert [json.loads(line) for line in found.splitlines()] == [{key: text, "n": n} for text, n in rows]


@pytest.mark.parametrize("end", [b"\n", b",\n"])
def test_no_rows_are_no_bytes(end: bytes) -> None:
    assert json_objects(["a"], [True], end)(0, bytearray()) == b""
    assert csv_lines(0, bytearray()) == b""


def test_what_follows_an_object_follows_each() -> None:
    assert json_objects(["a"], [False], b",\n")(2, bytearray(b"1\n2\n")) == b'{"a":1},\n{"a":2},\n'
