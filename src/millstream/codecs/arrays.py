"""Arrays: the values of one column as an Arrow array, and what is done about a value of another kind.

pyarrow converts most values itself, but too kindly for some: it takes a naive time for UTC, forgets a zone it
has no place for and cuts a datetime down to its date. So each shape names the types that pass as they are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import accumulate, chain
from numbers import Real
from types import NoneType
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from millstream.codecs.natures import Nature
from millstream.codecs.values import VALUES, Cell, is_nan, number_text

UNFIT: Final = (
    pa.ArrowException,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)
"""What making an array may raise because of a value."""

LISTS: Final = (list, tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the values of one column become an array.

    Raises:
        one of `UNFIT`: from `array`, when a value does not fit.
    """

    type: Any  # pyarrow.DataType
    array: Callable[[Sequence[Any]], Any]  # pyarrow.Array


def plain_shape(type_: Any, kinds: tuple[type, ...], mend: Callable[[Any], Any] | None = None) -> Shape:
    """Values of these types are pyarrow's affair, others are mended one by one."""
    passing = frozenset({*kinds, NoneType})

    def array(values: Sequence[Any]) -> Any:
        if passing.issuperset(map(type, values)):
            try:
                return pa.array(values, type_)
            except pa.ArrowInvalid:
                if mend is None:
                    raise
        if mend is None:
            raise TypeError("it is of another kind")
        return pa.array([None if value is None else mend(value) for value in values], type_)

    return Shape(type_, array)


def integers(bits: int) -> Shape:
    """Integers, numpy's and those of enums among them."""
    return plain_shape({16: pa.int16(), 32: pa.int32()}.get(bits, pa.int64()), (int,), _integer)


def floats(bits: int) -> Shape:
    """Numbers, NaN and infinity among them."""
    return plain_shape({32: pa.float32()}.get(bits, pa.float64()), (float, int), _real)


def decimals(precision: int, scale: int) -> Shape:
    """Exact numbers; NaN and infinity are NULL, as in JSON: Arrow has no such decimals."""
    return plain_shape(pa.decimal128(precision, scale), (Decimal, int), _decimal)


def truths() -> Shape:
    """True and false."""
    return plain_shape(pa.bool_(), (bool,), _truth)


def datetimes(*, zoned: bool) -> Shape:
    """Moments, told in UTC; or the readings of a calendar and a clock, of no zone."""
    type_ = pa.timestamp("us", "UTC" if zoned else None)
    return _of_clock(
        type_, datetime, f"it is no datetime {'with' if zoned else 'without'} a zone", zoned=zoned
    )


def times() -> Shape:
    """Times of day, which in Arrow have no zone."""
    return _of_clock(pa.time64("us"), time, "it is no time without a zone", zoned=False)


def shape_of_type(type_: Any) -> Shape:
    """Values for a column that has its type from elsewhere."""
    types = pa.types
    if types.is_timestamp(type_):
        zoned = type_.tz is not None
        return _of_clock(
            type_, datetime, f"it is no datetime {'with' if zoned else 'without'} a zone", zoned=zoned
        )
    if types.is_boolean(type_):
        return plain_shape(type_, (bool,))
    if types.is_integer(type_):
        return plain_shape(type_, (int,))
    if types.is_floating(type_):
        return plain_shape(type_, (float, int))
    if types.is_date(type_):
        return plain_shape(type_, (date,))
    return Shape(type_, lambda values: pa.array(list(values), type_))


def lists(inner: Shape) -> Shape:
    """Lists of whatever an inner shape knows."""
    type_ = pa.list_(inner.type)

    def array(values: Sequence[Any]) -> Any:
        found = [None if value is None else _listed(value) for value in values]
        ends = accumulate((len(each or ()) for each in found), initial=0)
        offsets = [None if each is None else end for end, each in zip(ends, [*found, []], strict=True)]
        flat = inner.array(list(chain.from_iterable(each for each in found if each)))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type_)

    return Shape(type_, array)


def _of_clock(type_: Any, kind: type[datetime | time], otherwise: str, *, zoned: bool) -> Shape:
    passing = frozenset({kind, NoneType})

    def array(values: Sequence[Any]) -> Any:
        if not passing.issuperset(map(type, values)):
            raise TypeError(otherwise)
        if any(value is not None and (value.tzinfo is not None) is not zoned for value in values):
            raise TypeError(otherwise)
        return pa.array(values, type_)

    return Shape(type_, array)


def _texts(values: Sequence[Any]) -> Any:
    if _TEXTS.issuperset(map(type, values)):
        return pa.array(values, pa.utf8())
    return pa.array(list(map(_text, VALUES.cells(values))), pa.utf8())


def _text(cell: Cell) -> str | None:
    if isinstance(cell, float | Decimal):  # a float that is none, among texts, is pandas' for a missing text
        return None if isinstance(cell, float) and is_nan(cell) else number_text(cell)
    return None if cell is None else str(cell)


def _integer(value: Any) -> int:
    return operator.index(value.value if isinstance(value, Enum) else value)


def _real(value: Any) -> float:
    if not isinstance(value, Real | Decimal):
        raise TypeError("it is no number")
    number = float(value)
    if isinstance(value, int) and number != value:
        raise ValueError("it has more digits than a float")
    return number


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, float):
        value = Decimal(repr(value))  # the digits it is written with, not those of its binary fraction
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return Decimal(operator.index(value))


def _truth(value: Any) -> bool:
    if isinstance(value, Real) and value in (0, 1):  # SQLite knows no other
        return bool(value)
    raise TypeError("it is neither true nor false")


def _listed(value: Any) -> list[Any]:
    """The values of a list, or of what stands for one, as arrays of numpy and columns of frames do."""
    while not isinstance(value, LISTS):
        adapter = VALUES.adapters[type(value)]
        if adapter.nature is not Nature.VALUE:
            raise TypeError("it is no list")
        value = adapter.read(value)
    return list(value)


_TEXTS: Final = frozenset({str, NoneType})

TEXT: Final = Shape(pa.utf8(), _texts)
"""What takes every value, written as in a cell of CSV."""
