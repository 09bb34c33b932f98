"""Scalars: values that stand for one of the plain types, and their collections.

A subclass is what its class is. What has no value is None in every format. A moment or a duration that
Python's own types cannot hold, with nanoseconds or beyond the year 9999, becomes its ISO 8601 text.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from numbers import Integral
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from millstream.codecs.natures import Adapter, Nature, is_named


def missing(kind: type) -> Adapter | None:
    """The values of pandas for what is not there."""
    return _MISSING if is_named(kind, "pandas", "NaTType", "NAType") else None


def enum(kind: type) -> Adapter | None:
    """Members of enumerations, by their values."""
    return _ENUM if issubclass(kind, Enum) else None


def arrow_interval(kind: type) -> Adapter | None:
    """Intervals of Arrow, which are tuples: a duration of months has no type in Python."""
    return Adapter(Nature.VALUE, _interval_text) if is_named(kind, "builtins", "MonthDayNano") else None


def subclass(kind: type) -> Adapter | None:
    """Classes that derive from a plain type, pandas' and pendulum's moments among them."""
    read = next((read for base, read in _BASES.items() if issubclass(kind, base)), None)
    if read is not None:
        return Adapter(Nature.VALUE, read)
    return _COLLECTION if issubclass(kind, list | tuple | set | frozenset) else None


def text_like(kind: type) -> Adapter | None:
    """What is written as its text; a secret of pydantic has the text that hides it."""
    is_pydantics = is_named(kind, "pydantic", "_BaseUrl", "_BaseMultiHostUrl", "_SecretBase", "Color")
    is_text = is_pydantics or issubclass(kind, _TEXT_LIKE) or is_named(kind, "django", "FieldFile")
    return Adapter(Nature.VALUE, str) if is_text else None


def collection(kind: type) -> Adapter | None:
    """Collections in memory that are no lists: deques, ranges, the keys and values of a dict."""
    is_known = issubclass(kind, (collections.abc.Sequence, collections.abc.Set, collections.abc.ValuesView))
    return Adapter(Nature.VALUE, list) if is_known else None


def numpy_value(kind: type) -> Adapter | None:
    """Scalars and arrays of numpy; rows of a structured array are records."""
    if is_named(kind, "numpy", "void"):
        return Adapter(Nature.RECORD, _void)
    if is_named(kind, "numpy", "datetime64"):
        return Adapter(Nature.VALUE, _datetime64)
    if is_named(kind, "numpy", "timedelta64"):
        return Adapter(Nature.VALUE, _timedelta64)
    if is_named(kind, "numpy", "longdouble"):
        return Adapter(Nature.VALUE, float)
    if is_named(kind, "numpy", "ndarray"):
        return Adapter(Nature.VALUE, _array)
    return Adapter(Nature.VALUE, _item) if is_named(kind, "numpy", "generic") else None


def _item(value: Any) -> Any:
    return value.item()


def _array(array: Any) -> Any:
    """An array as lists; its elements stay numpy's own where Python has no such values."""
    if array.dtype.names is not None or array.dtype.kind in _OF_TIME:
        return list(array) if array.ndim else array[()]
    return array.tolist()


def _void(row: Any) -> dict[str, Any]:
    if row.dtype.names is None:
        raise TypeError("it holds a numpy.void without names")
    return {name: row[name] for name in row.dtype.names}


def _datetime64(value: Any) -> datetime | date | str | None:
    if value != value:  # noqa: PLR0124  NaT, of which numpy is no part of ours
        return None
    unit = value.dtype.name.partition("[")[2].rstrip("]")
    if unit in {"Y", "M", "W", "D"}:
        found = value.astype("datetime64[D]").item()
    else:
        in_microseconds = value.astype("datetime64[us]")
        found = in_microseconds.item() if in_microseconds == value else None
    return found if isinstance(found, date) else str(value)


def _timedelta64(value: Any) -> timedelta | str | None:
    if value != value:  # noqa: PLR0124  as above
        return None
    in_microseconds = value.astype("timedelta64[us]")
    if in_microseconds != value:
        return duration_text(int(value.astype("timedelta64[ns]").astype("int64")))
    return timedelta(microseconds=int(in_microseconds.astype("int64")))


def _datetime(value: Any) -> datetime | str:
    if getattr(value, "nanosecond", 0):
        return str(value.isoformat())
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )


def _time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _timedelta(value: Any) -> timedelta | str:
    if getattr(value, "nanoseconds", 0):
        return duration_text(int(value.value))
    # Not the attributes, which a subclass may give another meaning, such as pendulum's months.
    days, seconds, microseconds = (getattr(timedelta, name).__get__(value) for name in _PARTS)
    return timedelta(days, seconds, microseconds)


def duration_text(nanoseconds: int) -> str:
    """A duration as ISO 8601 writes it."""
    whole, rest = divmod(abs(nanoseconds), 10**9)
    return f"{'-' if nanoseconds < 0 else ''}PT{whole}.{rest:09}".rstrip("0").rstrip(".") + "S"


def _interval_text(interval: Any) -> str:
    parts = ((interval.months, "M"), (interval.days, "D"))
    date_part = "".join(f"{count}{unit}" for count, unit in parts if count)
    time_part = duration_text(interval.nanoseconds).replace("P", "", 1) if interval.nanoseconds else ""
    return f"P{date_part}{time_part}" if date_part or time_part else "PT0S"


def _integer(value: Any) -> int:
    return int(value)


_PARTS: Final = ("days", "seconds", "microseconds")
_OF_TIME: Final = frozenset("mM")  # numpy's codes of durations and moments
_MISSING: Final = Adapter(Nature.VALUE, lambda _: None)
_ENUM: Final = Adapter(Nature.VALUE, lambda member: member.value, native=True)
_COLLECTION: Final = Adapter(Nature.PLAIN, native=True)
_TEXT_LIKE: Final = (
    PurePath,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
_BASES: Final[dict[type, Callable[[Any], Any]]] = {  # a subclass before its base
    str: str.__str__,
    bytes: bytes,
    bytearray: bytes,
    Integral: _integer,
    float: float.__float__,
    Decimal: Decimal,
    datetime: _datetime,
    date: lambda day: date(day.year, day.month, day.day),
    time: _time,
    timedelta: _timedelta,
    UUID: lambda value: UUID(int=value.int),
}
