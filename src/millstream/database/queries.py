"""Queries: what an action may return instead of rows, and the columns that are read for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import ColumnClause, ColumnElement, Dialect, Label, Select, TextClause, inspect, select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper, Query, QueryableAttribute
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import SelectBase

Loaded = Mapping[str, Any]
"""The attributes of a mapped class that a query loads, by their names.

None for one that stands for its own column; else the expression that an option or the mapping has put in its
place, for which the attribute itself would be NULL.
"""


def by_columns(statement: Executable, dialect: Dialect) -> Executable:
    """The same query with each mapped class replaced by its columns, so that no object is made of a row.

    They are the columns that a session would load for the objects: `load_only`, `defer`, `undefer`,
    `with_expression` and the mapping decide.
    """
    if not isinstance(statement, Select):
        return statement
    described = statement.column_descriptions
    loaded = _loaded(statement, [_class_of(each["expr"]) for each in described], dialect)
    chosen = map(_columns, [each["expr"] for each in described], map(_session_name, described), loaded)
    return statement.with_only_columns(*chain.from_iterable(chosen))


def _class_of(expression: Any) -> Mapper[Any] | None:
    """The mapper of a mapped class or an alias of one."""
    inspected = inspect(expression, raiseerr=False)
    return inspected.mapper if isinstance(inspected, Mapper | AliasedInsp) else None


def _loaded(
    statement: Select[Any], mappers: Sequence[Mapper[Any] | None], dialect: Dialect
) -> Sequence[Loaded | None]:
    """What is loaded for each entity of a query; None for what is no mapped class."""
    defaults = [None if mapper is None else _by_default(mapper) for mapper in mappers]
    has_options = getattr(statement, "_with_options", True)  # which has no public name
    if any(each is not None and (has_options or set(each.values()) - {None}) for each in defaults):
        return _compiled(statement, mappers, dialect)
    return defaults


@lru_cache
def _by_default(mapper: Mapper[Any]) -> Loaded:
    """What is loaded for a mapped class where a query has no options."""
    return _compiled(select(mapper), [mapper], DefaultDialect())[0] or {}


def _compiled(
    statement: Select[Any], mappers: Sequence[Mapper[Any] | None], dialect: Dialect
) -> Sequence[Loaded | None]:
    """What is loaded for each entity of a query, by the notes that the ORM makes while it compiles the query.

    The ORM alone knows what options and mapping come to, and has no public name for its notes.
    """
    state: Any = statement.compile(dialect=dialect).compile_state
    return [
        None if mapper is None else _noted(mapper, entity.path.get(state.attributes, _NOTES, {}))
        for entity, mapper in zip(state._entities, mappers, strict=True)  # noqa: SLF001  see above
    ]


def _noted(mapper: Mapper[Any], notes: Mapping[Any, Any]) -> Loaded:
    loaded = {each: notes.get(each) for each in mapper.column_attrs}
    return {
        each.key: column if each.strategy_key == _EXPRESSION else None
        for each, column in loaded.items()
        if isinstance(column, ColumnElement)  # or it is a sign of the way it is deferred
    }


def _session_name(described: Mapping[str, Any]) -> str | None:
    """What a session calls a column: `count` where Core says `count_1`; None where it leaves that to Core."""
    return described["name"] if "entity" in described else None


def _columns(expression: Any, name: str | None, loaded: Loaded | None) -> Iterable[Any]:
    """The columns of one entity of a query."""
    if loaded is None:
        return [_named(expression, name)]
    return [
        _named(getattr(expression, each), each) if column is None else column.label(each)
        for each, column in loaded.items()
    ]


def _named(expression: Any, name: str | None) -> Any:
    has_name = isinstance(expression, ColumnClause | Label | QueryableAttribute)
    if name is None or (has_name and name == getattr(expression, "name", None)):
        return expression
    return expression.label(name)


def as_query(result: object) -> SelectBase | TextClause | None:
    """The query that an action returned, of Core, of a session or a text; None when it is none."""
    if isinstance(result, Query):
        result = result.statement
    return result if isinstance(result, SelectBase | TextClause) else None


_NOTES: Final = "memoized_setups"
_EXPRESSION: Final = (("query_expression", True),)
