from __future__ import annotations

import collections
import ipaddress
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from numbers import Integral
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from millstream.codecs.values import VALUES, last_words
from millstream.protocol.events import Progress, Reason


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Exact(Decimal):
    pass


class Blob(bytes):
    pass


class Stamp(datetime):
    pass


class Span(timedelta):
    pass


class Pair(NamedTuple):
    a: int
    b: int


@dataclass
class Point:
    x: int


with create_engine("sqlite://").connect() as connection:
    ROW: Any = connection.execute(text("select 1 as a")).one()

SCALARS: list[tuple[Any, Any, Any]] = [
    # value, as JSON, as a cell
    (None, None, None),
    (True, True, "true"),
    (False, False, "false"),
    (2**70, 2**70, 2**70),
    (1.5, 1.5, 1.5),
    ("é\x00\n", "é\x00\n", "é\x00\n"),
    (date(2026, 1, 2), "2026-01-02", "2026-01-02"),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    (time(3, 4), "03:04:00", "03:04:00"),
    (timedelta(minutes=-1), "-PT60S", "-PT60S"),
    (Decimal("1.10"), 1.1, Decimal("1.10")),
    (uuid.UUID(int=1), str(uuid.UUID(int=1)), str(uuid.UUID(int=1))),
    (Colour.RED, "red", "red"),
    (Level.HIGH, 3, 3),
    (b"\xff\x00", "/wA=", "/wA="),
    (bytearray(b"a"), "YQ==", "YQ=="),
    (memoryview(b"a"), "YQ==", "YQ=="),
    (PurePosixPath("/a/b"), "/a/b", "/a/b"),
    (ipaddress.ip_address("::1"), "::1", "::1"),
    (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8", "10.0.0.0/8"),
    (Text("t"), "t", "t"),
    (Whole(3), 3, 3),
    (Real(2.5), 2.5, 2.5),
    (Exact("2.5"), 2.5, Decimal("2.5")),
    (Blob(b"a"), "YQ==", "YQ=="),
    (Stamp(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"),
    (Span(days=1), "P1D", "P1D"),
    ({1}, [1], "[1]"),
    ({"a": 1}.keys(), ["a"], '["a"]'),
    (collections.deque([1, 2]), [1, 2], "[1,2]"),
    (range(2), [0, 1], "[0,1]"),
    (Pair(1, 2), {"a": 1, "b": 2}, '{"a":1,"b":2}'),
    (collections.ChainMap({"a": Decimal(1)}), {"a": 1}, '{"a":1}'),
    (Point(1), {"x": 1}, '{"x":1}'),
    (ROW, {"a": 1}, '{"a":1}'),
    (Progress(1, 4, "x"), {"done": 1, "total": 4, "note": "x"}, '{"done":1,"total":4,"note":"x"}'),
    (msgspec.Raw(b'{"a": 1}'), {"a": 1}, '{"a":1}'),
]


@pytest.mark.parametrize(("value", "expected", "_"), SCALARS)
def test_json_says_it_and_the_standard_library_reads_it(value: Any, expected: Any, _: Any) -> None:
    assert json.loads(VALUES.json([value, {"in": value}])) == [expected, {"in": expected}]


@pytest.mark.parametrize(("value", "_", "expected"), SCALARS)
def test_a_cell_holds_what_json_would_say(value: Any, _: Any, expected: Any) -> None:
    found = VALUES.cell(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("digits", ["1.10", "1E+3", "-0", "0.000", "12345678901234567890.123456789"])
def test_a_decimal_is_a_number_exactly_as_written(digits: str) -> None:
    assert VALUES.json(Decimal(digits)) == digits.encode()


NO_NUMBERS = ["NaN", "-NaN", "sNaN", "NaN123", "Infinity", "-Infinity"]


@pytest.mark.parametrize("digits", NO_NUMBERS)
def test_a_decimal_that_is_no_number_is_null(digits: str) -> None:
    value = [Decimal(digits), {"Infinity": Decimal(digits)}, "NaN", 'a "NaN\\']
    assert json.loads(VALUES.json(value)) == [None, {"Infinity": None}, "NaN", 'a "NaN\\']


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), Real("nan")])
def test_a_float_that_is_no_number_is_null(number: float) -> None:
    assert VALUES.json([number]) == b"[null]"


def refuse_constants(name: str) -> object:
    raise ValueError(name)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.sampled_from([*NO_NUMBERS, '"NaN"', "\\NaN"])
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('aNI"\\'), inner),
)


@given(JSON)
def test_whatever_it_holds_it_is_json(value: Any) -> None:
    json.loads(VALUES.json(value), parse_constant=refuse_constants)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_never_changed(value: str) -> None:
    assert json.loads(VALUES.json([value, Decimal("NaN")])) == [value, None]


def test_keys_are_text() -> None:
    keys = {2: 0, None: 1, True: 2, date(2026, 1, 2): 3, Colour.RED: 4}
    assert set(json.loads(VALUES.json(keys))) == {"2", "null", "true", "2026-01-02", "red"}


@pytest.mark.parametrize("value", [object(), Fraction(1, 3), 1j, iter([]), ValueError("x"), msgspec.UNSET])
def test_what_nobody_knows_is_refused_and_named(value: Any) -> None:
    for encode in (VALUES.json, VALUES.cell):
        with pytest.raises(TypeError, match=type(value).__qualname__):
            encode({"deep": [value]})


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, PurePosixPath("\udcff")])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        VALUES.json(value)


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for encode in (VALUES.json, VALUES.cell):
        with pytest.raises(RecursionError):
            encode(endless)


def test_integers_of_other_libraries_are_integers() -> None:
    class Foreign:
        def __int__(self) -> int:
            return 7

    Integral.register(Foreign)
    assert VALUES.json(Foreign()) == b"7"


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"title": "two\nlines"}, {"title": "two\nlines"}),
        ({"detail": "\ud800"}, {"detail": "\ud800"}),
        ({"detail": Reason.FAILED}, {"detail": "failed"}),
        ({"detail": msgspec.Raw(b"[\n]")}, {"detail": []}),
        ({"detail": Unspeakable()}, {"title": "Internal Server Error", "status": 500}),
    ],
)
def test_last_words_are_one_line_of_json_whatever_they_hold(
    words: Mapping[str, Any], expected: dict[str, Any]
) -> None:
    said = last_words(words)
    assert b"\n" not in said
    assert json.loads(said) == expected


@given(
    st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
)
def test_the_cells_of_a_column_are_what_each_is_by_itself(column: list[Any]) -> None:
    assert list(VALUES.json_cells(column)) == [VALUES.json(value).decode() for value in column]
