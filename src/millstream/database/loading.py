"""Loading: what psycopg makes of values of PostgreSQL that Python has no type for.

PostgreSQL knows dates before the year 1 and after 9999, infinite dates and intervals, and the time 24:00.
psycopg raises an error for most of them, which ends the whole result, and reads a few as another value. The
connections of a `Database` give such a value as text, spelled as PostgreSQL spells it, to an author's code
and to an export. All other values stay what psycopg makes of them.

Only types are taught that psycopg itself reads: an author may have taught the driver otherwise.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.adapt import Loader as BaseLoader
from psycopg.pq import Format


def teach(connection: Any) -> None:
    """Let a connection of psycopg give a text for a value that Python cannot hold.

    Args:
        connection: a `psycopg.Connection` or `AsyncConnection`; Any, because they have no base in common.
    """
    adapters = connection.adapters
    for type_, made in _MADE.items():
        known = adapters.get_loader(type_, Format.TEXT)
        if known is not None and _package(known) in _PSYCOPG:
            adapters.register_loader(type_, made(known))


def is_usual(loader: type[Loader] | None) -> bool:
    """Whether a loader is psycopg's or of this module, and none that an author has registered."""
    return loader is not None and (_package(loader) in _PSYCOPG or loader.__module__ == __name__)


def _package(loader: type[Loader]) -> str:
    return loader.__module__.partition(".")[0]


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


_MADE: Final = {**dict.fromkeys((1082, 1083, 1114, 1184, 1266), _loader), 1186: _interval_loader}
"""By the numbers of date, time, timestamp, timestamptz, timetz and interval (`pg_type.dat`)."""
_PSYCOPG: Final = frozenset({"psycopg", "psycopg_binary", "psycopg_c"})
_IS_LARGE: Final = re.compile(rb"inf|[0-9]{7}").search
"""Whether an interval may be beyond what psycopg reads: a fraction of a second has six digits."""
_PARTS: Final = re.compile(
    r"(?:([-+]?\d+) years? ?)?(?:([-+]?\d+) mons? ?)?(?:([-+]?\d+) days? ?)?"
    r"(?:([-+]?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?"
)
