"""Columns: what is known of the cells of a query before the first row is read.

PostgreSQL says what it sends, and that is the truth where SQLAlchemy only guesses: the sum of a bigint column
is a numeric. A type of SQLAlchemy's that converts what the driver gives has the last word. That a cell
cannot be NULL is never said: an outer join may make it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, DateTime, Dialect, Integer, Numeric, Time
from sqlalchemy.engine import CursorResult
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.selectable import GenerativeSelect
from sqlalchemy.types import ARRAY, NullType, TypeDecorator, TypeEngine

from millstream.protocol.columns import Column


def columns_of(statement: Executable, result: CursorResult[Any]) -> tuple[Column, ...]:
    """The columns of a query that was run."""
    names = tuple(map(str, result.keys()))  # some are a kind of text of their own
    dialect = result.dialect
    described = result.cursor.description
    types = types_of(statement, len(names)) or [NullType()] * len(names)
    return tuple(
        _column(name, type_, told, dialect) for name, type_, told in zip(names, types, described, strict=True)
    )


def types_of(statement: Executable, width: int) -> Sequence[TypeEngine[Any]] | None:
    """SQLAlchemy's type of each column; None when it does not know, as of a text."""
    if not isinstance(statement, GenerativeSelect):
        return None
    types = [column.type for column in statement.selected_columns]
    return types if len(types) == width else None


def _column(name: str, type_: TypeEngine[Any], described: Sequence[Any], dialect: Dialect) -> Column:
    code = described[1]
    if dialect.name == "postgresql" and isinstance(code, int) and not converts(type_, dialect, code):
        known = _SENT.get(code)
        if known is None:
            return Column(name)
        column = known(name)
        if column.kind is Decimal:
            return Column(name, Decimal, precision=described[4], scale=described[5])
        return column
    return Column(name, *_declared(type_), **_details(type_, dialect))


def converts(type_: TypeEngine[Any], dialect: Dialect, code: object) -> bool:
    """Whether SQLAlchemy makes something else of what the driver gives."""
    return type_.dialect_impl(dialect).result_processor(dialect, code) is not None


def _declared(type_: TypeEngine[Any]) -> tuple[Any]:
    if isinstance(type_, TypeDecorator | JSON | NullType):  # the author's, and any JSON value
        return (Any,)
    if isinstance(type_, ARRAY):
        return (list[_declared(type_.item_type)[0]],)  # type: ignore[misc]  # a type made at run time
    with suppress(NotImplementedError):  # what SQLAlchemy does not know either
        return (type_.python_type,)
    return (Any,)


def _details(type_: TypeEngine[Any], dialect: Dialect) -> dict[str, Any]:
    match type_:
        case Numeric() if type_.python_type is Decimal:
            return {"precision": type_.precision, "scale": type_.scale}
        case Integer() if dialect.name == "sqlite":
            return {"bits": 64}
        case DateTime() | Time() if dialect.name == "sqlite":
            return {"zoned": False}
    return {}


_SENT: Final = {
    16: partial(Column, kind=bool),
    17: partial(Column, kind=bytes),
    18: partial(Column, kind=str),  # "char"
    19: partial(Column, kind=str),  # name
    20: partial(Column, kind=int, bits=64),
    21: partial(Column, kind=int, bits=16),
    23: partial(Column, kind=int, bits=32),
    25: partial(Column, kind=str),
    26: partial(Column, kind=int, bits=64),  # oid, of 32 bits without a sign
    700: partial(Column, kind=float, bits=32),
    701: partial(Column, kind=float, bits=64),
    1042: partial(Column, kind=str),
    1043: partial(Column, kind=str),
    1082: partial(Column, kind=date),
    1083: partial(Column, kind=time, zoned=False),
    1114: partial(Column, kind=datetime, zoned=False),
    1184: partial(Column, kind=datetime, zoned=True),
    1186: partial(Column, kind=timedelta),
    1266: partial(Column, kind=time, zoned=True),
    1700: partial(Column, kind=Decimal),
    2950: partial(Column, kind=UUID),
    1000: partial(Column, kind=list[bool]),
    1005: partial(Column, kind=list[int]),
    1007: partial(Column, kind=list[int]),
    1009: partial(Column, kind=list[str]),
    1015: partial(Column, kind=list[str]),
    1016: partial(Column, kind=list[int]),
    1021: partial(Column, kind=list[float]),
    1022: partial(Column, kind=list[float]),
    1115: partial(Column, kind=list[datetime]),
    1182: partial(Column, kind=list[date]),
    1231: partial(Column, kind=list[Decimal]),
}
"""What psycopg makes of PostgreSQL's types, by their numbers, which never change (`pg_type.dat`)."""
