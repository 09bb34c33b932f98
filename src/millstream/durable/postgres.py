"""The engine in a PostgreSQL database: for several machines that have one already.

Durable means here what PostgreSQL's commit means: `synchronous_commit = on`, so an acknowledged record was
synced to the primary's disk; what a failover may lose is a matter of its replication.

A process has one writing connection; what waits for it shares one transaction (group commit). The names of
a transaction are locked in one order by advisory locks, which exist for names that have no row yet, too, so
that writers of many processes neither lose an update nor lock each other out. `NOTIFY` tells the others what
changed, as a hint: it is coalesced, and whoever waits looks by itself as well.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from millstream.durable.batch import Batch, Outcome, Place, Request, Stage, resolve, take
from millstream.durable.engine import CHANGED_BY_OTHERS, Awake, Decide
from millstream.durable.postgrestables import APPLICATION, Connection, Tables
from millstream.durable.state import Change, Producer, Record, State, Stored, decode_state
from millstream.errors import ConfigurationError

IDLE: Final = TransactionStatus.IDLE


class PostgresEngine:
    """Streams in tables that are made when they are missing.

    Args:
        url: as libpq takes it, `postgresql://user@host/database`.
        namespace: of its tables.
    """

    poll: float | None = CHANGED_BY_OTHERS
    failures: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str, namespace: str = "") -> None:
        self._url = url
        self._tables = Tables(namespace)
        self._awake: Awake = lambda _: None
        self._waiting: asyncio.Queue[Request | None] = asyncio.Queue()
        self._idle: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, awake: Awake, /) -> None:
        """See `Engine.open`.

        Raises:
            ConfigurationError: when the database cannot be used.
        """
        self._awake = awake
        try:
            connection = await self._connect()
            async with connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_lock(self._tables.channel),))
                await self._tables.create(connection)
        except psycopg.Error as refused:
            reason = str(refused).strip().partition("\n")[0]
            raise ConfigurationError(f"the durable database cannot be used: {reason}") from refused
        for _ in range(READERS):
            self._idle.put_nowait(None)  # connected when it is needed
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        """See `Engine.close`."""
        if not self._tasks:
            return
        writer, listener = self._tasks
        self._tasks = []
        self._waiting.put_nowait(None)
        listener.cancel()
        await asyncio.wait([writer, listener])
        for _ in range(READERS):
            connection = await self._idle.get()
            if connection is not None:
                await connection.close()

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        """See `Engine.change`."""
        request = Request(names, producer, decide, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(request)
        return await request.outcome

    async def look(self, name: str, /) -> State | None:
        """See `Engine.look`."""
        rows = await self._query(self._tables.state, (_key(name),))
        return decode_state(rows[0][0]) if rows else None

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Stored:
        """By their places: only what ends within so many bytes of where the first one began is sent."""
        asked = {"incarnation": incarnation, "after": after, "upto": upto, "most": most}
        rows = await self._query(self._tables.records, asked)
        before = rows.pop(0)[2] if rows and rows[0][1] is None else None
        return Stored(before, [Record(*row) for row in rows])

    async def leased(self) -> Sequence[State]:
        """See `Engine.leased`."""
        return [decode_state(blob) for (blob,) in await self._query(self._tables.leased, ())]

    async def due(self, now: float, /) -> Sequence[str]:
        """See `Engine.due`."""
        return [decode_state(blob).name for (blob,) in await self._query(self._tables.due, (now,))]

    # Writing

    async def _write(self) -> None:
        """The writer: everything that waits, in one transaction after the other."""
        connection: Connection | None = None
        more = True
        while more:
            requests, more = await take(self._waiting, MOST_A_COMMIT)
            if connection is None or connection.closed:
                connection = await self._connected(requests)
            if connection is not None:
                await self._commit_all(connection, requests)
        if connection is not None:
            await connection.close()

    async def _connected(self, requests: Sequence[Request]) -> Connection | None:
        """A connection to write with; or these requests are told why there is none."""
        try:
            return await self._connect()
        except Exception as failed:  # noqa: BLE001  those who wait have to know
            resolve([(request, failed) for request in requests])
            return None

    async def _commit_all(self, connection: Connection, requests: Sequence[Request]) -> None:
        """Make these changes in one transaction; in one for each, when that was rolled back."""
        try:
            async with _answered():
                outcomes, changed = await self._commit(connection, requests)
        except Exception as failed:  # noqa: BLE001  as above
            rolled_back = not connection.closed and connection.info.transaction_status == IDLE
            if rolled_back and len(requests) > 1 and not isinstance(failed, LockNotAvailable):
                for request in requests:  # the one that cannot be made fails alone
                    await self._commit_all(connection, [request])
                return
            outcomes, changed = [(request, failed) for request in requests], set()
            if not rolled_back:
                await connection.close()
        resolve(outcomes)
        for name in changed:
            self._awake(name)

    async def _commit(
        self, connection: Connection, requests: Sequence[Request]
    ) -> tuple[list[Outcome], set[str]]:
        if not requests:
            return [], set()
        names = {name for request in requests for name in request.names}
        async with connection.transaction():
            await connection.execute(_LOCK, (sorted(_lock(self._tables.lock_of(name)) for name in names),))
            states, producers = await self._stored(connection, names, requests)
            batch = Batch(states.get, producers.get)
            outcomes: list[Outcome] = [(request, batch.decide(request)) for request in requests]
            async with connection.pipeline():
                for stage in batch.stages:
                    await self._store(connection, stage)
                for payload in _payloads(batch.changed):
                    await connection.execute("SELECT pg_notify(%s, %s)", (self._tables.channel, payload))
        return outcomes, batch.changed

    async def _stored(
        self, connection: Connection, names: set[str], requests: Sequence[Request]
    ) -> tuple[dict[str, State], dict[Place, Producer]]:
        found = await connection.execute(self._tables.states, ([_key(name) for name in names],))
        states = {state.name: state for state in [decode_state(blob) for (blob,) in await found.fetchall()]}
        places = [
            (states[request.names[0]].incarnation, request.producer)
            for request in requests
            if request.producer is not None and request.names[0] in states
        ]
        if not places:
            return states, {}
        found = await connection.execute(
            self._tables.producers,
            ([incarnation for incarnation, _ in places], [_key(each) for _, each in places]),
        )
        known = [(inc, _text(name), epoch, seq) for inc, name, epoch, seq in await found.fetchall()]
        return states, {(inc, name): Producer(name, epoch, seq) for inc, name, epoch, seq in known}

    async def _store(self, connection: Connection, stage: Stage) -> None:
        execute, tables = connection.execute, self._tables
        for gone in stage.removed:
            await execute(tables.remove_state, (_key(gone.name),))
            await execute(tables.remove_records, (gone.incarnation,))
            await execute(tables.remove_producers, (gone.incarnation,))
        if stage.states:
            rows = [(_key(s.name), s.encode(), s.due, s.tenure is not None) for s in stage.states.values()]
            await execute(tables.put_states, [list(column) for column in zip(*rows, strict=True)])
        if stage.records:
            await execute(tables.put_records, [list(column) for column in zip(*stage.records, strict=True)])
        if stage.producers:
            known = [(place[0], _key(p.id), p.epoch, p.seq) for place, p in stage.producers.items()]
            await execute(tables.put_producers, [list(column) for column in zip(*known, strict=True)])
        for incarnation, start in stage.trims.items():
            await execute(tables.trim, (incarnation, start))

    # Reading

    async def _query(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            return await self._asked(query, values)
        except psycopg.OperationalError:  # the connection may have died since it was used last
            return await self._asked(query, values)

    async def _asked(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with self._reader() as connection, _answered():
            return await (await connection.execute(query, values)).fetchall()

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Connection]:
        """One of a few connections; one whose reader was cancelled or failed is not used again."""
        connection = await self._idle.get()
        try:
            if connection is None or connection.closed:
                connection = await self._connect()
            yield connection
        except BaseException:
            broken, connection = connection, None
            if broken is not None:
                await broken.close()
            raise
        finally:
            self._idle.put_nowait(connection)

    async def _listen(self) -> None:
        """Hear what others changed; after a lost connection anything may have been."""
        while True:
            with suppress(psycopg.Error):
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {self._tables.channel}")
                    self._awake(None)
                    async for notification in connection.notifies():
                        self._hear(notification.payload)
            await asyncio.sleep(RECONNECT)

    def _hear(self, payload: str) -> None:
        try:
            names = [_text(name) for name in bytes.fromhex(payload).split(b"\xff")]  # a byte no name has
        except ValueError:  # not one of ours
            names = []
        for name in names if payload else ():
            self._awake(name)
        if not names or not payload:
            self._awake(None)

    async def _connect(self) -> Connection:
        connection = await AsyncConnection.connect(self._url, autocommit=True, **_OPTIONS)
        try:
            await connection.execute(_SETTINGS)
        except BaseException:  # whoever wanted it was cancelled, or the server went away again
            await connection.close()
            raise
        return connection


@asynccontextmanager
async def _answered() -> AsyncIterator[None]:
    """Give a server so long that takes connections, but does not answer.

    Raises:
        psycopg.OperationalError: when it does not answer in time.
    """
    try:
        async with asyncio.timeout(ANSWER):
            yield
    except TimeoutError as late:
        raise psycopg.OperationalError(f"the server did not answer within {ANSWER:g} s") from late


def _key(name: str) -> bytes:
    """A name as it is stored: any text, also what TEXT refuses (zero characters, half a surrogate pair)."""
    return name.encode("utf-8", "surrogatepass")


def _text(stored: bytes) -> str:
    return bytes(stored).decode("utf-8", "surrogatepass")


def _lock(name: str) -> int:
    """The advisory lock of a name; two names that share one only wait for each other."""
    return int.from_bytes(hashlib.blake2b(_key(name), digest_size=8).digest(), signed=True)


def _payloads(names: set[str]) -> list[str]:
    """Names in as few notifications as their size allows; an empty one means any."""
    payload = b"\xff".join(map(_key, names)).hex()
    if not names:
        return []
    return [payload if len(payload) < LONGEST_PAYLOAD else ""]


ANSWER: Final = 30.0
"""Seconds that the server may take to answer; longer than it lets anybody wait for a lock."""

READERS: Final = 4
RECONNECT: Final = 1.0
"""Seconds between two attempts to listen again."""

LONGEST_PAYLOAD: Final = 8000
"""Bytes that a notification is shorter than."""

MOST_A_COMMIT: Final = 512
_OPTIONS: Final[dict[str, Any]] = {
    "application_name": APPLICATION,
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_SETTINGS: Final = """
SET synchronous_commit = on; SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '10s'
"""
"""The last one ends the transaction of a process that stands still, and gives back its locks."""
_LOCK: Final = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"
