"""What a row may be, and how it is read: by the type of the item, decided once a type.

Rows are dicts and other mappings, dataclasses, `msgspec.Struct`s, named tuples, the rows of SQLAlchemy,
`sqlite3` and asyncpg (known by their shape, not imported), and plain tuples and lists where `fields`
names their cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from millstream.errors import ConfigurationError

Reader = Callable[[Any], dict[str, Any]]
"""Reads one item as a row: column names and values, in order.

Raises `ValueError` when two columns have one name or cells and names differ in number: a dict would
drop one silently."""

MOST_TYPES: Final = 64
"""How many types of items one stream remembers; more than that are types made per item."""


class Readers(dict[type, Reader | None]):
    """The readers of one stream by the type of its items; None for a type that is no row.

    With `native`, also None for rows that JSON encoders read faster by themselves.
    """

    def __init__(self, fields: Sequence[str] | None, *, native: bool = False) -> None:
        super().__init__()
        self._fields = fields
        self._native = native

    def __missing__(self, kind: type) -> Reader | None:
        native = self._native and _is_native(kind)
        reader = None if native else row_reader(kind, self._fields)
        if len(self) < MOST_TYPES:
            self[kind] = reader
        return reader


def row_reader(kind: type, fields: Sequence[str] | None = None) -> Reader | None:
    """Find out how items of a type are read as rows; None when they are no rows."""
    if kind is dict:
        return _as_it_is
    return _attributes_reader(kind) or _cells_reader(kind, fields) or _mapping_reader(kind)


def row_maker(columns: Sequence[str]) -> Callable[..., Any]:
    """Make the function that turns the cells of one row into an object that JSON encoders read fast.

    A Struct's keys are encoded once for all rows, which makes it four times as fast as a dict.
    """
    names = [f"cell{number}" for number in range(len(columns))]
    try:
        return msgspec.defstruct(
            "Row",
            [(name, Any) for name in names],
            rename=dict(zip(names, columns, strict=True)),
            gc=False,  # rows do not refer to themselves
        )
    except ValueError:  # a name it will not write as it is, such as one with a quote
        return lambda *cells: dict(zip(columns, cells, strict=True))


def checked_fields(codec: str, fields: Sequence[str] | None) -> tuple[str, ...] | None:
    """Take in the option `fields` of a codec.

    Raises:
        ConfigurationError: when it names no column, or one twice.
    """
    if fields is None:
        return None
    if not fields or isinstance(fields, str) or len(set(fields)) != len(fields):
        raise ConfigurationError(
            f"the option 'fields' of the codec {codec!r} is {fields!r}: it must list column names, each once"
        )
    return tuple(fields)


def _is_native(kind: type) -> bool:
    return issubclass(kind, dict | msgspec.Struct) or dataclasses.is_dataclass(kind)


def _attributes_reader(kind: type) -> Reader | None:
    if issubclass(kind, msgspec.Struct):
        columns, attributes = kind.__struct_encode_fields__, kind.__struct_fields__
    elif dataclasses.is_dataclass(kind):
        columns = attributes = tuple(field.name for field in dataclasses.fields(kind))
    else:
        return None
    return partial(_read_attributes, tuple(zip(columns, attributes, strict=True)))


def _cells_reader(kind: type, fields: Sequence[str] | None) -> Reader | None:
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return partial(_read_cells, kind._fields)
    if fields is not None and issubclass(kind, tuple | list):
        return partial(_read_cells, fields)
    return None


def _mapping_reader(kind: type) -> Reader | None:
    if hasattr(kind, "_mapping"):  # SQLAlchemy's rows, which hide their keys behind it
        return _read_sqlalchemy
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):  # what `dict()` itself asks for
        return _read_mapping
    return None


def _as_it_is(item: dict[str, Any]) -> dict[str, Any]:
    return item


def _read_attributes(names: Iterable[tuple[str, str]], item: object) -> dict[str, Any]:
    return {
        column: None if (value := getattr(item, attribute)) is msgspec.UNSET else value
        for column, attribute in names
    }


def _read_cells(names: Sequence[str], item: Sequence[Any]) -> dict[str, Any]:
    if len(names) != len(item):
        raise ValueError(f"it has {len(item)} cells for {len(names)} fields")
    return dict(zip(names, item, strict=True))


def _read_sqlalchemy(item: Any) -> dict[str, Any]:
    return _each_once(item._fields, dict(zip(item._fields, item, strict=True)))


def _read_mapping(item: Any) -> dict[str, Any]:
    return _each_once(tuple(item.keys()), dict(item))


def _each_once(names: Sequence[str], row: dict[str, Any]) -> dict[str, Any]:
    if len(row) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has two columns named {twice!r}: give one a label of its own")
    return row
