"""Columns: what is known of the cells of a query before the first row is read.

PostgreSQL says what it sends, and that is the truth where SQLAlchemy only guesses: the sum of a bigint column
is a numeric. A type of SQLAlchemy's that converts what the driver gives has the last word; it does so here a
column at a time, which halves what a row costs. That a cell cannot be NULL is never said: an outer join may
make it so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import DECIMAL, JSON, NUMERIC, DateTime, Dialect, Integer, Numeric, Time
from sqlalchemy.engine import CursorResult
from sqlalchemy.engine.processors import str_to_date, str_to_datetime, str_to_time
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import GenerativeSelect
from sqlalchemy.types import ARRAY, NullType, TypeDecorator, TypeEngine

from millstream.protocol.columns import Column

Convert = Callable[[Sequence[Any]], list[Any]]
"""Converts the cells of one column."""


def columns_of(statement: Executable, result: CursorResult[Any]) -> tuple[Column, ...]:
    """The columns of a query that was run."""
    names = tuple(map(str, result.keys()))  # some are a kind of text of their own
    dialect = result.dialect
    described = result.cursor.description
    types = types_of(statement, len(names)) or [NullType()] * len(names)
    return tuple(
        _column(name, type_, told, dialect) for name, type_, told in zip(names, types, described, strict=True)
    )


def types_of(statement: Executable, width: int) -> Sequence[TypeEngine[Any]] | None:
    """SQLAlchemy's type of each column; None when it does not know, as of a text."""
    if not isinstance(statement, GenerativeSelect):
        return None
    types = [column.type for column in statement.selected_columns]
    return types if len(types) == width else None


def converters_of(
    types: Sequence[TypeEngine[Any]], result: CursorResult[Any], *, digits: bool
) -> dict[int, Convert]:
    """How the columns are converted of which SQLAlchemy makes something else, by their places.

    Args:
        types: of all columns.
        result: whose cells are read without it.
        digits: whether a Decimal may be a `msgspec.Raw` of its digits, which is had much faster.
    """
    described = result.cursor.description
    return {
        at: convert
        for at, type_ in enumerate(types)
        if (convert := _converter(type_, result.dialect, described[at][1], digits=digits))
    }


def scale_of(type_: TypeEngine[Any]) -> int | None:
    """How many digits behind the point SQLAlchemy gives to Decimals; None where `str` may do it otherwise."""
    if not isinstance(type_, Numeric) or type(type_) not in _NUMERICS or not type_.asdecimal:
        return None
    scale = next(each for each in (type_.decimal_return_scale, type_.scale, _SCALE) if each is not None)
    return scale if scale <= _MOST_DIGITS else None


def digits_of(scale: int) -> Callable[[Sequence[Any]], list[str] | None]:
    """The digits of floats, which are those of SQLAlchemy's Decimals; None if one is no number."""
    form = f"%.{scale}f\n"

    def digits(column: Sequence[Any]) -> list[str] | None:
        try:
            written = (form * len(column)) % tuple(column)
        except TypeError:  # one is NULL
            return None
        return None if "n" in written else written.splitlines()  # "nan" or "inf"

    return digits


def _column(name: str, type_: TypeEngine[Any], described: Sequence[Any], dialect: Dialect) -> Column:
    code = described[1]
    if dialect.name == "postgresql" and isinstance(code, int) and not converts(type_, dialect, code):
        known = _SENT.get(code)
        if known is None:
            return Column(name)
        column = known(name)
        if column.kind is Decimal:
            return Column(name, Decimal, precision=described[4], scale=described[5])
        return column
    return Column(name, *_declared(type_), **_details(type_, dialect))


def converts(type_: TypeEngine[Any], dialect: Dialect, code: object) -> bool:
    """Whether SQLAlchemy makes something else of what the driver gives."""
    return type_.dialect_impl(dialect).result_processor(dialect, code) is not None


def _declared(type_: TypeEngine[Any]) -> tuple[Any]:
    if isinstance(type_, TypeDecorator | JSON | NullType):  # the author's, and any JSON value
        return (Any,)
    if isinstance(type_, ARRAY):
        return (list[_declared(type_.item_type)[0]],)  # type: ignore[misc]  # a type made at run time
    with suppress(NotImplementedError):  # what SQLAlchemy does not know either
        return (type_.python_type,)
    return (Any,)


def _details(type_: TypeEngine[Any], dialect: Dialect) -> dict[str, Any]:
    match type_:
        case Numeric() if type_.python_type is Decimal:
            return {"precision": type_.precision, "scale": type_.scale}
        case Integer() if dialect.name == "sqlite":
            return {"bits": 64}
        case DateTime() | Time() if dialect.name == "sqlite":
            return {"zoned": False}
    return {}


def _converter(type_: TypeEngine[Any], dialect: Dialect, code: object, *, digits: bool) -> Convert | None:
    process = type_.dialect_impl(dialect).result_processor(dialect, code)
    if process is None:
        return None
    if digits and (scale := scale_of(type_)) is not None:
        return _raw_digits(scale)
    return _mapped(process, _WITHOUT_NULL.get(process, process))


def _mapped(process: Callable[[Any], Any], without_null: Callable[[Any], Any]) -> Convert:
    def convert(column: Sequence[Any]) -> list[Any]:
        try:
            return list(map(without_null, column))
        except TypeError:  # there is one
            return list(map(process, column))

    return convert


def _raw_digits(scale: int) -> Convert:
    digits, form = digits_of(scale), f"%.{scale}f"

    def one(value: Any) -> Any:
        if value is None:
            return None
        written = form % value
        return Decimal(written) if "n" in written else msgspec.Raw(written)

    def convert(column: Sequence[Any]) -> list[Any]:
        written = digits(column)
        return list(map(one, column)) if written is None else list(map(msgspec.Raw, written))

    return convert


_SENT: Final = {
    16: partial(Column, kind=bool),
    17: partial(Column, kind=bytes),
    18: partial(Column, kind=str),  # "char"
    19: partial(Column, kind=str),  # name
    20: partial(Column, kind=int, bits=64),
    21: partial(Column, kind=int, bits=16),
    23: partial(Column, kind=int, bits=32),
    25: partial(Column, kind=str),
    26: partial(Column, kind=int, bits=64),  # oid, of 32 bits without a sign
    700: partial(Column, kind=float, bits=32),
    701: partial(Column, kind=float, bits=64),
    1042: partial(Column, kind=str),
    1043: partial(Column, kind=str),
    1082: partial(Column, kind=date),
    1083: partial(Column, kind=time, zoned=False),
    1114: partial(Column, kind=datetime, zoned=False),
    1184: partial(Column, kind=datetime, zoned=True),
    1186: partial(Column, kind=timedelta),
    1266: partial(Column, kind=time, zoned=True),
    1700: partial(Column, kind=Decimal),
    2950: partial(Column, kind=UUID),
    1000: partial(Column, kind=list[bool]),
    1005: partial(Column, kind=list[int]),
    1007: partial(Column, kind=list[int]),
    1009: partial(Column, kind=list[str]),
    1015: partial(Column, kind=list[str]),
    1016: partial(Column, kind=list[int]),
    1021: partial(Column, kind=list[float]),
    1022: partial(Column, kind=list[float]),
    1115: partial(Column, kind=list[datetime]),
    1182: partial(Column, kind=list[date]),
    1231: partial(Column, kind=list[Decimal]),
}
"""What psycopg makes of PostgreSQL's types, by their numbers, which never change (`pg_type.dat`)."""

_WITHOUT_NULL: Final[dict[Any, Callable[[Any], Any]]] = {
    str_to_datetime: datetime.fromisoformat,
    str_to_date: date.fromisoformat,
    str_to_time: time.fromisoformat,
}
"""What these do with anything but None, at once."""

_SCALE: Final = 10  # SQLAlchemy's own, for a Numeric that says nothing
_MOST_DIGITS: Final = 6  # digits behind the point that a Decimal never has an exponent for
_NUMERICS: Final = frozenset({Numeric, NUMERIC, DECIMAL})
