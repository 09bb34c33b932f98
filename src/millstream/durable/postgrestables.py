"""The tables of a log in PostgreSQL, and what is asked of them."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection

from millstream.durable.formats import FORMAT, require_format, require_no_earlier

Connection = AsyncConnection[tuple[Any, ...]]  # rows of several queries, each with its own types


class Tables:
    """The tables of one namespace.

    Args:
        namespace: part of the tables' names; none, if empty.
    """

    def __init__(self, namespace: str) -> None:
        self._prefix = f"millstream_{namespace}_" if namespace else EARLIER
        self.channel = self._named("~hints")
        self.state = self._named("SELECT state FROM ~streams WHERE name = %s")
        self.states = self._named("SELECT state FROM ~streams WHERE name = ANY(%s)")
        self.leased = self._named("SELECT state FROM ~streams WHERE leased")
        self.due = self._named("SELECT state FROM ~streams WHERE due <= %s ORDER BY due LIMIT 1000")
        self.producers = self._named(_PRODUCERS)
        self.records = self._named(_RECORDS)
        self.put_states = self._named(_PUT_STATES)
        self.put_records = self._named(_PUT_RECORDS)
        self.put_producers = self._named(_PUT_PRODUCERS)
        self.remove_state = self._named("DELETE FROM ~streams WHERE name = %s")
        self.remove_records = self._named("DELETE FROM ~records WHERE incarnation = %s")
        self.remove_producers = self._named("DELETE FROM ~producers WHERE incarnation = %s")
        self.trim = self._named('DELETE FROM ~records WHERE incarnation = %s AND "end" < %s')

    def lock_of(self, name: str) -> str:
        """What is locked while a name is changed: not the same name of another namespace."""
        return self._prefix + name

    async def create(self, connection: Connection) -> None:
        """Make what is missing, and raise what has the format before; in a transaction, under a lock.

        Raises:
            ConfigurationError: when the log has another format, or is used by an earlier version.
        """
        where = "the durable log in PostgreSQL"
        if self._prefix == EARLIER:
            require_no_earlier(await self._first(connection, _EARLIER_PROCESSES), where)
        found = [table for table in _TABLES if await self._has(connection, table)]
        if "records" in found and "format" not in found:
            await connection.execute(self._named(_RAISE))
        if len(found) < len(_TABLES):  # not every user may create tables
            await connection.execute(self._named(_SCHEMA))
        number = await self._first(connection, self._named("SELECT number FROM ~format"))
        if number:
            require_format(number, where)
        else:
            await connection.execute(self._named("INSERT INTO ~format VALUES (%s)"), (FORMAT,))

    async def _has(self, connection: Connection, table: str) -> bool:
        name = self._prefix + table
        return bool(await self._first(connection, "SELECT to_regclass(%s) IS NOT NULL", name))

    async def _first(self, connection: Connection, query: str, *values: str) -> int:
        row = await (await connection.execute(query, values)).fetchone()
        return 0 if row is None else row[0]

    def _named(self, statement: str) -> str:
        return statement.replace("~", self._prefix)


EARLIER: Final = "millstream_"
"""Before all tables without a namespace."""

APPLICATION: Final = "millstream durable"
"""What a connection is called."""

_EARLIER_PROCESSES: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'millstream' AND query = 'LISTEN millstream'
"""
"""Each process of Millstream 0.1 has one such connection."""

_TABLES: Final = ("format", "streams", "records", "producers")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ~format (number integer NOT NULL);
CREATE TABLE IF NOT EXISTS ~streams (
    name bytea PRIMARY KEY, state bytea NOT NULL, due double precision, leased boolean NOT NULL);
CREATE INDEX IF NOT EXISTS ~streams_due ON ~streams (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS ~streams_leased ON ~streams (leased) WHERE leased;
CREATE TABLE IF NOT EXISTS ~records (
    incarnation text, "end" bigint, token bigint NOT NULL, data bytea NOT NULL,
    PRIMARY KEY (incarnation, "end"));
CREATE TABLE IF NOT EXISTS ~producers (
    incarnation text, id bytea, epoch bigint, seq bigint, PRIMARY KEY (incarnation, id));
"""
_RAISE: Final = """
ALTER TABLE ~records ADD COLUMN token bigint NOT NULL DEFAULT 0;
ALTER TABLE ~records ALTER COLUMN token DROP DEFAULT;
"""
"""Without a default, so that a process of an earlier version cannot write any more."""

_PRODUCERS: Final = """
SELECT incarnation, id, epoch, seq FROM ~producers
JOIN unnest(%s::text[], %s::bytea[]) AS asked (incarnation, id) USING (incarnation, id)
"""
_RECORDS: Final = """
WITH first AS (SELECT "end", "end" - length(data) AS start FROM ~records
               WHERE incarnation = %(incarnation)s AND "end" > %(after)s ORDER BY "end" LIMIT 1)
SELECT record."end", record.data, record.token FROM ~records AS record, first
WHERE record.incarnation = %(incarnation)s AND record."end" >= first."end"
  AND (record."end" = first."end" OR record."end" <= first.start + %(most)s)
  AND record."end" - length(record.data) < %(upto)s
UNION ALL
SELECT "end", NULL, token FROM ~records WHERE incarnation = %(incarnation)s AND "end" = %(after)s
ORDER BY 1
"""
"""The records, and before them, without its data, the one that ends where they begin."""

_PUT_STATES: Final = """
INSERT INTO ~streams
SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::double precision[], %s::boolean[])
ON CONFLICT (name) DO UPDATE SET state = excluded.state, due = excluded.due, leased = excluded.leased
"""
_PUT_RECORDS: Final = """
INSERT INTO ~records (incarnation, "end", token, data)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bytea[])
"""
_PUT_PRODUCERS: Final = """
INSERT INTO ~producers SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bigint[], %s::bigint[])
ON CONFLICT (incarnation, id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq
"""
