"""Shapes: which Arrow type a column has, settled before its first array leaves.

It is that of the declared kind. Where that is not known (any kind, a Decimal without a scale, a datetime that
may have a zone) a sample of the first values decides, and what the sample does not tell or does not agree
on becomes text: text takes every later value, any other guess would break the stream at the first one it did
not foresee. JSON objects and UUIDs are text in any case, which every reader knows. All columns may hold NULL:
an outer join makes it so of any.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from millstream.codecs.arrays import (
    LISTS,
    TEXT,
    Shape,
    datetimes,
    decimals,
    floats,
    integers,
    lists,
    plain_shape,
    times,
    truths,
)
from millstream.codecs.kinds import kind_of
from millstream.protocol.columns import Column

MOST_DIGITS: Final = 38
"""Of a Decimal: what every reader of Arrow and Parquet can hold."""

LEAST_SCALE: Final = 9
"""Digits behind the point of a Decimal nobody declared: later values may have more than the sample."""

MOST_LEVELS: Final = 32
"""Of lists in lists, in a column that nobody declared; Arrow's own format ends at 64."""

INTEGERS: Final = 2**63
"""From minus so many up: what every reader's integers hold."""


def shape_of(column: Column, sample: Iterable[Any]) -> Shape:
    """Settle the shape of a column."""
    return _of_kind(column.kind, column, [value for value in sample if value is not None])


def is_settled(column: Column) -> bool:
    """Whether the shape of a column needs no sample."""
    kind = kind_of(column.kind).type
    if kind is Decimal:
        return column.scale is not None
    if kind in (datetime, time):
        return column.zoned is not None
    if typing.get_origin(kind) is list:
        return is_settled(replace(column, kind=typing.get_args(kind)[0]))
    return kind not in (Any, list)


def _of_kind(kind: Any, column: Column, values: Sequence[Any]) -> Shape:
    kind = kind_of(kind).type
    origin = typing.get_origin(kind) or kind
    if origin is Any:
        return _of_sample(column, values)
    if not isinstance(origin, type):
        return TEXT
    if issubclass(origin, Enum):
        return _of_sample(column, [member.value for member in origin])
    if issubclass(origin, LISTS) and not hasattr(origin, "_fields"):
        return _of_lists(kind, column, values)
    make = next((_SHAPES[known] for known in _SHAPES if issubclass(origin, known)), None)
    return TEXT if make is None else make(column, values)


def _of_sample(column: Column, values: Sequence[Any]) -> Shape:
    """What the values of a sample have in common."""
    kinds = {_family(value) for value in values}
    if kinds == {list} and _is_deep(values):
        return TEXT
    if len(kinds) == 1:
        return _of_kind(kinds.pop(), column, values)
    for common, families in _COMMON.items():
        if kinds and kinds <= families:
            return _of_kind(common, column, values)
    return TEXT


def _is_deep(values: Sequence[Any]) -> bool:
    """Whether lists are nested in more levels than a reader of Arrow takes."""
    for _ in range(MOST_LEVELS):
        values = [each for value in values if isinstance(value, LISTS) for each in value]
    return any(isinstance(value, LISTS) for value in values)


def _family(value: Any) -> Any:
    """The kind of a value: an enum is one of its own, an integer too large for any reader is text."""
    if isinstance(value, Enum):
        return type(value)
    if isinstance(value, int) and not -INTEGERS <= value < INTEGERS:
        return str
    return next((family for known, family in _FAMILIES.items() if isinstance(value, known)), str)


def _of_lists(kind: Any, column: Column, values: Sequence[Any]) -> Shape:
    kinds = {each for each in typing.get_args(kind) if each is not Ellipsis}
    item = replace(column, kind=kinds.pop() if len(kinds) == 1 else Any)
    return lists(shape_of(item, (each for value in values if isinstance(value, LISTS) for each in value)))


def _of_decimals(column: Column, values: Sequence[Any]) -> Shape:
    if column.scale is None:
        digits = _digits_of([Decimal(v) for v in values if isinstance(v, int | Decimal)])
    else:
        digits = _digits(column)
    return TEXT if digits is None else decimals(*digits)


def _digits(column: Column) -> tuple[int, int] | None:
    """Precision and scale, where they are declared and every reader can hold them."""
    precision, scale = column.precision, column.scale
    if precision is None or scale is None or not 0 <= scale <= precision <= MOST_DIGITS:
        return None
    return precision, scale


def _digits_of(sample: Sequence[Decimal]) -> tuple[int, int] | None:
    """Room for every number of a sample, and as much more as there is; None when it is too small."""
    finite = [number for number in sample if number.is_finite()]
    scale = max([LEAST_SCALE, *(-int(number.as_tuple().exponent) for number in finite)])
    whole = max((number.adjusted() + 1 for number in finite), default=0)
    return (MOST_DIGITS, scale) if max(whole, 0) + scale <= MOST_DIGITS else None


def _of_datetimes(column: Column, values: Sequence[Any]) -> Shape:
    zones = {value.tzinfo is not None for value in values if isinstance(value, datetime)}
    if column.zoned is None and len(zones) > 1:
        return TEXT
    return datetimes(zoned=zones == {True} if column.zoned is None else column.zoned)


def _of_times(column: Column, values: Sequence[Any]) -> Shape:
    zoned = column.zoned or any(isinstance(value, time) and value.tzinfo is not None for value in values)
    return TEXT if zoned else times()


_Make = Callable[[Column, Sequence[Any]], Shape]
_SHAPES: Final[dict[type, _Make]] = {  # a subclass before its base
    bool: lambda _, __: truths(),
    int: lambda column, _: integers(column.bits or 64),
    float: lambda column, _: floats(column.bits or 64),
    Decimal: _of_decimals,
    bytes: lambda _, __: plain_shape(pa.binary(), (bytes, bytearray, memoryview)),
    datetime: _of_datetimes,
    date: lambda _, __: plain_shape(pa.date32(), (date,)),
    time: _of_times,
    timedelta: lambda _, __: plain_shape(pa.duration("us"), (timedelta,)),
}
_FAMILIES: Final[dict[type, type]] = {
    **{kind: kind for kind in _SHAPES},
    bytearray: bytes,
    memoryview: bytes,
    **dict.fromkeys(LISTS, list),
    Integral: int,
    Real: float,
}
_COMMON: Final[dict[type, set[type]]] = {float: {float, int}, Decimal: {Decimal, int}}
"""Kinds that hold values of several, though a sample shows them mixed."""
