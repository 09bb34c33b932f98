"""Queries: what an action may return instead of rows, and the columns that are read for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import ColumnClause, ColumnElement, Dialect, Label, Select, TextClause, inspect, select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Bundle, Mapper, MapperProperty, Query, QueryableAttribute
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.lambdas import StatementLambdaElement
from sqlalchemy.sql.selectable import SelectBase

from millstream.protocol.columns import told_apart

Loaded = Sequence[tuple[MapperProperty[Any], Any]]
"""The attributes of a mapped class that a query loads, those of its subclasses among them.

With None for one that stands for its own column; else the expression that an option or the mapping has put in
its place, for which the attribute itself would be NULL.
"""

Entity = Mapper[Any] | AliasedInsp[Any]
"""A mapped class, or an alias of one, as SQLAlchemy inspects it."""


def by_columns(statement: Executable, dialect: Dialect) -> Executable:
    """The same query with each mapped class replaced by its columns, so that no object is made of a row.

    They are the columns that a session would load for the objects: `load_only`, `defer`, `undefer`,
    `with_expression`, `with_polymorphic` and the mapping decide.
    """
    if not isinstance(statement, Select):
        return statement
    described = statement.column_descriptions
    entities = [_entity_of(each["expr"]) for each in described]
    loaded = _loaded(statement, entities, dialect)
    named = list(chain.from_iterable(map(_columns, described, loaded)))
    names = [name for name, _ in named]
    if any(each is not None for each in loaded):  # SQLAlchemy tells apart only those without a label
        names = told_apart(names)
    return statement.with_only_columns(
        *map(_labelled, names, [column for _, column in named]),
        # Without the class nothing says that the tables of its subclasses belong to the same join.
        maintain_column_froms=any(isinstance(each, Mapper) and _has_subclasses(each) for each in entities),
    )


def _entity_of(expression: Any) -> Entity | None:
    """A mapped class or an alias of one; None for any other expression."""
    inspected = inspect(expression, raiseerr=False)
    return inspected if isinstance(inspected, Mapper | AliasedInsp) else None


def _has_subclasses(entity: Entity) -> bool:
    """Whether the columns of subclasses are loaded with those of a class."""
    return len(entity.with_polymorphic_mappers) > 1


def _loaded(
    statement: Select[Any], entities: Sequence[Entity | None], dialect: Dialect
) -> Sequence[Loaded | None]:
    """What is loaded for each entity of a query; None for what is no mapped class."""
    defaults = [None if each is None else _by_default(each.mapper) for each in entities]
    has_options = getattr(statement, "_with_options", True)  # which has no public name
    for entity, default in zip(entities, defaults, strict=True):
        is_other = isinstance(entity, AliasedInsp) and _has_subclasses(entity)
        if default is not None and (
            has_options or is_other or any(column is not None for _, column in default)
        ):
            return _compiled(statement, entities, dialect)
    return defaults


@lru_cache
def _by_default(mapper: Mapper[Any]) -> Loaded:
    """What is loaded for a mapped class where a query has no options."""
    return _compiled(select(mapper), [mapper], DefaultDialect())[0] or ()


def _compiled(
    statement: Select[Any], entities: Sequence[Entity | None], dialect: Dialect
) -> Sequence[Loaded | None]:
    """What is loaded for each entity of a query, by the notes that the ORM makes while it compiles the query.

    The ORM alone knows what options and mapping come to, and has no public name for its notes.
    """
    state: Any = statement.compile(dialect=dialect).compile_state
    return [
        None if entity is None else _noted(entity, noted.path.get(state.attributes, _NOTES, {}))
        for noted, entity in zip(state._entities, entities, strict=True)  # noqa: SLF001  see above
    ]


def _noted(entity: Entity, notes: Mapping[Any, Any]) -> Loaded:
    loaded = {each: notes.get(each) for each in _attributes(entity)}
    return [
        (each, column if each.strategy_key == _EXPRESSION or _is_added(each, entity) else None)
        for each, column in loaded.items()
        if isinstance(column, ColumnElement)  # or it is a sign of the way it is deferred
    ]


def _is_added(attribute: MapperProperty[Any], entity: Entity) -> bool:
    """Whether a subclass adds an attribute, which by itself would leave out the rows of other classes."""
    return isinstance(entity, Mapper) and not entity.has_property(attribute.key)


def _attributes(entity: Entity) -> Iterator[MapperProperty[Any]]:
    """The columns of a class, and those that its subclasses add."""
    yield from entity.mapper.column_attrs
    for each in entity.with_polymorphic_mappers:
        if each is not entity.mapper and each.inherits is not None:
            yield from (own for own in each.column_attrs if not each.inherits.has_property(own.key))


def _columns(described: Mapping[str, Any], loaded: Loaded | None) -> Iterator[tuple[Any, Any]]:
    """The columns of one part of a query, with what a session calls them; None where it leaves that to Core.

    A session says `count` where Core says `count_1`.
    """
    expression = described["expr"]
    if isinstance(expression, Bundle):
        for part in select(*expression.exprs).column_descriptions:
            yield from _columns({"entity": None, **part}, None)
    elif loaded is None:
        yield described["name"] if "entity" in described else None, expression
    else:
        for attribute, column in loaded:
            found = _attribute(expression, attribute) if column is None else column
            yield attribute.key, found


def _attribute(entity: Any, attribute: MapperProperty[Any]) -> Any:
    """An attribute of a class or of an alias, or of a subclass that is loaded with the alias."""
    if not hasattr(entity, attribute.key):
        entity = getattr(entity, attribute.parent.class_.__name__)
    return getattr(entity, attribute.key)


def _labelled(name: str | None, expression: Any) -> Any:
    has_name = isinstance(expression, ColumnClause | Label | QueryableAttribute)
    if name is None or (has_name and name == getattr(expression, "name", None)):
        return expression
    return expression.label(name)


def as_query(result: object) -> SelectBase | TextClause | None:
    """The query that an action returned, of Core, of a session or a text; None when it is none."""
    if isinstance(result, Query):
        result = result.statement
    elif isinstance(result, StatementLambdaElement):
        result = result._resolved  # noqa: SLF001  which has no public name
    return result if isinstance(result, SelectBase | TextClause) else None


_NOTES: Final = "memoized_setups"
_EXPRESSION: Final = (("query_expression", True),)
