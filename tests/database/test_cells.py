"""Cells: numbers of all sizes, as PostgreSQL is made to write them and as Python does."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millstream.codecs.values import VALUES
from millstream.database.cells import Described, expression_for, is_quoted
from millstream.protocol.dialects import CsvDialect, JsonLines, RecordBatches

FLOAT, NUMERIC = Described(701, None, None, in_utc=True), Described(1700, None, None, in_utc=True)
# Whole floats beyond 2^53 are where the shortest digits may lie half-way between two.
FLOATS = st.floats() | st.integers(1, 99).flatmap(
    lambda n: st.integers(15, 300).map(lambda e: float(f"{n}e{e}"))
)
DECIMALS = st.decimals(allow_nan=True, allow_infinity=True, places=None).filter(
    lambda number: not number.is_finite() or -100 < number.adjusted() < 100
)


@pytest.fixture(scope="module")
def connection(server: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url, autocommit=True) as made:
        yield made


def written(
    connection: psycopg.Connection[Any], kind: str, column: Described, values: list[Any]
) -> list[Any]:
    """Each value in CSV and in JSON, and what the driver makes of it."""
    cells = [expression_for(dialect, column) for dialect in (CsvDialect(), JsonLines())]
    chosen = ", ".join(str(cell).replace("{c}", "c") for cell in cells)
    query = f"select {chosen}, c from unnest(%s::{kind}[]) with ordinality as t (c, n) order by n"  # noqa: S608  ours, all of it
    return connection.execute(query.encode(), [values]).fetchall()


_SPELLED = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FLOATS, min_size=1, max_size=200))
@example([math.nan, math.inf, -math.inf])
def test_any_float_is_written_as_python_writes_it(
    connection: psycopg.Connection[Any], values: list[float]
) -> None:
    for value, (csv, json, _) in zip(values, written(connection, "float8", FLOAT, values), strict=True):
        assert csv == _SPELLED.get(str(value), str(value))
        assert (json or "null").encode() == VALUES.json(value)


def test_no_float_of_a_great_many_is_written_otherwise(connection: psycopg.Connection[Any]) -> None:
    chance = random.Random(1)  # noqa: S311  no secret
    values = [float(chance.getrandbits(bits)) for bits in range(50, 140) for _ in range(50)]
    values += [math.ldexp(chance.uniform(-1, 1), chance.randint(-60, 80)) for _ in range(5000)]
    found = [row[0] for row in written(connection, "float8", FLOAT, values)]
    assert found == list(map(str, values))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DECIMALS, min_size=1, max_size=100))
def test_any_numeric_is_written_as_python_writes_its_decimal(
    connection: psycopg.Connection[Any], values: list[Decimal]
) -> None:
    quiet = [Decimal("NaN") if value.is_nan() else value for value in values]
    for csv, json, value in written(connection, "numeric", NUMERIC, quiet):
        assert csv == str(value)
        assert (json or "null").encode() == VALUES.json(value)


@pytest.mark.parametrize("dialect", [CsvDialect(), JsonLines(), RecordBatches(None)], ids=str)
def test_a_type_nobody_knows_has_no_expression(dialect: Any) -> None:
    assert expression_for(dialect, Described(999_999, None, None, in_utc=True)) is None


@pytest.mark.parametrize(("precision", "scale"), [(None, None), (39, 2), (3, 5), (5, -2)])
def test_a_numeric_that_no_decimal128_holds_is_none(precision: int | None, scale: int | None) -> None:
    assert expression_for(RecordBatches(None), Described(1700, precision, scale, in_utc=True)) is None


def test_numbers_and_truth_have_no_quotes() -> None:
    assert [type_ for type_ in (16, 17, 20, 25, 701, 1114, 1700, 2950) if is_quoted(type_)] == [
        17,
        25,
        1114,
        2950,
    ]
