"""Values that formats of tables are tried with: what databases hold and readers stumble over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import inf, isnan, nan
from typing import Any
from uuid import UUID

import pytest

from millstream.protocol.columns import Column


class Colour(Enum):
    RED = "red"


PLAIN: dict[str, list[Any]] = {
    "integer": [1, None, -(2**63), 2**63 - 1],
    "small": [1, None, -(2**15), 2**15 - 1],
    "number": [0.1, None, nan, -inf],
    "exact": [Decimal("1.50"), None, Decimal("-0.01"), Decimal("9999999999.99")],
    "text": ["", None, 'quotes " and\r\nlines, and\ttabs', "é 中 😀 \0"],
    "truth": [True, None, False, True],
    "bytes": [b"", None, b"\0\xff\r\n", b"x" * 300],
    "day": [date(1, 1, 1), None, date(9999, 12, 31), date(2024, 2, 29)],
    "time": [time(0, 0), None, time(23, 59, 59, 999999), time(12, 30)],
    "moment": [
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        None,
        datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2262, 4, 12, tzinfo=UTC),
    ],
    "reading": [datetime(2024, 3, 31, 2, 30), None, datetime(1, 1, 1), datetime(9999, 12, 31)],  # noqa: DTZ001
    "duration": [timedelta(0), None, timedelta(days=-1, microseconds=1), timedelta(days=3000, seconds=1)],
    "list": [[1, None, 3], None, [], [2**62]],
}
"""By columns; each value is read back as itself."""

AS_TEXT: dict[str, list[Any]] = {
    "uuid": [UUID(int=1), None, UUID(int=2**128 - 1), UUID(int=0)],
    "json": [{"a": [1, None]}, None, {}, {"b": "é"}],
    "enum": [Colour.RED, None, Colour.RED, Colour.RED],
    "huge": [10**40, None, 1, -(10**40)],
    "mixed": [1, None, "two", 3.5],
    "nothing": [None, None, None, None],
}
"""By columns; each value is read back as the text a cell of CSV has."""

TEXTS: dict[str, list[str | None]] = {
    "uuid": [str(UUID(int=1)), None, str(UUID(int=2**128 - 1)), str(UUID(int=0))],
    "json": ['{"a":[1,null]}', None, "{}", '{"b":"é"}'],
    "enum": ["red", None, "red", "red"],
    "huge": ["1" + 40 * "0", None, "1", "-1" + 40 * "0"],
    "mixed": ["1", None, "two", "3.5"],
    "nothing": [None, None, None, None],
}

DECLARED = (
    Column("integer", int),
    Column("small", int, bits=16),
    Column("number", float),
    Column("exact", Decimal, precision=12, scale=2),
    Column("text", str),
    Column("truth", bool),
    Column("bytes", bytes),
    Column("day", date),
    Column("time", time, zoned=False),
    Column("moment", datetime, zoned=True),
    Column("reading", datetime, zoned=False),
    Column("duration", timedelta),
    Column("list", list[int]),
    Column("uuid", UUID),
    Column("json", dict),
    Column("enum", Colour),
    Column("huge", str),
    Column("mixed", str),
    Column("nothing"),
)


@pytest.fixture
def hard_rows() -> list[dict[str, Any]]:
    """The rows as an action has them."""
    return _by_rows(PLAIN | AS_TEXT)


@pytest.fixture
def expected_rows() -> list[dict[str, Any]]:
    """The rows as a reader of Arrow has them."""
    return _by_rows(PLAIN | TEXTS)


@pytest.fixture
def declared() -> tuple[Column, ...]:
    """Their columns."""
    return DECLARED


@pytest.fixture
def comparable() -> Callable[[Iterable[dict[str, Any]]], list[dict[str, Any]]]:
    """Makes rows that can be compared, NaN among them."""
    return lambda rows: [{name: _comparable(cell) for name, cell in row.items()} for row in rows]


def _by_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _comparable(cell: Any) -> Any:
    return "NaN" if isinstance(cell, float) and isnan(cell) else cell
