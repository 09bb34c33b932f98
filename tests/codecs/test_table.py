from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec
import pytest
from sqlalchemy import create_engine, text

from millstream.codecs.table import TableCodec
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Transposed


class Cells(TableCodec):
    name: ClassVar[str] = "cells"
    media_type: ClassVar[str] = "text/x-cells"

    def item(self, item: Any, /) -> bytes:
        return self.batch([self.cells(item)])

    def batch(self, rows: Sequence[Sequence[Any]], /) -> bytes:
        return b"".join(f"{list(row)}\n".encode() for row in rows)


def codec(**options: Any) -> Cells:
    return Cells(action="Root.rows", charset="latin-1", **options)


class Point(NamedTuple):
    a: int
    b: int


@dataclass
class Data:
    a: int
    b: int


class Renamed(msgspec.Struct, rename={"x": "a"}):
    x: int
    b: int


class Unset(msgspec.Struct):
    a: int
    b: int | msgspec.UnsetType = msgspec.UNSET


Other = namedtuple("Other", "b a")  # noqa: PYI024  a type without annotations


@pytest.mark.parametrize("item", [{"a": 1, "b": 2}, {"b": 2, "a": 1}, Point(1, 2), Data(1, 2), Renamed(1, 2)])
def test_every_kind_of_row_has_its_cells_in_the_order_of_the_columns(item: Any) -> None:
    made = codec()
    made.declare((Column("a"), Column("b")))
    assert list(made.cells(item)) == [1, 2]
    assert list(made.cells(Other(2, 1))) == [1, 2]


def test_the_first_row_settles_the_columns() -> None:
    made = codec()
    made.cells(Point(1, 2))
    assert (made.names, made.columns) == (("a", "b"), (Column("a"), Column("b")))


def test_a_row_may_leave_columns_out() -> None:
    made = codec(fields=["a", "b"])
    assert [list(made.cells(item)) for item in ({"b": 1}, Unset(2))] == [[None, 1], [2, None]]


def test_plain_tuples_are_rows_where_fields_names_their_cells() -> None:
    assert list(codec(fields=["a", "b"]).cells((1, 2))) == [1, 2]
    with pytest.raises(WrongItem, match="yielded tuple"):
        codec().cells((1, 2))


def test_database_rows_are_rows() -> None:
    with create_engine("sqlite://").connect() as connection:
        row = connection.execute(text("select 1 as a, 2 as b")).one()
    assert list(codec(fields=["b", "a"]).cells(row)) == [2, 1]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"a": 1, "c": 2}, "its column 'c' is not among"),
        ((1, 2, 3), "3 cells for 2 fields"),
        ("ab", "Root.rows yielded str"),
        (None, "yielded NoneType"),
    ],
)
def test_what_is_no_row_of_the_table_is_refused(item: Any, why: str) -> None:
    with pytest.raises(WrongItem, match=why):
        codec(fields=["a", "b"]).cells(item)


@pytest.mark.parametrize(("item", "why"), [({}, "no columns"), ({1: 2}, "column 1 is no text")])
def test_a_first_row_must_name_its_columns(item: Any, why: str) -> None:
    with pytest.raises(WrongItem, match=why):
        codec().cells(item)


def test_fields_choose_among_declared_columns() -> None:
    made = codec(fields=["b", "c"])
    made.declare((Column("a", int), Column("b", str)))
    assert made.columns == (Column("b", str), Column("c"))


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(WrongItem, match="two columns named 'a'"):
        codec().rows((Column("a"), Column("a")))


def test_fields_choose_among_the_columns_of_a_query_and_not_among_those_of_a_dict() -> None:
    made, columns = codec(fields=["c", "a"]), (Column("a"), Column("b"), Column("c"))
    assert made.rows(columns)([(1, 2, 3)]) == b"[3, 1]\n"
    assert codec(fields=["c", "a"]).rows(columns)(Transposed([[1], [2], [3]])) == b"[3, 1]\n"
    with create_engine("sqlite://").connect() as connection:
        row = connection.execute(text("select 1 as a, 2 as b, 3 as c")).one()
    assert list(made.cells(row)) == [3, 1]
    with pytest.raises(WrongItem, match="its column 'b' is not among"):
        made.cells({"a": 1, "b": 2})


def test_batches_with_other_columns_go_by_name() -> None:
    made = codec(fields=["b", "a"])
    assert made.rows((Column("a"), Column("b")))([(1, 2)]) == b"[2, 1]\n"
    assert codec().rows((Column("a"), Column("b")))([(1, 2)]) == b"[1, 2]\n"


def test_the_charset_is_not_asked() -> None:
    assert codec().charset == "utf-8"


def test_fields_are_checked_at_start_up() -> None:
    with pytest.raises(ConfigurationError, match="must list column names"):
        Cells.check_options({"fields": ["a", "a"]})
