"""What one value may be, inside an item: JSON for objects, text for the cells of a table.

msgspec knows most by itself: dates, times and durations become ISO 8601, UUIDs text, enums their value,
bytes base64, NaN and infinity null, sets arrays. `plain` adds what it does not know; `json_bytes` mends
the one thing it gets wrong. Everything else is refused, not guessed from its `repr`.
"""

from __future__ import annotations

import collections.abc
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import singledispatch
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from numbers import Integral
from pathlib import PurePath
from types import NoneType
from typing import Any, Final
from uuid import UUID

import msgspec

from millstream.codecs.rows import row_reader

Cell = str | int | float | Decimal | None
"""What the `csv` module writes as we want it written."""


@singledispatch
def plain(value: object) -> object:
    """Turn a value that msgspec does not know into one it does.

    Raises:
        TypeError: when nobody knows it.
    """
    reader = row_reader(type(value))
    if reader is None:
        kind = type(value)
        raise TypeError(f"it holds a {kind.__module__}.{kind.__qualname__}")
    return reader(value)


@plain.register
def _(
    value: str
    | PurePath
    | IPv4Address
    | IPv4Interface
    | IPv4Network
    | IPv6Address
    | IPv6Interface
    | IPv6Network,
) -> str:
    return str(value)


@plain.register(Integral)  # numpy's integers, too
def _(value: Any) -> int:
    return int(value)


@plain.register
def _(value: float) -> float:  # numpy's float64, too
    return float(value)


@plain.register
def _(value: Decimal) -> Decimal:
    return Decimal(value)


@plain.register
def _(value: bytes) -> bytes:
    return bytes(value)


@plain.register
def _(value: date | time) -> str:  # a subclass' own, such as pandas' Timestamp
    return value.isoformat()


@plain.register
def _(value: msgspec.Raw) -> object:  # asked by `cell` only: the JSON encoder copies it
    return msgspec.json.decode(value)


@plain.register
def _(value: timedelta) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


@plain.register
def _(value: bool | None) -> str:  # msgspec asks about these as keys only
    return {True: "true", False: "false", None: "null"}[value]


@plain.register(collections.abc.Set)
def _(value: collections.abc.Set[Any]) -> list[Any]:
    return list(value)


@plain.register(collections.abc.Sequence)
def _(value: collections.abc.Sequence[Any]) -> object:
    reader = row_reader(type(value))  # SQLAlchemy's rows are sequences as well
    return list(value) if reader is None else reader(value)


def json_bytes(value: Any) -> bytes:
    """Encode a value as JSON.

    Raises:
        TypeError: when it holds something JSON cannot say.
        ValueError: when it holds text with lone surrogates, or a number beyond Python's own limits.
        RecursionError: when it contains itself.
    """
    try:
        return _mended(_encode(value))
    except ValueError as error:
        return _null_for_decimals(error).encode(value)


def json_lines(values: list[Any]) -> bytes:
    """Encode values as JSON, each followed by a line feed.

    Raises:
        TypeError: as `json_bytes`.
        ValueError: as `json_bytes`.
        RecursionError: as `json_bytes`.
    """
    try:
        return _mended(_encode_lines(values))
    except ValueError as error:
        return _null_for_decimals(error).encode_lines(values)


def json_cells(column: Sequence[Any]) -> Sequence[str]:
    """Encode the cells of one column, each as JSON of its own; one call for all of them.

    Raises:
        TypeError: as `json_bytes`.
        ValueError: as `json_bytes`.
        RecursionError: as `json_bytes`.
    """
    cells = json_bytes(column)[1:-1].decode().split(",")
    if len(cells) == len(column):  # so none has a comma inside
        return cells
    return [json_bytes(value).decode() for value in column]


def cells_of(column: Sequence[Any]) -> Sequence[Cell]:
    """The cells of one column of a table, as `cell` makes each; most columns are of one simple type.

    Raises:
        TypeError: as `json_bytes`.
        ValueError: as `json_bytes`.
        RecursionError: as `json_bytes`.
    """
    kinds = set(map(type, column))
    if kinds <= AS_IT_IS:
        return column
    if kinds <= _TRUTHS:
        return [_TRUTH_CELLS[value] for value in column]
    if kinds <= _TEXTS:  # one call for all of them
        texts: list[Cell] = msgspec.to_builtins(list(column))
        return texts
    return [cell(value) for value in column]


def cell(value: Any) -> Cell:
    """Turn a value into the cell of a table: as in JSON but without quotes, nested objects as JSON text.

    Raises:
        TypeError: as `json_bytes`.
        ValueError: as `json_bytes`.
        RecursionError: as `json_bytes`.
    """
    built = msgspec.to_builtins(value, enc_hook=plain, builtin_types=(Decimal,))
    if isinstance(built, bool):
        return "true" if built else "false"
    if built is None or isinstance(built, str | int | float | Decimal):
        return built
    return json_bytes(built).decode()


def last_words(words: Mapping[str, Any]) -> bytes:
    """Encode what must be said somehow: as JSON, whatever it holds, on one line."""
    for encode in (json_bytes, _encode_roughly):
        try:
            return encode(words).replace(b"\n", b" ")
        except Exception:  # noqa: BLE001, S112  a body's last words must not raise: the next way is plainer
            continue
    return b'{"title":"Internal Server Error","status":500}'


def _encode_roughly(words: Mapping[str, Any]) -> bytes:
    """Encode in ASCII, where lone surrogates are escapes, with `repr` for what is no JSON."""
    return json.dumps(words, default=repr, skipkeys=True, allow_nan=False).encode()


def _mended(data: bytes) -> bytes:
    # 15 ns each for the single bytes, 150 for the words: only a line with an N or an I is looked at closely.
    if (_N in data and b"NaN" in data) or (_I in data and b"Infinity" in data):
        return _TOKENS.sub(_null_for_what_is_no_number, data)
    return data


def _null_for_decimals(refusal: ValueError) -> msgspec.json.Encoder:
    """Who writes null for what msgspec 0.23 refuses and its forerunners wrote, and the rest as it was."""
    if "non-finite" not in str(refusal):
        raise refusal
    return msgspec.json.Encoder(
        enc_hook=plain,
        decimal_format=lambda value: msgspec.Raw(str(value).encode()) if value.is_finite() else None,
    )


def _null_for_what_is_no_number(token: re.Match[bytes]) -> bytes:
    return token[0] if token[0].startswith(b'"') else b"null"


_encoder: Final = msgspec.json.Encoder(enc_hook=plain, decimal_format="number")
_encode: Final = _encoder.encode
_encode_lines: Final = _encoder.encode_lines
_N, _I = b"NI"
# msgspec writes a Decimal that is NaN or infinite as such, which is no JSON (RFC 8259 §6). Strings are
# matched whole, so that the words inside them stay.
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?(?:s?NaN[0-9]*+|Infinity)')

AS_IT_IS: Final = frozenset({str, int, float, Decimal, NoneType})
"""Types of cells that need no look: the `csv` module writes them as JSON would."""
_TRUTHS: Final = frozenset({bool, NoneType})
_TRUTH_CELLS: Final[dict[bool | None, Cell]] = {True: "true", False: "false", None: None}
_TEXTS: Final = frozenset({datetime, date, time, timedelta, UUID, NoneType})  # msgspec makes text of them
