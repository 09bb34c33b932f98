"""Columns: what a query says of its cells before the first is read."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    TypeDecorator,
    Uuid,
    column,
    func,
    literal_column,
    select,
    text,
)

from millstream.database import Database
from millstream.database.columns import digits_of, scale_of
from millstream.protocol.columns import Column


class Colour(enum.Enum):
    RED = "rouge"


class Loud(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        return value


class Counted(TypeDecorator[int]):
    impl = String
    cache_ok = True

    @property
    def python_type(self) -> type[int]:
        return int


def column_of(database: Database, chosen: Any) -> Column:
    source = database.rows(chosen)
    batches = source.batches()
    next(batches)
    batches.close()
    (found,) = source.columns
    return found


TOLD: list[tuple[str, Column]] = [
    ("1::smallint", Column("x", int, bits=16)),
    ("1::integer", Column("x", int, bits=32)),
    ("sum(1::integer)", Column("x", int, bits=64)),
    ("sum(1::bigint)", Column("x", str)),  # a numeric without a scale may have any number of digits
    ("1.5::numeric(12, 2)", Column("x", Decimal, precision=12, scale=2)),
    ("123::numeric(3, -2)", Column("x", Decimal, precision=5, scale=0)),
    ("0.00012::numeric(2, 5)", Column("x", Decimal, precision=5, scale=5)),
    ("1.5::real", Column("x", float, bits=32)),
    ("now()", Column("x", datetime, zoned=True)),
    ("now()::timestamp", Column("x", datetime, zoned=False)),
    ("now()::time", Column("x", time, zoned=False)),
    ("now()::date", Column("x", date)),
    ("now() - now()", Column("x", timedelta)),
    ("'{1}'::integer[]", Column("x", list[int], bits=32)),
    ("'{2026-01-02Z}'::timestamptz[]", Column("x", list[datetime], zoned=True)),
    ("'{1.5}'::numeric[]", Column("x", list[str])),
    ("'{}'::json", Column("x", str)),
    ("'1'::jsonb", Column("x", str)),
    ("'[1,2)'::int4range", Column("x", str)),
    ("'1'::money", Column("x", str)),
    ("'a'::text", Column("x", str)),
    ("true", Column("x", bool)),
    ("'a'::bytea", Column("x", bytes)),
    ("gen_random_uuid()", Column("x", UUID)),
]


@pytest.mark.parametrize(("expression", "expected"), TOLD, ids=[each[0] for each in TOLD])
def test_postgresql_tells_what_it_sends(
    postgresql: str, make_database: Callable[..., Database], expression: str, expected: Column
) -> None:
    database = make_database(postgresql)
    assert column_of(database, select(literal_column(expression, Integer).label("x"))) == expected
    assert column_of(database, text(f"select {expression} as x")) == expected


DECLARED: list[tuple[Any, Column]] = [
    (SmallInteger(), Column("x", int, bits=64)),
    (BigInteger(), Column("x", int, bits=64)),
    (Float(), Column("x", float)),
    (Double(), Column("x", float)),
    (Numeric(12, 2), Column("x", Decimal, precision=38, scale=2)),  # SQLite has room for more
    (Numeric(), Column("x", Decimal, precision=38, scale=10)),
    (Numeric(asdecimal=False), Column("x", float)),
    (String(), Column("x", str)),
    (Boolean(), Column("x", bool)),
    (DateTime(), Column("x", datetime, zoned=False)),
    (Time(), Column("x", time, zoned=False)),
    (Date(), Column("x", date)),
    (LargeBinary(), Column("x", bytes)),
    (Uuid(), Column("x", UUID)),
    (Enum(Colour), Column("x", Colour)),
    (JSON(), Column("x", str)),
    (Loud(), Column("x", str)),
    (Counted(), Column("x", int)),
]


@pytest.mark.parametrize(("type_", "expected"), DECLARED, ids=[repr(each[0]) for each in DECLARED])
def test_sqlite_holds_what_the_types_say(
    sqlite: str, make_database: Callable[..., Database], type_: Any, expected: Column
) -> None:
    nothing = select(column("x", type_)).select_from(text("(select null as x)")).where(text("false"))
    assert column_of(make_database(sqlite), nothing) == expected


def test_a_text_of_sqlite_s_says_only_names(sqlite: str, make_database: Callable[..., Database]) -> None:
    assert column_of(make_database(sqlite), text("select 1 as x")) == Column("x")


def test_a_type_that_converts_has_the_last_word(
    postgresql: str, make_database: Callable[..., Database]
) -> None:
    database = make_database(postgresql)
    for type_, kind in (
        (Numeric(asdecimal=False), float),
        (Enum(Colour), Colour),
        (ARRAY(Integer), list[int]),
    ):
        chosen = literal_column("null::numeric" if kind is float else "null", type_).label("x")
        assert column_of(database, select(chosen)).kind == kind


def test_an_array_has_the_dimensions_that_its_type_says(
    postgresql: str, make_database: Callable[..., Database]
) -> None:
    database = make_database(postgresql)
    plane = literal_column("'{{1,2},{3,4}}'::integer[]", ARRAY(Integer, dimensions=2)).label("x")
    colours = literal_column("'{{RED}}'::text[]", ARRAY(Enum(Colour, native_enum=False), dimensions=2)).label(
        "x"
    )
    assert column_of(database, select(plane)).kind == list[list[int]]
    assert column_of(database, select(colours)).kind == list[list[Colour]]


def test_the_name_of_a_column_is_plain_text(sqlite: str, make_database: Callable[..., Database]) -> None:
    found = column_of(make_database(sqlite), select(func.count().label("x")))
    assert type(found.name) is str


@pytest.mark.parametrize(
    ("type_", "scale"),
    [
        (Numeric(12, 2), 2),
        (Numeric(12, 0), 0),
        (Numeric(20, 7), None),
        (Numeric(), None),
        (Numeric(asdecimal=False), None),
        (Integer(), None),
    ],
    ids=repr,
)
def test_digits_are_had_where_a_decimal_has_no_exponent(type_: Any, scale: int | None) -> None:
    assert scale_of(type_) == scale


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.integers(0, 6))
def test_digits_are_those_of_the_decimals(column: list[float], scale: int) -> None:
    assert digits_of(scale)(column) == [str(Decimal(f"{value:.{scale}f}")) for value in column]


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf"), "text"])
def test_a_column_of_more_than_numbers_has_no_digits(value: Any) -> None:
    assert digits_of(2)([1.5, value]) is None
