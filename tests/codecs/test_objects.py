from __future__ import annotations

import collections
import json
from typing import Any, ClassVar, NamedTuple

import msgspec
import pytest

from millstream.codecs.objects import ObjectCodec
from millstream.errors import WrongItem


class Plain(ObjectCodec):
    name: ClassVar[str] = "plain"

    def item(self, item: Any, /) -> bytes:
        return self.encode(item)


class Named(NamedTuple):
    a: int


def encode(item: Any, fields: list[str] | None = None) -> Any:
    return json.loads(Plain(action="Root.rows", charset="utf-8", fields=fields).item(item))


def test_rows_become_objects() -> None:
    assert [encode(row) for row in ({"a": 1}, Named(1), collections.ChainMap({"a": 1}))] == [{"a": 1}] * 3


@pytest.mark.parametrize("item", [1, "text", None, True, [1, 2], []])
def test_what_is_no_row_is_encoded_as_what_it_is(item: Any) -> None:
    assert encode(item) == item


def test_fields_make_objects_of_tuples_only() -> None:
    assert encode((1, 2), ["a", "b"]) == {"a": 1, "b": 2}
    assert encode({"c": 3}, ["a", "b"]) == {"c": 3}
    assert encode((1, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (object(), "it holds an object: yield a dict of it"),
        ({"a": [1j]}, "it holds a complex: yield a dict of it"),
        ({"a": "\ud800"}, "surrogates not allowed"),
        ({(1, 2): 3}, ""),
        ((1, 2, 3), "3 cells for 2 fields"),
        ({"a": 2**20000}, "4300 digits"),
    ],
)
def test_what_json_cannot_say_is_refused_with_the_reason(item: Any, why: str) -> None:
    with pytest.raises(WrongItem, match=r"Root\.rows yielded") as caught:
        encode(item, ["a", "b"])
    assert why in str(caught.value)
    assert caught.value.__cause__ is not None


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(WrongItem):
        encode(endless)


def test_the_cells_of_a_column_are_json_each() -> None:
    assert Plain(action="", charset="utf-8").written_cells([1, None, "a,b", msgspec.Raw(b"1.10")]) == [
        "1",
        "null",
        '"a,b"',
        "1.10",
    ]


@pytest.mark.parametrize("cell", [object(), "\ud800", msgspec.Raw(b"[1,\n2]")])
def test_a_column_with_a_cell_that_is_not_written_as_it_is_has_to_go_by_rows(cell: Any) -> None:
    assert Plain(action="", charset="utf-8").written_cells([1, cell]) is None
