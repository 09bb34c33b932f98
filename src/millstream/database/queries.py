"""Queries: what an action may return instead of rows, and the columns that are read for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, inspect
from sqlalchemy.orm import Mapper, Query, QueryableAttribute
from sqlalchemy.orm.util import AliasedInsp
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import SelectBase


def by_columns(statement: Executable) -> Executable:
    """The same query with each mapped class replaced by its columns, so that no object is made of a row."""
    if not isinstance(statement, Select):
        return statement
    chosen: list[Any] = []
    for described in statement.column_descriptions:
        chosen += _expanded(described["expr"])
    return statement.with_only_columns(*chosen)


def _expanded(expression: Any) -> list[Any]:
    """The columns of a mapped class or an alias of one, without deferred ones; anything else by itself."""
    inspected = inspect(expression, raiseerr=False)
    if not isinstance(inspected, Mapper | AliasedInsp):
        return [_named(expression)]
    attributes = inspected.mapper.column_attrs
    return [_named(getattr(expression, each.key)) for each in attributes if not each.deferred]


def _named(expression: Any) -> Any:
    """An attribute by the name the author gave it, which a session would use, too; others have theirs."""
    if not isinstance(expression, QueryableAttribute) or expression.key == getattr(expression, "name", None):
        return expression
    return expression.label(expression.key)


def as_query(result: object) -> SelectBase | None:
    """The query that an action returned, of Core or of a session; None when it is none."""
    if isinstance(result, Query):
        result = result.statement
    return result if isinstance(result, SelectBase) else None
