"""The SQLite file of a log: its connections, its tables, and who may read it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import apsw

from millstream.durable.formats import FORMAT, require_format, require_no_earlier


class Tables:
    """The tables of one namespace, and what is asked of them.

    Args:
        namespace: what the tables' names begin with; nothing, if empty.
    """

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace}_" if namespace else ""
        self.state = self._named("SELECT state FROM ~streams WHERE name = ?")
        self.leased = self._named("SELECT state FROM ~streams WHERE leased")
        self.due = self._named("SELECT state FROM ~streams WHERE due <= ? ORDER BY due LIMIT 1000")
        self.producer = self._named("SELECT epoch, seq FROM ~producers WHERE incarnation = ? AND id = ?")
        self.records = self._named(
            "SELECT end, data, token FROM ~records WHERE incarnation = ? AND end >= ? ORDER BY end"
        )
        self.put_state = self._named("INSERT OR REPLACE INTO ~streams VALUES (?, ?, ?, ?)")
        self.put_producer = self._named("INSERT OR REPLACE INTO ~producers VALUES (?, ?, ?, ?)")
        self.put_records = [
            (rows, self._named(_PUT_RECORDS + _list("(?, ?, ?, ?)", rows)))
            for rows in (256, 128, 64, 32, 16, 8, 4, 2, 1)
        ]
        self.remove_state = self._named("DELETE FROM ~streams WHERE name = ?")
        self.remove_later = self._named("INSERT OR IGNORE INTO ~gone VALUES (?)")
        self.remove_producers = self._named("DELETE FROM ~producers WHERE incarnation = ?")
        self.gone = self._named("SELECT incarnation FROM ~gone LIMIT 1")
        self.first = self._named(
            "SELECT end FROM ~records WHERE incarnation = ? ORDER BY end LIMIT 1 OFFSET ?"
        )
        self.gone_entirely = self._named("DELETE FROM ~gone WHERE incarnation = ?")
        self.trim = self._named("DELETE FROM ~records WHERE incarnation = ? AND end < ?")

    def create(self, connection: apsw.Connection, path: Path) -> None:
        """Make what is missing, and raise what has the format before; in a transaction.

        Raises:
            ConfigurationError: when the log has another format, or is used by an earlier version.
        """
        where = f"the durable database {path}"
        if not self._prefix:
            require_no_earlier(earlier_processes(path), where)
        if self._has(connection, "streams") and not self._has(connection, "format"):
            connection.execute(self._named(_RAISE))
        connection.execute(self._named(_SCHEMA))
        found = connection.execute(self._named("SELECT number FROM ~format")).fetchone()
        if found is None:
            connection.execute(self._named("INSERT INTO ~format VALUES (?)"), (FORMAT,))
        else:
            require_format(found[0], where)

    def _has(self, connection: apsw.Connection, table: str) -> bool:
        asked = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (self._prefix + table,))
        return asked.fetchone() is not None

    def _named(self, statement: str) -> str:
        return statement.replace("~", self._prefix)


def connect(path: Path) -> apsw.Connection:
    """A connection that waits for others and syncs every commit; a new file is nobody else's to read.

    Raises:
        apsw.Error: when the file is no database, or cannot be had.
        OSError: as above.
    """
    private(path).close()
    connection = apsw.Connection(str(path), statementcachesize=32)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        connection.pragma("auto_vacuum", "incremental")  # counts for a new file alone
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
    except BaseException:
        connection.close()
        raise
    return connection


class Same:
    """Whether a path still leads to the file that is open.

    What is written to a file that was replaced or deleted meanwhile is lost with it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._found()
        self._next_look = 0.0

    def require(self) -> None:
        """Go on only if it does; looked at ten times a second at most.

        Raises:
            apsw.CantOpenError: when another file is there, or none.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        if self._found() == self._file:
            self._next_look = now + LOOK
        else:
            raise apsw.CantOpenError(
                f"the durable database {self._path} was replaced or deleted while it was in use: "
                "start all processes that use it again"
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def private(path: Path) -> IO[bytes]:
    """A file to be written, which only its owner may read if it is new.

    Raises:
        OSError: when it cannot be had.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")


def earlier_processes(path: Path) -> int:
    """How many processes of Millstream 0.1 have the file open: each listens at a socket beside it."""
    alive = 0
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        for one in path.with_name(path.name + "-bell").iterdir():
            with suppress(OSError):  # refused, when its process has ended
                probe.connect(str(one))
                alive += 1
    return alive


def key(text: str) -> bytes:
    """A name as it is stored: any text, half a surrogate pair included, which TEXT could not hold."""
    return text.encode("utf-8", "surrogatepass")


def _list(item: str, times: int) -> str:
    return ", ".join([item] * times)


LOOK: Final = 0.1
"""Seconds."""

BUSY_TIMEOUT: Final = 10_000
"""Milliseconds; only what is rare needs to wait: a first opening, a recovery after a crash."""

_PUT_RECORDS: Final = "INSERT INTO ~records (incarnation, end, token, data) VALUES "

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ~format (number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ~streams (name BLOB PRIMARY KEY, state BLOB NOT NULL, due REAL,
    leased INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ~streams_due ON ~streams (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS ~streams_leased ON ~streams (leased) WHERE leased;
CREATE TABLE IF NOT EXISTS ~records (incarnation TEXT, end INTEGER, token INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (incarnation, end)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ~gone (incarnation TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ~producers (incarnation TEXT, id BLOB, epoch INTEGER, seq INTEGER,
    PRIMARY KEY (incarnation, id)) WITHOUT ROWID;
"""
"""A record's key is its place, so a stream's bytes lie together and in order. What is `gone` has no state any
more, and its records are still to be deleted."""

_RAISE: Final = "ALTER TABLE ~records ADD COLUMN token INTEGER NOT NULL DEFAULT 0"
