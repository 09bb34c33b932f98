"""The SQLite file of a log: its connections, and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw


def connect(path: Path) -> apsw.Connection:
    """A connection that waits for others and syncs every commit.

    Raises:
        apsw.Error: when the file is no database, or cannot be had.
    """
    connection = apsw.Connection(str(path), statementcachesize=32)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
    except BaseException:
        connection.close()
        raise
    return connection


def key(text: str) -> bytes:
    """A name as it is stored: any text, half a surrogate pair included, which TEXT could not hold."""
    return text.encode("utf-8", "surrogatepass")


BUSY_TIMEOUT: Final = 10_000
"""Milliseconds; only what is rare needs to wait: a first opening, a recovery after a crash."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS streams (name BLOB PRIMARY KEY, state BLOB NOT NULL, due REAL,
    leased INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS streams_due ON streams (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS streams_leased ON streams (leased) WHERE leased;
CREATE TABLE IF NOT EXISTS records (incarnation TEXT, end INTEGER, data BLOB NOT NULL,
    PRIMARY KEY (incarnation, end)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS producers (incarnation TEXT, id BLOB, epoch INTEGER, seq INTEGER,
    PRIMARY KEY (incarnation, id)) WITHOUT ROWID;
"""
"""A record's key is its place, so a stream's bytes lie together and in order."""
