"""Naming: a stored value that the type of its column cannot convert is named, with its column.

SQLAlchemy converts what a driver gives by the type of the column, and SQLite stores anything in any column.
The errors of the types (`Invalid isoformat string: ''`) do not say which column it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.types import TypeEngine

from millstream.errors import UnreadableValue

UNREADABLE: Final = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError)
"""What a type raises because of a value, or because it is of another type altogether."""


def name_columns(engine: Engine) -> None:
    """Let the results of an engine name the column of a value that cannot be converted."""
    dialect: Any = engine.dialect
    if not issubclass(dialect.execution_ctx_cls, _Naming):
        made = dialect.execution_ctx_cls
        dialect.execution_ctx_cls = type(made.__name__, (_Naming, made), {})


class _Naming:
    """An `ExecutionContext` that wraps what converts the values of a column."""

    def get_result_processor(self, type_: TypeEngine[Any], name: str, code: Any) -> Any:
        """See `DefaultExecutionContext`."""
        parent: Any = super()
        process = parent.get_result_processor(type_, name, code)
        return None if process is None else _named(process, name)


def _named(process: Callable[[Any], Any], column: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return process(value)
        except UNREADABLE as why:
            raise UnreadableValue(column=column, value=value, why=why) from why

    return convert
