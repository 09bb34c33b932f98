"""Row types: what an action that is annotated `-> Iterator[Flight]` says of its rows.

A row type is a dataclass, a `msgspec.Struct`, a `TypedDict`, a named tuple, a class of attrs, a model of
pydantic or a class that SQLAlchemy maps (known by their shapes, not imported). Its fields are declared to the
codec as columns, and its items are checked: one of its own class passes at once, other rows are converted to
it as arguments are.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from typing import Annotated, Any, Final, NotRequired, TypedDict

import msgspec

from millstream.codecs.adapters import DEFAULT, Adapters
from millstream.codecs.kinds import kind_of
from millstream.codecs.natures import is_named
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.records import attrs_names, is_mapped, is_pydantic
from millstream.codecs.rows import Readers
from millstream.errors import WrongItem
from millstream.protocol.columns import Column

MOST_TYPES: Final = 1024
"""Row types that are remembered; more than that are made per request."""

Convert = Callable[[Any], Any]
"""Makes what the codec shall see of an item that is not of the row type's own class."""


def row_type_of(annotation: object, adapters: Adapters = DEFAULT) -> type | None:
    """The row type of a return annotation (resolved, not as text); None when it names none.

    It is that of `Iterator[Flight]`, `AsyncIterator[Flight]`, `list[Flight]` and their like, and of those as
    well when they are optional or carry metadata.
    """
    returned = kind_of(annotation).type
    origin = typing.get_origin(returned)
    if not isinstance(origin, type) or not issubclass(origin, Iterable | AsyncIterable):
        return None
    item = kind_of(next(iter(typing.get_args(returned)), None))
    if item.nullable or not isinstance(item.type, type) or issubclass(origin, Mapping):
        return None
    is_row = not adapters[item.type].is_own and columns_of(item.type) is not None
    return item.type if is_row else None


@lru_cache(maxsize=MOST_TYPES)
def columns_of(row_type: type) -> tuple[Column, ...] | None:
    """The columns of a row type, in the order of its fields; None when it is none."""
    if is_mapped(row_type):
        mapper: Any = row_type.__mapper__  # type: ignore[attr-defined]  # as `is_mapped` has seen
        return tuple(_column_of_model(each) for each in mapper.column_attrs if not each.deferred)
    if is_pydantic(row_type):
        return _columns_of_pydantic(row_type)
    fields = _fields_of(row_type)
    if fields is None:
        return None
    hints = _hints_of(row_type)
    return tuple(_column(name, hints.get(attribute, Any)) for name, attribute in fields.items())


def checked(
    encode: Callable[[Any], bytes], row_type: type, *, action: str, codec: str, adapters: Adapters = DEFAULT
) -> Callable[[Any], bytes]:
    """Make the function that encodes the items of one stream if they are rows of a type.

    Args:
        encode: the codec's `item`.
        row_type: what `row_type_of` found.
        action: the action whose items these are, for error texts.
        codec: its codec's name, as above.
        adapters: say what other items are.

    Raises:
        WrongItem: from what is returned, for an item that is none; it names the row, counted from 1.
    """
    columns = columns_of(row_type) or ()
    convert = _conversion(row_type, columns, adapters)
    passing = None if is_mapped(row_type) else row_type
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


def _conversion(row_type: type, columns: tuple[Column, ...], adapters: Adapters) -> Convert:
    """Decide once how items become rows of a type."""
    readers = Readers(None)
    readers.adapters = adapters

    def read(item: Any) -> dict[str, Any]:
        reader = readers[type(item)]
        if reader is None:
            raise TypeError("it is no row")
        row: dict[str, Any] = reader(item)
        return row

    if is_mapped(row_type):
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
    if is_pydantic(row_type):
        return partial(_validated, row_type)
    # msgspec would make a named tuple by position, and a dataclass without the values of its defaults.
    hints = _hints_of(row_type)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(row_type).parameters.items():
        hint = hints.get(name, Any)
        fields[name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    shape: Any = TypedDict(row_type.__name__, fields)  # type: ignore[misc]  # made at run time
    return lambda row: row_type(**msgspec.convert(row, shape, strict=False))


def _validated(row_type: Any, row: dict[str, Any]) -> Any:
    try:
        return row_type.model_validate(row)
    except ValueError as misfit:
        errors: Any = getattr(misfit, "errors", None)
        if errors is None:  # a validator's own
            raise
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors())
        raise ValueError(said) from misfit


def _to_columns(row_type: type, names: tuple[str, ...], read: Convert) -> Convert:
    """The columns of a mapped object, or a row that has the same."""

    def to_columns(item: Any) -> dict[str, Any]:
        row: dict[str, Any] = read(item)
        if isinstance(item, row_type):  # without what else was loaded
            row = {name: row[name] for name in names if name in row}
        if odd := row.keys() ^ set(names):
            raise ValueError(f"it has no column, or one too many, named {min(odd)!r}")
        return row

    return to_columns


def _fields_of(row_type: type) -> dict[str, str] | None:
    """The columns of a row type, each with the attribute that holds it."""
    if issubclass(row_type, msgspec.Struct):
        return dict(zip(row_type.__struct_encode_fields__, row_type.__struct_fields__, strict=True))
    if hasattr(row_type, "__attrs_attrs__"):
        return {name: name for name in attrs_names(row_type)}
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


def _columns_of_pydantic(model: Any) -> tuple[Column, ...] | None:
    """The columns of what a model serializes to; None where a function of its own decides about all of it."""
    decorators = model.__pydantic_decorators__
    if decorators.model_serializers:
        return None
    own = {name for each in decorators.field_serializers.values() for name in each.info.fields}
    by_alias = model.model_config.get("serialize_by_alias", False)
    columns = [
        _column(
            (field.serialization_alias or field.alias or name) if by_alias else name,
            Any if own & {name, "*"} or any(map(_serializes, field.metadata)) else _annotated(field),
        )
        for name, field in model.__pydantic_fields__.items()
        if not field.exclude
    ]
    columns += [
        _column((field.alias or name) if by_alias else name, Any if name in own else field.return_type)
        for name, field in model.__pydantic_computed_fields__.items()
    ]
    return tuple(columns)


def _annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _serializes(said: Any) -> bool:
    """Whether metadata changes what a field is written as."""
    return is_named(type(said), "pydantic", "PlainSerializer", "WrapSerializer")


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
    own = getattr(type(type_), "process_result_value", None)
    if own is not None and own.__module__.partition(".")[0] != "sqlalchemy":  # a conversion of the author's
        return Any
    try:
        return kind_of(type_.python_type).type
    except NotImplementedError:
        return Any


def _spelled(kind: Any) -> str:
    return inspect.formatannotation(kind)


_SPELLINGS: Final = {
    "precision": "precision",
    "scale": "scale",
    "max_digits": "precision",
    "decimal_places": "scale",
    "timezone": "zoned",
    "tz": "zoned",
}
