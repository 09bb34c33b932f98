"""Records: objects with names and values, of the standard library and of others.

A class says by itself which of its attributes are its values. A mapped class of SQLAlchemy has the columns
that are loaded, as the query of it gives them: no relationships, nothing deferred, and nothing is loaded for
that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from millstream.codecs.natures import ATOMS, Adapter, Nature, is_named
from millstream.protocol.columns import told_apart

Reader = Callable[[Any], dict[str, Any]]
"""Reads one object as a row: column names and values, in order.

Raises `ValueError` when two columns have one name or cells and names differ in number: a dict would
drop one silently."""


def json_method(kind: type) -> Adapter | None:
    """Classes that say themselves what they are in JSON, as TurboGears has it."""
    if not callable(getattr(kind, "__json__", None)):
        return None
    return Adapter(Nature.VALUE, lambda value: value.__json__(), is_own=True)


def mapped(kind: type) -> Adapter | None:
    """Classes that SQLAlchemy maps; SQLModel's tables among them."""
    return Adapter(Nature.RECORD, loaded_columns) if is_mapped(kind) else None


def pydantic_model(kind: type) -> Adapter | None:
    """Models of pydantic, as they serialize themselves: as JSON for JSON, with their types for tables."""
    if not is_pydantic(kind):
        return Adapter(Nature.RECORD, _dumped_by_1) if is_named(kind, "pydantic", "BaseModel") else None
    if getattr(kind, "__pydantic_root_model__", False):
        return Adapter(Nature.VALUE, _dumped, as_json=_dumped_as_json)
    return Adapter(Nature.RECORD, _dumped, as_json=_dumped_as_json)


def attrs_class(kind: type) -> Adapter | None:
    """Classes of attrs, without their private attributes."""
    if not hasattr(kind, "__attrs_attrs__"):
        return None
    names = attrs_names(kind)
    return Adapter(
        Nature.RECORD, partial(_read_attributes, tuple(zip(names, names, strict=True))), native=True
    )


def data_class(kind: type) -> Adapter | None:
    """Dataclasses."""
    if not dataclasses.is_dataclass(kind):
        return None
    names = [field.name for field in dataclasses.fields(kind)]
    return Adapter(
        Nature.RECORD, partial(_read_attributes, tuple(zip(names, names, strict=True))), native=True
    )


def struct(kind: type) -> Adapter | None:
    """Structs of msgspec."""
    if not issubclass(kind, msgspec.Struct):
        return None
    names = tuple(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    return Adapter(Nature.RECORD, partial(_read_attributes, names), native=True)


def named_tuple(kind: type) -> Adapter | None:
    """Named tuples, which JSON encoders would write as lists."""
    if not issubclass(kind, tuple) or not hasattr(kind, "_fields"):
        return None
    return Adapter(Nature.RECORD, partial(read_cells, kind._fields))


def database_row(kind: type) -> Adapter | None:
    """Rows of SQLAlchemy, which hide their names behind `_mapping`."""
    return Adapter(Nature.RECORD, _read_row) if is_database_row(kind) else None


def driver_range(kind: type) -> Adapter | None:
    """Ranges of psycopg, as those of SQLAlchemy are read, which are dataclasses."""
    return Adapter(Nature.RECORD, _read_range) if is_named(kind, "psycopg", "Range") else None


def django_model(kind: type) -> Adapter | None:
    """Models of Django: the columns that are loaded."""
    return Adapter(Nature.RECORD, django_columns) if is_named(kind, "django", "Model") else None


def mapping(kind: type) -> Adapter | None:
    """Whatever `dict()` itself takes for a mapping."""
    if issubclass(kind, dict):
        return Adapter(Nature.RECORD, dict, native=True)  # a copy: it may make up what it does not have
    if issubclass(kind, Mapping) or (hasattr(kind, "keys") and hasattr(kind, "__getitem__")):
        return Adapter(Nature.RECORD, _read_mapping)
    return None


def is_database_row(kind: type) -> bool:
    """Whether a class is that of SQLAlchemy's rows."""
    return hasattr(kind, "_mapping")


def is_mapped(kind: type) -> bool:
    """Whether SQLAlchemy maps a class."""
    return hasattr(getattr(kind, "__mapper__", None), "column_attrs")


def is_pydantic(kind: type) -> bool:
    """Whether a class is a model of pydantic 2."""
    return hasattr(kind, "__pydantic_serializer__") and hasattr(kind, "model_dump")


def attrs_names(kind: Any) -> tuple[str, ...]:
    """The attributes of a class of attrs that are not private."""
    return tuple(field.name for field in kind.__attrs_attrs__ if not field.name.startswith("_"))


def read_cells(names: Sequence[str], item: Sequence[Any]) -> dict[str, Any]:
    """Read a row that has no names of its own."""
    if len(names) != len(item):
        raise ValueError(f"it has {len(item)} cells for {len(names)} fields")
    return dict(zip(names, item, strict=True))


def loaded_columns(entity: Any) -> dict[str, Any]:
    """The columns of a mapped object that are loaded, by the names of their attributes.

    Raises:
        ValueError: when one was loaded and is not any more: to load it again, its session would be asked.
    """
    state = entity._sa_instance_state  # noqa: SLF001  `inspect(entity)` says the same, and has to be imported
    found: dict[str, Any] = {}
    for attribute in state.mapper.column_attrs:
        name = attribute.key
        if name in state.dict:
            found[name] = state.dict[name]
        elif state.key is None and not attribute.deferred:  # it never was in the database
            found[name] = None
        elif name in state.expired_attributes and attribute.parent is state.mapper.base_mapper:
            raise ValueError(
                f"its column {name!r} has expired: refresh it in its session before the object is sent"
            )
    return found


def django_columns(model: Any) -> dict[str, Any]:
    """The columns of an object of Django's that are loaded, as `.values()` names them."""
    deferred = model.get_deferred_fields()
    names = [field.attname for field in model._meta.concrete_fields]  # noqa: SLF001  its documented way
    return {name: getattr(model, name) for name in names if name not in deferred}


def _dumped(model: Any) -> Any:
    return model.model_dump()


def _dumped_by_1(model: Any) -> Any:
    return model.dict()  # as pydantic 1 has it, which pydantic 2 brings along


def _dumped_as_json(model: Any) -> Any:
    return model.model_dump(mode="json")


def _read_attributes(names: Iterable[tuple[str, str]], item: object) -> dict[str, Any]:
    return {
        column: None if (value := getattr(item, attribute)) is msgspec.UNSET else value
        for column, attribute in names
    }


def _read_row(item: Any) -> dict[str, Any]:
    names: Sequence[str] = item._fields
    if len(names) == len(item) and ATOMS.issuperset(map(type, item)):
        return _each_once(names, dict(zip(names, item, strict=True)))
    flat = _flat(item._parent._keys, item)  # noqa: SLF001  `_fields` lacks what has no name, as an alias of a class
    names = [name for name, _ in flat]
    if any(is_mapped(type(cell)) for cell in item):
        names = told_apart(names)
    return _each_once(names, dict(zip(names, [cell for _, cell in flat], strict=True)))


def _flat(names: Iterable[str | None], row: Iterable[Any]) -> list[tuple[str, Any]]:
    """A row in which the columns of objects and bundles are its own, as in a query that is returned."""
    flat: list[tuple[str, Any]] = []
    for name, cell in zip(names, row, strict=True):
        if is_mapped(type(cell)):
            flat += loaded_columns(cell).items()
        elif is_database_row(type(cell)):
            flat += _read_row(cell).items()
        elif name is None:
            raise ValueError("it has no object for an alias of a class: give the alias a name")
        else:
            flat.append((name, cell))
    return flat


def _read_range(found: Any) -> dict[str, Any]:
    return {
        "lower": found.lower,
        "upper": found.upper,
        "bounds": found.bounds or "[)",
        "empty": found.isempty,
    }


def _read_mapping(item: Any) -> dict[str, Any]:
    return _each_once(tuple(item.keys()), dict(item))


def _each_once(names: Sequence[str], row: dict[str, Any]) -> dict[str, Any]:
    if len(row) != len(names):
        distinct(names)
    return row


def distinct(names: Sequence[str]) -> Sequence[str]:
    """The same names, if they are each another.

    Raises:
        ValueError: when one is there twice, so that a dict would drop a column.
    """
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has two columns named {twice!r}: give one a label of its own")
    return names
