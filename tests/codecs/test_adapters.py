from __future__ import annotations

import collections.abc
from collections import namedtuple
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import pytest

from millstream.codecs.adapters import DEFAULT, MOST_TYPES, Adapters
from millstream.codecs.csv import Csv
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.values import Values
from millstream.errors import ConfigurationError, WrongItem


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class Cheque(Money):
    pass


@dataclass
class Point:
    x: int


class Colour(Enum):
    RED = 1


@runtime_checkable
class Speaks(Protocol):
    def speak(self) -> str: ...


class Parrot:
    def speak(self) -> str:
        return "hello"


def line(item: Any, own: dict[Any, Any], codec: type[Any] = Ndjson) -> str:
    made = codec(action="Root.rows", charset="utf-8")
    made.adapt(Values(Adapters(own)))
    written: bytes = made.item(item)
    return written.decode()


@pytest.mark.parametrize(
    ("own", "item", "expected"),
    [
        ({Money: lambda money: {"cents": money.cents}}, Money(5), '{"cents":5}\n'),
        ({Money: lambda money: {"cents": money.cents}}, {"in": Cheque(5)}, '{"in":{"cents":5}}\n'),
        ({Money: lambda _: 1, Cheque: lambda _: 2}, [Money(5), Cheque(5)], "[1,2]\n"),
        ({Point: lambda point: point.x}, {"in": [Point(3)]}, '{"in":[3]}\n'),  # JSON encoders know it, too
        ({Colour: lambda member: member.name}, {"in": Colour.RED}, '{"in":"RED"}\n'),
        ({Colour: lambda member: member.name}, {Colour.RED: 1}, '{"RED":1}\n'),
        ({Money: lambda money: Point(money.cents)}, Money(5), '{"x":5}\n'),  # it goes on from there
        ({Money: lambda money: [{"a": money.cents}]}, Money(5), '[{"a":5}]\n'),
        ({Speaks: lambda each: each.speak()}, Parrot(), '"hello"\n'),
        ({collections.abc.Hashable: lambda _: 1}, {"in": Money(5), "text": "x"}, '{"in":1,"text":"x"}\n'),
    ],
)
def test_an_author_says_what_objects_of_a_class_are(own: dict[Any, Any], item: Any, expected: str) -> None:
    assert line(item, own) == expected


def test_what_an_author_says_holds_in_tables_as_well() -> None:
    own = {Money: lambda money: {"cents": money.cents}, Point: lambda point: point.x}
    assert line(Money(5), own, Csv) == "cents\r\n5\r\n"
    assert line({"in": Point(5)}, own, Csv) == "in\r\n5\r\n"
    with pytest.raises(WrongItem, match="it stands for an int, which is no row"):
        line(Point(5), own, Csv)


def test_an_adapter_that_returns_what_it_was_given_is_refused() -> None:
    with pytest.raises(WrongItem, match="the adapter for Money returned another Money"):
        line(Money(5), {Money: lambda money: money})


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"Money": str}, "'Money' for a type: it must be a class"),
        ({Money: "text"}, "'text' for Money: it must be a function of one object"),
        ({datetime: str}, "has datetime, which every format writes in its own way"),
        ({dict: str}, "has dict, which every format"),
        ({object: str}, "has object, which every format"),
    ],
)
def test_adapters_are_checked_at_start_up(own: dict[Any, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Adapters(own)


def test_a_type_is_looked_at_once() -> None:
    assert DEFAULT[Point] is DEFAULT[Point]


def test_types_made_per_item_are_not_remembered_for_ever() -> None:
    adapters = Adapters()
    for _ in range(MOST_TYPES + 10):
        kind = namedtuple("kind", ["a"])  # noqa: PYI024  made per item, as a careless author would
        assert adapters[kind].read(kind(1)) == {"a": 1}
    assert len(adapters) <= MOST_TYPES


def test_what_a_class_says_of_itself_goes_before_what_its_library_does() -> None:
    @dataclass
    class Secretive:
        shown: int
        hidden: int

        def __json__(self) -> dict[str, int]:
            return {"shown": self.shown}

    assert line(Secretive(1, 2), {}) == '{"shown":1}\n'
    assert line({"in": Secretive(1, 2)}, {}) == '{"in":{"shown":1}}\n'
    assert line(Secretive(1, 2), {}, Csv) == "shown\r\n1\r\n"
