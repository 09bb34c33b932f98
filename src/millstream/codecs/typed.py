"""Row types: what an action that is annotated `-> Iterator[Flight]` says of its rows.

A row type is a dataclass, a `msgspec.Struct`, a `TypedDict`, a named tuple or a declarative model of
SQLAlchemy (known by its shape, not imported). Its fields are declared to the codec as columns, and its items
are checked: one of its own class passes at once, other rows are converted to it as arguments are.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NotRequired, TypedDict

import msgspec

from millstream.codecs.kinds import kind_of
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.rows import Readers
from millstream.errors import WrongItem
from millstream.protocol.columns import Column

MOST_TYPES: Final = 1024
"""Row types that are remembered; more than that are made per request."""

Convert = Callable[[Any], Any]
"""Makes what the codec shall see of an item that is not of the row type's own class."""


def row_type_of(annotation: object) -> type | None:
    """The row type of a return annotation (resolved, not as text); None when it names none.

    It is that of `Iterator[Flight]`, `AsyncIterator[Flight]`, `list[Flight]` and their like, and of those as
    well when they are optional or carry metadata.
    """
    returned = kind_of(annotation).type
    origin = typing.get_origin(returned)
    if not isinstance(origin, type) or not issubclass(origin, Iterable | AsyncIterable):
        return None
    item = kind_of(next(iter(typing.get_args(returned)), None))
    is_row = not item.nullable and isinstance(item.type, type) and columns_of(item.type) is not None
    return item.type if is_row and not issubclass(origin, Mapping) else None


@lru_cache(maxsize=MOST_TYPES)
def columns_of(row_type: type) -> tuple[Column, ...] | None:
    """The columns of a row type, in the order of its fields; None when it is none."""
    if _is_model(row_type):
        mapper: Any = row_type.__mapper__  # type: ignore[attr-defined]  # as `_is_model` has seen
        return tuple(_column_of_model(attribute) for attribute in mapper.column_attrs)
    fields = _fields_of(row_type)
    if fields is None:
        return None
    hints = _hints_of(row_type)
    return tuple(_column(name, hints.get(attribute, Any)) for name, attribute in fields.items())


def checked(
    encode: Callable[[Any], bytes], row_type: type, *, action: str, codec: str
) -> Callable[[Any], bytes]:
    """Make the function that encodes the items of one stream if they are rows of a type.

    Args:
        encode: the codec's `item`.
        row_type: what `row_type_of` found.
        action: the action whose items these are, for error texts.
        codec: its codec's name, as above.

    Raises:
        WrongItem: from what is returned, for an item that is none; it names the row, counted from 1.
    """
    columns = columns_of(row_type) or ()
    convert = _conversion(row_type, columns)
    passing = None if _is_model(row_type) else row_type
    row = 0

    def encode_checked(item: Any) -> bytes:
        nonlocal row
        row += 1
        if type(item) is passing:
            return encode(item)
        try:
            found = convert(item)
        except UNWRITABLE as misfit:
            fields = ", ".join(f"{column.name}: {_spelled(column.kind)}" for column in columns)
            expected = f"{row_type.__qualname__} rows ({fields}); row {row} does not fit: {misfit}"
            raise WrongItem(action=action, codec=codec, item=item, expected=expected, row=row) from misfit
        return encode(found)

    return encode_checked


def _conversion(row_type: type, columns: tuple[Column, ...]) -> Convert:
    """Decide once how items become rows of a type."""
    readers = Readers(None)

    def read(item: Any) -> dict[str, Any]:
        reader = readers[type(item)]
        if reader is None:
            raise TypeError("it is no row")
        return reader(item)

    if _is_model(row_type):
        return _to_columns(row_type, tuple(column.name for column in columns), read)
    if typing.is_typeddict(row_type):
        return lambda item: msgspec.convert(read(item), row_type, strict=False)
    make = _maker(row_type)
    return lambda item: item if isinstance(item, row_type) else make(read(item))


@lru_cache(maxsize=MOST_TYPES)
def _maker(row_type: Any) -> Callable[[dict[str, Any]], Any]:
    """How the values of a row become an instance; msgspec remembers how for as long as this does."""
    if issubclass(row_type, msgspec.Struct):
        return lambda row: msgspec.convert(row, row_type, strict=False)
    # msgspec would make a named tuple by position, and a dataclass without the values of its defaults.
    hints = _hints_of(row_type)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(row_type).parameters.items():
        hint = hints.get(name, Any)
        fields[name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    shape: Any = TypedDict(row_type.__name__, fields)  # type: ignore[misc]  # made at run time
    return lambda row: row_type(**msgspec.convert(row, shape, strict=False))


def _to_columns(row_type: type, names: tuple[str, ...], read: Convert) -> Convert:
    """A model's instance is no row, but has one; other rows must have the same columns."""
    pick = attrgetter(*names)

    def to_columns(item: Any) -> dict[str, Any]:
        if isinstance(item, row_type):
            return dict(zip(names, pick(item) if len(names) > 1 else (pick(item),), strict=True))
        row: dict[str, Any] = read(item)
        if odd := row.keys() ^ set(names):
            raise ValueError(f"it has no column, or one too many, named {min(odd)!r}")
        return row

    return to_columns


def _is_model(row_type: type) -> bool:
    return hasattr(getattr(row_type, "__mapper__", None), "column_attrs")


def _fields_of(row_type: type) -> dict[str, str] | None:
    """The columns of a row type, each with the attribute that holds it."""
    if issubclass(row_type, msgspec.Struct):
        return dict(zip(row_type.__struct_encode_fields__, row_type.__struct_fields__, strict=True))
    if dataclasses.is_dataclass(row_type):
        return {field.name: field.name for field in dataclasses.fields(row_type)}
    if typing.is_typeddict(row_type):
        return {name: name for name in row_type.__annotations__}
    if issubclass(row_type, tuple) and hasattr(row_type, "_fields"):
        return {name: name for name in row_type._fields}
    return None


def _hints_of(row_type: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(row_type, include_extras=True)
    except NameError:  # a name that was imported for type checkers only
        return {}


def _column(name: str, annotation: Any) -> Column:
    kind = kind_of(annotation)
    nullable = kind.nullable or kind.type is Any
    return Column(name, kind.type, nullable, **_details(kind.metadata))


def _details(metadata: Iterable[Any]) -> dict[str, Any]:
    """What metadata tells: `Annotated[Decimal, Numeric(12, 2)]`, `Annotated[datetime, Meta(tz=True)]`."""
    return {
        detail: value
        for said in metadata
        for spelling, detail in _SPELLINGS.items()
        if (value := getattr(said, spelling, None)) is not None
    }


def _column_of_model(attribute: Any) -> Column:
    column = attribute.columns[0]
    kind = _kind_of_model(column.type)
    digits = {"precision": column.type.precision, "scale": column.type.scale} if kind is Decimal else {}
    return Column(attribute.key, kind, column.nullable is not False, **digits)


def _kind_of_model(type_: Any) -> Any:
    if hasattr(type_, "process_result_value"):  # a type of the author's own
        return Any
    try:
        return kind_of(type_.python_type).type
    except NotImplementedError:
        return Any


def _spelled(kind: Any) -> str:
    return inspect.formatannotation(kind)


_SPELLINGS: Final = {"precision": "precision", "scale": "scale", "timezone": "zoned", "tz": "zoned"}
