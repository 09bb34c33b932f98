"""Fetching: the rows of a result as plain tuples, with what SQLAlchemy makes of their cells.

No object is made of a row, and cells are converted a column at a time: that halves what a row costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar, cast

from sqlalchemy.engine import CursorResult
from sqlalchemy.sql.base import Executable

from millstream.database.columns import Convert, converters_of, types_of
from millstream.database.naming import UNREADABLE
from millstream.errors import UnreadableValue
from millstream.protocol.dialects import Transposed

Rows = Sequence[Sequence[Any]]
"""A batch."""

Fetch = Callable[[int], Rows]
"""Reads so many rows; none when there are no more."""

_Row = TypeVar("_Row", bound=Sequence[Any])


def fetching(statement: Executable, result: CursorResult[Any], *, digits: bool) -> Fetch:
    """How to read a result.

    Args:
        statement: what was run.
        result: of that.
        digits: whether a Decimal may be a `msgspec.Raw` of its digits, which is had much faster.
    """
    names = tuple(map(str, result.keys()))
    types = types_of(statement, len(names))
    is_sqlite = result.dialect.name == "sqlite"
    if types is None:
        return kept(iter(result)) if is_sqlite else result.fetchmany
    converters = converters_of(types, result, digits=digits)
    if is_sqlite:  # whose cursor SQLAlchemy reads only when it is asked to; of others it may buffer rows
        fetch = kept(cast("Iterator[Sequence[Any]]", result.cursor))
    elif converters:
        fetch = partial(_unconverted, result)
    else:
        fetch = result.fetchmany
    return _Converting(fetch, names, converters).fetch if converters else fetch


def _unconverted(result: CursorResult[Any], size: int) -> Rows:
    """Rows as the driver gives them, past those that SQLAlchemy may have buffered."""
    rows: Rows = result.cursor_strategy.fetchmany(result, result.cursor, size)
    return rows


def kept(rows: Iterator[_Row]) -> Callable[[int], Sequence[_Row]]:
    """Fetch so that the rows before one that cannot be read are given, and its error is raised after them."""
    passed = 0
    failures: list[Exception] = []

    def fetch(size: int) -> Sequence[_Row]:
        nonlocal passed
        if failures:
            raise failures.pop()
        found: list[_Row] = []
        try:
            found.extend(islice(rows, size))
        except Exception as failure:
            passed += len(found)
            if isinstance(failure, UnreadableValue):
                failure.row = passed + 1
            if not found:
                raise
            failures.append(failure)
        else:
            passed += len(found)
        return found

    return fetch


class _Converting:
    """Fetches rows and converts their cells, a column at a time.

    Rows before one with a value that cannot be converted are given before the error is raised.
    """

    def __init__(self, fetch: Fetch, names: Sequence[str], converters: dict[int, Convert]) -> None:
        self._fetch = fetch
        self._names = names
        self._converters = converters
        self._passed = 0
        self._failure: UnreadableValue | None = None

    def fetch(self, size: int) -> Rows:
        """See `Fetch`.

        Raises:
            UnreadableValue: when a value cannot be converted.
        """
        if self._failure is not None:
            raise self._failure
        columns = transposed(self._fetch(size), len(self._names))
        try:
            rows = self._converted(columns)
        except UNREADABLE:
            rows = self._readable(columns)
        self._passed += len(rows)
        return rows

    def _converted(self, columns: Sequence[Sequence[Any]]) -> Transposed:
        found = list(columns)
        for at, convert in self._converters.items():
            found[at] = convert(found[at])
        return Transposed(found)

    def _readable(self, columns: Sequence[Sequence[Any]]) -> Transposed:
        """The rows before the first that cannot be converted."""
        count = len(columns[0])
        for at, convert in self._converters.items():
            for number, value in enumerate(columns[at][:count]):
                try:
                    convert([value])
                except UNREADABLE as why:
                    count, row = number, self._passed + number + 1
                    failure = UnreadableValue(column=self._names[at], value=value, why=why, row=row)
                    failure.__cause__ = why
                    self._failure = failure
                    break
        if not count and self._failure is not None:
            raise self._failure
        return self._converted([column[:count] for column in columns])


def transposed(rows: Rows, width: int) -> list[Sequence[Any]]:
    """The columns of rows of so many cells."""
    cells = list(chain.from_iterable(rows))
    return [cells[at::width] for at in range(width)]
