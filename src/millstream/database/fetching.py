"""Fetching: the rows of a result as plain tuples, with what SQLAlchemy makes of their cells.

No object is made of a row, and cells are converted a column at a time: that halves what a row costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import msgspec
from sqlalchemy import DECIMAL, NUMERIC, Dialect, Numeric
from sqlalchemy.engine import CursorResult
from sqlalchemy.engine.processors import str_to_date, str_to_datetime, str_to_time
from sqlalchemy.sql.base import Executable
from sqlalchemy.types import TypeEngine

from millstream.database.columns import types_of
from millstream.protocol.dialects import Transposed

Fetch = Callable[[int], Sequence[Sequence[Any]]]
"""Reads so many rows; none when there are no more."""

Convert = Callable[[Sequence[Any]], list[Any]]
"""Converts the cells of one column."""


def fetching(statement: Executable, result: CursorResult[Any], *, digits: bool) -> Fetch:
    """How to read a result.

    Args:
        statement: what was run.
        result: of that.
        digits: whether a Decimal may be a `msgspec.Raw` of its digits, which is had much faster.
    """
    width = len(result.keys())
    types = types_of(statement, width)
    if types is None or result.dialect.name not in _PLAIN:
        return result.fetchmany
    converters = {
        at: convert
        for at, type_ in enumerate(types)
        if (convert := _converter(type_, result.dialect, result.cursor.description[at][1], digits=digits))
    }
    return _converted(result.cursor.fetchmany, width, converters) if converters else result.cursor.fetchmany


def _converted(fetch: Fetch, width: int, converters: dict[int, Convert]) -> Fetch:
    def fetch_converted(size: int) -> Sequence[Sequence[Any]]:
        cells = list(chain.from_iterable(fetch(size)))
        columns = [cells[at::width] for at in range(width)]
        for at, convert in converters.items():
            columns[at] = convert(columns[at])
        return Transposed(columns)

    return fetch_converted


def _converter(type_: TypeEngine[Any], dialect: Dialect, code: object, *, digits: bool) -> Convert | None:
    process = type_.dialect_impl(dialect).result_processor(dialect, code)
    if process is None:
        return None
    if digits and isinstance(type_, Numeric) and type(type_) in _NUMERICS and type_.asdecimal:
        scale = next(each for each in (type_.decimal_return_scale, type_.scale, _SCALE) if each is not None)
        if scale <= _FEW:
            return _digits(scale)
    return _mapped(process, _WITHOUT_NULL.get(process, process))


def _mapped(process: Callable[[Any], Any], without_null: Callable[[Any], Any]) -> Convert:
    def convert(column: Sequence[Any]) -> list[Any]:
        try:
            return list(map(without_null, column))
        except TypeError:  # there is one
            return list(map(process, column))

    return convert


def _digits(scale: int) -> Convert:
    """The digits of floats, as many as SQLAlchemy gives to the Decimals it makes of them."""
    form = f"%.{scale}f"

    def one(value: Any) -> Any:
        if value is None:
            return None
        written = form % value
        return Decimal(written) if "n" in written else msgspec.Raw(written)

    def convert(column: Sequence[Any]) -> list[Any]:
        try:
            written = (f"{form}\n" * len(column)) % tuple(column)
        except TypeError:  # one is NULL, or no number
            return list(map(one, column))
        if "n" in written:  # "nan" or "inf"
            return list(map(one, column))
        return list(map(msgspec.Raw, written.splitlines()))

    return convert


_PLAIN: Final = frozenset({"sqlite"})
"""Databases whose cursors SQLAlchemy reads only when it is asked to; of the others it may buffer rows."""

_WITHOUT_NULL: Final[dict[Any, Callable[[Any], Any]]] = {
    str_to_datetime: datetime.fromisoformat,
    str_to_date: date.fromisoformat,
    str_to_time: time.fromisoformat,
}
"""What these do with anything but None, at once."""

_SCALE: Final = 10  # SQLAlchemy's own, for a Numeric that says nothing
_FEW: Final = 6  # digits behind the point that a Decimal never has an exponent for
_NUMERICS: Final = frozenset({Numeric, NUMERIC, DECIMAL})
