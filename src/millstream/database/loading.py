"""Loading: what psycopg makes of values of PostgreSQL that Python has no type for.

PostgreSQL knows dates before the year 1 and after 9999, infinite dates and intervals, and the time 24:00.
psycopg raises an error for most of them, which ends the whole result, and reads a few as another value. The
connections of a `Database` give such a value as text, spelled as PostgreSQL spells it, to an author's code
and to an export. All other values stay what psycopg makes of them.

The loaders that can do so are written in Python, and cost more than reading the value. So a cursor reads rows
with psycopg's own, and reads those again that psycopg refuses. Only types are taught that psycopg itself
reads: an author may have taught the driver otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer, Loader, PQGen
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.adapt import Loader as BaseLoader
from psycopg.pq import Format

_Transformer: Any = Transformer  # of C or of Python, so that type checkers do not take it for a class
_load_rows: Final = _Transformer.load_rows
_load_row: Final = _Transformer.load_row


Load = Callable[[bytes], Any]
"""Makes a value of what PostgreSQL sends for it."""


def teach(connection: Any) -> None:
    """Let a connection of psycopg give a text for a value that Python cannot hold.

    Args:
        connection: a `psycopg.Connection` or `AsyncConnection`; Any, because they have no base in common.
    """
    _register(connection.adapters, {_INTERVAL: _interval_loader})
    connection.cursor_factory = _reading_again(connection.cursor_factory)
    connection.server_cursor_factory = _reading_again(connection.server_cursor_factory)


def loaders_of(context: AdaptContext, types: Sequence[int]) -> list[Load]:
    """What makes of values in PostgreSQL's spelling what a cursor of this module gives for them."""
    again = _again(context)
    return [again.get_loader(type_, Format.TEXT).load for type_ in types]


def is_usual(loader: type[Loader] | None) -> bool:
    """Whether a loader is psycopg's or of this module, and none that an author has registered."""
    return loader is not None and (_package(loader) in _PSYCOPG or loader.__module__ == __name__)


def _package(loader: type[Loader]) -> str:
    return loader.__module__.partition(".")[0]


def _register(adapters: AdaptersMap, made: dict[int, Callable[[type[Loader]], type[Loader]]]) -> None:
    for type_, make in made.items():
        known = adapters.get_loader(type_, Format.TEXT)
        if known is not None and _package(known) in _PSYCOPG:
            adapters.register_loader(type_, make(known))


class _Taught:
    """The context of a connection or a cursor, with loaders that give a text where psycopg's raise."""

    def __init__(self, context: AdaptContext) -> None:
        self.connection = context.connection
        self.adapters = AdaptersMap(context.adapters)
        _register(self.adapters, dict.fromkeys(_MOMENTS, _loader))


def _again(context: AdaptContext) -> _Transformer:
    return _Transformer(_Taught(context))


class _ReadingTwice(_Transformer):  # type: ignore[misc]  # see there
    """Reads the rows of a result, and once more with other loaders if psycopg refuses a value."""

    def load_rows(self, row0: int, row1: int, make_row: Any) -> Any:
        """See `Transformer`."""
        try:
            return _load_rows(self, row0, row1, make_row)
        except DataError:
            return self._again().load_rows(row0, row1, make_row)

    def load_row(self, row: int, make_row: Any) -> Any:
        """See `Transformer`."""
        try:
            return _load_row(self, row, make_row)
        except DataError:
            return self._again().load_row(row, make_row)

    def _again(self) -> _Transformer:
        again = _again(self)
        again.set_pgresult(self.pgresult)
        return again


class _Cursor:
    """A cursor whose transformer is one of this module; psycopg makes a new one for each query.

    No public name of psycopg leads there, or every value would cost a call.
    """

    def _start_query(self, query: Any = None) -> PQGen[None]:
        cursor: Any = super()
        yield from cursor._start_query(query)  # noqa: SLF001  see above
        self._tx = _ReadingTwice(self)


@lru_cache
def _reading_again(factory: type[Any]) -> type[Any]:
    if issubclass(factory, _Cursor):
        return factory
    return type(factory.__name__, (_Cursor, factory), {})


@lru_cache
def _loader(known: type[Loader]) -> type[Loader]:
    """A loader that gives a text where another raises."""

    class TextUnlessLoaded(BaseLoader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._load = known(oid, context).load

        def load(self, data: Buffer) -> Any:
            try:
                return self._load(data)
            except DataError:
                return bytes(data).decode()

    return TextUnlessLoaded


@lru_cache
def _interval_loader(known: type[Loader]) -> type[Loader]:
    """As `_loader`; psycopg takes an infinite interval for none and computes large ones in too few bits."""

    class TextUnlessInterval(BaseLoader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._load = known(oid, context).load

        def load(self, data: Buffer) -> Any:
            value = bytes(data)
            return _large_interval(value.decode()) if _IS_LARGE(value) else self._load(value)

    return TextUnlessInterval


def _large_interval(text: str) -> timedelta | str:
    found = _PARTS.fullmatch(text)
    if found is None:
        return text
    years, months, days, sign, hours, minutes, seconds = found.groups()
    time = timedelta(hours=int(hours or 0), minutes=int(minutes or 0), microseconds=_microseconds(seconds))
    try:
        whole = timedelta(days=int(years or 0) * 365 + int(months or 0) * 30 + int(days or 0))
        return whole - time if sign == "-" else whole + time
    except OverflowError:
        return text


def _microseconds(seconds: str | None) -> int:
    whole, _, fraction = (seconds or "0").partition(".")
    return int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))


_MOMENTS: Final = (1082, 1083, 1114, 1184, 1266)
"""The numbers of date, time, timestamp, timestamptz and timetz, which never change (`pg_type.dat`)."""
_INTERVAL: Final = 1186
_PSYCOPG: Final = frozenset({"psycopg", "psycopg_binary", "psycopg_c"})
_IS_LARGE: Final = re.compile(rb"inf|[0-9]{7}").search
"""Whether an interval may be beyond what psycopg reads: a fraction of a second has six digits."""
_PARTS: Final = re.compile(
    r"(?:([-+]?\d+) years? ?)?(?:([-+]?\d+) mons? ?)?(?:([-+]?\d+) days? ?)?"
    r"(?:([-+]?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?"
)
