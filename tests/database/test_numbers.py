"""Numbers of stored JSON: floats to compute with, and written as they are stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, column, select, text

from millstream.codecs.catalogue import DEFAULT
from millstream.database import Database
from millstream.database.numbers import JsonNumber, loads

LONG = "0.12345678901234567890123"


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_float_that_python_reads_and_keeps_its_digits(number: Decimal) -> None:
    found, usual = loads(f"[{number}]")[0], json.loads(f"[{number}]")[0]
    assert found == usual
    assert Decimal(found.digits if isinstance(found, JsonNumber) else repr(found)) == number


@pytest.mark.parametrize("digits", ["0.1", "1.50", "1e5", "0.30000000000000004", "5e-324", "-0.0"])
def test_a_number_that_a_float_holds_is_one(digits: str) -> None:
    assert type(loads(digits)) is float


def test_it_is_computed_with_and_stored_again_as_a_float() -> None:
    found = loads(LONG)
    assert found * 2 == float(LONG) * 2
    assert json.dumps(found) == json.dumps(float(LONG))


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("format_", ["csv", "ndjson", "xml", "arrow"])
def test_stored_numbers_are_written_with_their_digits(
    url: str, make_database: Callable[..., Database], format_: str
) -> None:
    stored = select(column("x", JSON)).select_from(text(f"(select '[{LONG}, 1e400]' as x) as t"))
    if url.startswith("postgresql"):
        stored = select(column("x", JSON)).select_from(text(f"(select json '[{LONG}, 1e400]' as x) as t"))
    codec = DEFAULT[format_](action="a", charset="utf-8")
    source = make_database(url).rows(stored)
    (batch,) = [batch for batch in source.batches() if batch]
    body = codec.head() + codec.rows(source.columns)(batch) + codec.tail()
    assert LONG.encode() in body
    assert b"1E+400" in body
