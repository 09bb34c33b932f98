"""Cells of a spreadsheet (ECMA-376 part 1, §18.3.1.4): the XML of one value, after the cell's reference.

What a spreadsheet would change is written as text: a number has 15 digits there, and no date lies before
March 1900. It knows no zones either: a moment with one is a date in UTC, and its format says so. Text stands
in its cell (`inlineStr`), where nothing is taken for a formula.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import Any, Final

from millstream.codecs.values import VALUES, Values

MOST_CHARACTERS: Final = 32_767
"""Of one cell, counted in UTF-16."""

BLANK: Final = '"/>'


def cell_xml(value: Any, values: Values = VALUES) -> str:
    """One cell from behind its reference, as in `<c r="A1` + `"><v>5</v></c>`.

    Raises:
        TypeError: as `Values`.
        ValueError: as `Values`; when a text is longer than a cell may hold.
        RecursionError: as `Values`.
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    settled = values.settled(value)
    write = _WRITERS.get(type(settled))
    return text_xml(str(values.cell(value))) if write is None else write(settled)


def text_xml(text: str) -> str:
    """Text from behind a cell's reference.

    Raises:
        ValueError: when it is longer than a cell may hold.
    """
    if len(text) > MOST_CHARACTERS // 2 and len(text.encode("utf-16-le")) // 2 > MOST_CHARACTERS:
        raise ValueError(f"a cell of a spreadsheet holds {MOST_CHARACTERS} characters at most")
    return f'" t="inlineStr"><is><t xml:space="preserve">{escaped(text)}</t></is></c>'


def escaped(text: str) -> str:
    """Text for XML: what XML cannot say is written as `_x001B_`, and what looks like that as well."""
    return _SPECIAL.sub(_escape, text) if _SUSPICIOUS(text) else text


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _ENTITIES.get(character) or f"_x{ord(character):04X}_"


def _number_xml(number: object) -> str:
    return f'"><v>{number}</v></c>'


def _integer_xml(value: int) -> str:
    return _number_xml(value) if -_TOO_LARGE < value < _TOO_LARGE else text_xml(str(value))


def _float_xml(value: float) -> str:
    return _number_xml(repr(value)) if isfinite(value) else BLANK


def _decimal_xml(value: Decimal) -> str:
    if not value.is_finite():
        return BLANK  # as JSON's null
    fits = len(value.as_tuple().digits) <= _DIGITS and abs(value.adjusted()) < _MOST_EXPONENT
    return _number_xml(value) if fits else text_xml(str(value))


def _datetime_xml(value: datetime) -> str:
    style, reading = 1, value
    if value.tzinfo is not None:
        style, reading = 5, local(value, UTC)
    if reading.tzinfo is not None or reading < _FIRST_DAY:
        return text_xml(value.isoformat())
    return f'" s="{style}"><v>{_days(reading - _DAY_ZERO)!r}</v></c>'


def local(value: datetime, zone: tzinfo) -> datetime:
    """What a calendar and a clock of a zone show; the moment itself where Python's calendar ends before."""
    try:
        return value.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return value


def _date_xml(value: date) -> str:
    days = value.toordinal() - _DAY_ZERO.toordinal()
    return f'" s="2"><v>{days}</v></c>' if days > _LAST_FALSE_DAY else text_xml(value.isoformat())


def _time_xml(value: time) -> str:
    if value.tzinfo is not None:
        return text_xml(value.isoformat())
    since = timedelta(
        hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
    )
    return f'" s="3"><v>{_days(since)!r}</v></c>'


def _duration_xml(value: timedelta) -> str:
    if value < timedelta():
        return text_xml(str(VALUES.cell(value)))
    return f'" s="4"><v>{_days(value)!r}</v></c>'


def _days(since: timedelta) -> float:
    return since.days + (since.seconds + since.microseconds / 1_000_000) / 86_400


STYLES: Final = (
    "General",
    "yyyy\\-mm\\-dd\\ hh:mm:ss",
    "yyyy\\-mm\\-dd",
    "hh:mm:ss",
    "[h]:mm:ss",
    "yyyy\\-mm\\-dd\\ hh:mm:ss\\ &quot;UTC&quot;",
)
"""Formats of numbers, in the order of the attribute `s`."""

_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    NoneType: lambda _: BLANK,
    str: text_xml,
    bool: lambda value: f'" t="b"><v>{value:d}</v></c>',
    int: _integer_xml,
    float: _float_xml,
    Decimal: _decimal_xml,
    datetime: _datetime_xml,
    date: _date_xml,
    time: _time_xml,
    timedelta: _duration_xml,
}
_DIGITS: Final = 15
_TOO_LARGE: Final = 10**_DIGITS
_MOST_EXPONENT: Final = 300
_DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001  a calendar's reading has no zone
_LAST_FALSE_DAY: Final = 60  # 1900-02-29, which there never was
_FIRST_DAY: Final = _DAY_ZERO + timedelta(_LAST_FALSE_DAY + 1)

# A carriage return is legal in XML, but read as a line feed; `_x` would be read as an escape of ours.
_SUSPICIOUS: Final = re.compile("[&<>_\x00-\x08\x0b-\x1f\ufffe\uffff]").search
_SPECIAL: Final = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
