from __future__ import annotations

import collections
import dataclasses
import sqlite3
import types
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import create_engine, text

from millstream.codecs.rows import MOST_TYPES, Readers, checked_fields
from millstream.errors import ConfigurationError


class Named(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass(slots=True)
class Data:
    a: int
    b: str


class Struct(msgspec.Struct, rename={"a_of_python": "a"}):
    a_of_python: int
    b: str | msgspec.UnsetType = msgspec.UNSET


def read(item: Any, fields: list[str] | None = None) -> dict[str, Any]:
    reader = Readers(fields)[type(item)]
    assert reader is not None
    row: dict[str, Any] = reader(item)
    return row


def sqlalchemy_row(query: str) -> Any:
    with create_engine("sqlite://").connect() as connection:
        return connection.execute(text(query)).one()


def sqlite_row(query: str) -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row: sqlite3.Row = connection.execute(query).fetchone()
    connection.close()
    return row


@pytest.mark.parametrize(
    "item",
    [
        {"a": 1, "b": "x"},
        collections.OrderedDict(a=1, b="x"),
        collections.ChainMap({"a": 1, "b": "x"}),
        types.MappingProxyType({"a": 1, "b": "x"}),
        Named(1, "x"),
        Data(1, "x"),
        Struct(1, "x"),
        sqlalchemy_row("select 1 as a, 'x' as b"),
        sqlalchemy_row("select 1 as a, 'x' as b")._mapping,
        sqlite_row("select 1 as a, 'x' as b"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_row_is_read_with_its_names_in_order(item: Any) -> None:
    assert list(read(item).items()) == [("a", 1), ("b", "x")]


@pytest.mark.parametrize("item", [(1, "x"), [1, "x"]])
def test_fields_name_the_cells_of_tuples_and_lists(item: Any) -> None:
    assert read(item, ["a", "b"]) == {"a": 1, "b": "x"}


@pytest.mark.parametrize("item", [1, "text", b"bytes", None, (1,), [1], {1}])
def test_other_things_are_no_rows(item: Any) -> None:
    assert Readers(None)[type(item)] is None


@pytest.mark.parametrize(("item", "kind"), [(object(), "an object"), (ValueError(), "a ValueError")])
def test_what_nobody_knows_is_named(item: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"it holds {kind}: yield a dict of it, or say what it is"):
        read(item)


@pytest.mark.parametrize(
    "item", [sqlalchemy_row("select 1 as a, 2 as a"), sqlite_row("select 1 as a, 2 as a")]
)
def test_of_two_columns_with_one_name_none_is_lost_silently(item: Any) -> None:
    with pytest.raises(ValueError, match="two columns named 'a'"):
        read(item)


def test_cells_and_fields_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 cells for 2 fields"):
        read((1, 2, 3), ["a", "b"])


def test_what_a_struct_leaves_unset_is_null() -> None:
    assert read(Struct(1)) == {"a": 1, "b": None}


def test_readers_decide_once_a_type() -> None:
    readers = Readers(None)
    assert readers[Named] is readers[Named]
    assert readers[int] is None


def test_readers_leave_to_a_json_encoder_what_it_can_read() -> None:
    readers = Readers(None, in_json=True)
    assert [kind for kind in (dict, Struct, Data, Named) if readers[kind]] == [Named]


def test_readers_do_not_remember_types_made_per_item() -> None:
    readers = Readers(None)
    for number in range(MOST_TYPES + 10):
        kind = collections.namedtuple("kind", ["a"])  # noqa: PYI024  made per item, as a careless author would
        reader = readers[kind]
        assert reader is not None
        assert reader(kind(number)) == {"a": number}
    assert len(readers) == MOST_TYPES


@pytest.mark.parametrize("fields", [[], "ab", ["a", "a"]])
def test_fields_name_each_column_once(fields: Any) -> None:
    with pytest.raises(ConfigurationError, match="'fields'"):
        checked_fields("csv", fields)
