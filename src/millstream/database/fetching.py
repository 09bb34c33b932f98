"""Fetching: the rows of a result as plain tuples, with what SQLAlchemy makes of their cells.

No object is made of a row, and cells are converted a column at a time: that halves what a row costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy.engine import CursorResult
from sqlalchemy.sql.base import Executable

from millstream.database.columns import Convert, converters_of, types_of
from millstream.protocol.dialects import Transposed

Rows = Sequence[Sequence[Any]]
"""A batch."""

Fetch = Callable[[int], Rows]
"""Reads so many rows; none when there are no more."""


def fetching(statement: Executable, result: CursorResult[Any], *, digits: bool) -> Fetch:
    """How to read a result.

    Args:
        statement: what was run.
        result: of that.
        digits: whether a Decimal may be a `msgspec.Raw` of its digits, which is had much faster.
    """
    width = len(result.keys())
    types = types_of(statement, width)
    if types is None or result.dialect.name not in _PLAIN:
        return result.fetchmany
    converters = converters_of(types, result, digits=digits)
    return _converted(result.cursor.fetchmany, width, converters) if converters else result.cursor.fetchmany


def _converted(fetch: Fetch, width: int, converters: dict[int, Convert]) -> Fetch:
    def fetch_converted(size: int) -> Sequence[Sequence[Any]]:
        columns = transposed(fetch(size), width)
        for at, convert in converters.items():
            columns[at] = convert(columns[at])
        return Transposed(columns)

    return fetch_converted


def transposed(rows: Rows, width: int) -> list[Sequence[Any]]:
    """The columns of rows of so many cells."""
    cells = list(chain.from_iterable(rows))
    return [cells[at::width] for at in range(width)]


_PLAIN: Final = frozenset({"sqlite"})
"""Databases whose cursors SQLAlchemy reads only when it is asked to; of the others it may buffer rows."""
