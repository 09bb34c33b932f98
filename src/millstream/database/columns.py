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
        if code == _NUMERIC and described[4] is not None:
            return Column(name, Decimal, **_digits(*described[4:6]))
        return Column(name, **_nested(_SENT.get(code, _AS_TEXT), type_))
    return Column(name, _declared(type_), **_details(type_, dialect))


def converts(type_: TypeEngine[Any], dialect: Dialect, code: object) -> bool:
    """Whether SQLAlchemy makes something else of what the driver gives."""
    return type_.dialect_impl(dialect).result_processor(dialect, code) is not None


def _digits(precision: int, scale: int) -> dict[str, Any]:
    """Precision and scale of a numeric; PostgreSQL's scale may be negative, or larger than the precision."""
    scale = ((scale & 0x7FF) ^ 0x400) - 0x400  # the driver takes the sign for a digit
    return {"precision": max(precision - min(scale, 0), scale), "scale": max(scale, 0)}


def _nested(sent: dict[str, Any], type_: TypeEngine[Any]) -> dict[str, Any]:
    """An array of several dimensions has lists in lists; PostgreSQL does not tell, SQLAlchemy's type may."""
    if not isinstance(type_, ARRAY) or not type_.dimensions:
        return sent
    kind = sent["kind"]
    for _ in range(1, type_.dimensions):
        kind = list[kind]  # type: ignore[valid-type]  # a type made at run time
    return {**sent, "kind": kind}


def _declared(type_: TypeEngine[Any]) -> Any:
    """The kind that SQLAlchemy makes of a value; text where it does not say, Any where nothing is known."""
    if isinstance(type_, NullType):
        return Any
    if isinstance(type_, JSON):
        return str
    if isinstance(type_, ARRAY):
        return _nested({"kind": list[_declared(type_.item_type)]}, type_)["kind"]  # type: ignore[misc]  # made at run time
    if isinstance(type_, TypeDecorator) and type(type_).python_type is TypeEngine.python_type:
        return str  # the author's own
    with suppress(NotImplementedError):  # what SQLAlchemy does not know either
        return type_.python_type
    return str


def _details(type_: TypeEngine[Any], dialect: Dialect) -> dict[str, Any]:
    is_sqlite = dialect.name == "sqlite"
    match type_:
        case Numeric() if type_.python_type is Decimal:
            scale = type_.scale if type_.decimal_return_scale is None else type_.decimal_return_scale
            if is_sqlite:  # which stores more digits than are declared, and shows so many behind the point
                return {"precision": _MOST_OF_DECIMAL, "scale": _SCALE if scale is None else scale}
            return {"precision": type_.precision, "scale": scale}
        case Integer() if is_sqlite:
            return {"bits": 64}
        case DateTime() | Time() if is_sqlite:
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


_NUMERIC: Final = 1700
_AS_TEXT: Final[dict[str, Any]] = {"kind": str}
"""Any other type: JSON may be of any kind, a numeric without a scale may have any number of digits."""
_SENT: Final[dict[int, dict[str, Any]]] = {
    16: {"kind": bool},
    17: {"kind": bytes},
    20: {"kind": int, "bits": 64},
    21: {"kind": int, "bits": 16},
    23: {"kind": int, "bits": 32},
    26: {"kind": int, "bits": 64},  # oid, of 32 bits without a sign
    700: {"kind": float, "bits": 32},
    701: {"kind": float, "bits": 64},
    1082: {"kind": date},
    1083: {"kind": time, "zoned": False},
    1114: {"kind": datetime, "zoned": False},
    1184: {"kind": datetime, "zoned": True},
    1186: {"kind": timedelta},
    1266: {"kind": time, "zoned": True},
    2950: {"kind": UUID},
    1000: {"kind": list[bool]},
    1001: {"kind": list[bytes]},
    1005: {"kind": list[int], "bits": 16},
    1007: {"kind": list[int], "bits": 32},
    1016: {"kind": list[int], "bits": 64},
    1028: {"kind": list[int], "bits": 64},
    1021: {"kind": list[float], "bits": 32},
    1022: {"kind": list[float], "bits": 64},
    1115: {"kind": list[datetime], "zoned": False},
    1182: {"kind": list[date]},
    1183: {"kind": list[time], "zoned": False},
    1185: {"kind": list[datetime], "zoned": True},
    1187: {"kind": list[timedelta]},
    1270: {"kind": list[time], "zoned": True},
    **{number: {"kind": list[str]} for number in (199, 1002, 1003, 1009, 1014, 1015, 1231, 2951, 3807)},
}
"""What psycopg makes of PostgreSQL's types, by their numbers, which never change (`pg_type.dat`)."""

_WITHOUT_NULL: Final[dict[Any, Callable[[Any], Any]]] = {
    str_to_datetime: datetime.fromisoformat,
    str_to_date: date.fromisoformat,
    str_to_time: time.fromisoformat,
}
"""What these do with anything but None, at once."""

_MOST_OF_DECIMAL: Final = 38  # digits of a `decimal128`
_SCALE: Final = 10  # SQLAlchemy's own, for a Numeric that says nothing
_MOST_DIGITS: Final = 6  # digits behind the point that a Decimal never has an exponent for
_NUMERICS: Final = frozenset({Numeric, NUMERIC, DECIMAL})
