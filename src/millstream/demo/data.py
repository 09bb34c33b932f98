"""The flights: from the compressed table in this folder to a SQLite file.

The file is made under a temporary name, marked as complete and then renamed, so that whatever stands
under its own name can be used: a start that was interrupted leaves nothing half-built.
"""

from __future__ import annotations

import csv
import io
import lzma
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from millstream.errors import ConfigurationError

SOURCE: Final = Path(__file__).with_name("flights.csv.xz")
TEXTS: Final = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
MARK: Final = 0x4D494C4C  # "MILL", SQLite's application_id
VERSION: Final = 1  # SQLite's user_version; a file with another one is made anew
BATCH: Final = 5_000
FLIGHTS: Final = 336_776
"""How many the source holds."""

OnProgress = Callable[[float], None]
"""Told now and then how much of the source was read, 0 to 1."""


def default_path() -> Path:
    """Where the file is kept when nobody says otherwise: the user's cache (XDG base directories)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = Path.home() / ".cache"
    return cache / "millstream" / "flights.sqlite"


def is_ready(path: Path) -> bool:
    """Whether a complete file of this version is there.

    Raises:
        ConfigurationError: when the file is not ours, and so must not be replaced.
    """
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            mark, version = (
                database.execute(f"PRAGMA {p}").fetchone()[0] for p in ("application_id", "user_version")
            )
    except sqlite3.Error:
        mark = version = None
    if mark != MARK:
        raise ConfigurationError(
            f"{path} is not a database of the demo's: name a file that does not exist yet"
        )
    return bool(version == VERSION)


def build(path: Path, *, source: Path = SOURCE, on_progress: OnProgress = lambda _: None) -> int:
    """Make the file and return how many flights it holds.

    Raises:
        ConfigurationError: when the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".partial", dir=path.parent)
    except OSError as refused:
        raise ConfigurationError(f"the database {path} cannot be written: {refused.strerror}") from None
    os.close(handle)
    partial = Path(name)
    try:
        with closing(sqlite3.connect(partial)) as database:
            count = _fill(database, source, on_progress)
        partial.replace(path)
    except (OSError, sqlite3.Error) as refused:
        raise ConfigurationError(f"the database {path} cannot be written: {refused}") from None
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return count


def records(
    size: int, *, skip: int = 0, source: Path = SOURCE
) -> Iterator[list[dict[str, int | str | None]]]:
    """The source's flights again, as rows for the columns of their table, so many at a time."""
    with lzma.open(source) as unpacked, io.TextIOWrapper(unpacked, encoding="ascii", newline="") as text:
        rows = csv.reader(text)
        columns = next(rows)
        for batch in _batches(islice(rows, skip, None), size):
            yield [
                {
                    column: value if value is None or column in TEXTS else int(value)
                    for column, value in zip(columns, row, strict=True)
                }
                for row in batch
            ]


def _fill(database: sqlite3.Connection, source: Path, on_progress: OnProgress) -> int:
    # Nobody sees this file before it is complete: a journal would only protect what is thrown away.
    database.execute("PRAGMA journal_mode = OFF")
    count = 0
    with source.open("rb") as packed:
        size = os.fstat(packed.fileno()).st_size
        with lzma.open(packed) as unpacked, io.TextIOWrapper(unpacked, encoding="ascii", newline="") as text:
            rows = csv.reader(text)
            columns = next(rows)
            database.execute(f"CREATE TABLE flights (id INTEGER PRIMARY KEY, {_declared(columns)})")
            # The names are the source's own and quoted; the values are bound.
            insert = f"INSERT INTO flights VALUES (NULL{', ?' * len(columns)})"  # noqa: S608
            for batch in _batches(rows, BATCH):
                database.executemany(insert, batch)
                count += len(batch)
                on_progress(packed.tell() / size)
    database.execute(f"PRAGMA application_id = {MARK}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.commit()
    return count


def _declared(columns: list[str]) -> str:
    # SQLite turns the digits of an INTEGER column into integers by itself (its type affinity).
    return ", ".join(f'"{column}" {"TEXT" if column in TEXTS else "INTEGER"}' for column in columns)


def _batches(rows: Iterator[list[str]], size: int) -> Iterator[list[list[str | None]]]:
    while batch := [[None if value == "NA" else value for value in row] for row in islice(rows, size)]:
        yield batch
