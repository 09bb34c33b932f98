"""The engine in an SQLite database: the default, on one machine.

Durable means here: write-ahead log, `synchronous = FULL`. What was acknowledged was synced to disk, so
neither a killed process nor a power failure loses it, as far as the disk keeps its word.

A process has one writer, in a thread of its own; what waits for it shares one commit, and so one sync (group
commit: 64 writers cost one about as much as one does). Writers of several processes take turns by a
file lock: SQLite's own waiting polls, and leaves some of them waiting for seconds. The neighbours are told
what was changed through a `Doorbell`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import apsw

from millstream.durable.batch import Request
from millstream.durable.doorbell import Doorbell
from millstream.durable.engine import CHANGED_BY_OTHERS, Awake, Decide
from millstream.durable.sqlitefile import Same, Tables, connect, key
from millstream.durable.sqlitewriter import Writer
from millstream.durable.state import Change, Record, State, Stored, decode_state
from millstream.errors import ConfigurationError


class SqliteEngine:
    """Streams in one file, which any number of processes of one machine may have open.

    Args:
        url: `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`.
        namespace: of its tables.

    Raises:
        ConfigurationError: when the URL names no file.
    """

    poll: float | None = CHANGED_BY_OTHERS
    failures: tuple[type[Exception], ...] = (apsw.Error,)

    def __init__(self, url: str, namespace: str = "") -> None:
        scheme, found, path = url.partition(":///")
        if scheme != "sqlite" or not found or not path or "?" in path:
            raise ConfigurationError(
                f"the durable URL {url!r} names no file: write sqlite:///streams.db or sqlite:////var/streams.db"
            )
        self._path = Path(unquote(path)).absolute()
        self._tables = Tables(namespace)
        self._doorbell = Doorbell(self._path.with_name(self._path.name + "-sockets"))
        self._of_thread = threading.local()
        self._connections: list[apsw.Connection] = []
        self._states: dict[str, State | None] = {}
        self._version = -1  # of the database that `_states` was read from
        self._writer: Writer | None = None

    async def open(self, awake: Awake, /) -> None:
        """See `Engine.open`.

        Raises:
            ConfigurationError: when the file cannot be used.
        """
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="millstream-sqlite-reader")
        self._states.clear()  # of a connection that counted by itself
        try:
            self._look = self._connect()
            self._same = Same(self._path)
            self._doorbell.open(awake)
            self._writer = Writer(self._path, self._tables, self._doorbell, awake)
        except ConfigurationError:
            await self._release()
            raise
        except (apsw.Error, OSError) as refused:
            await self._release()
            raise ConfigurationError(
                f"the durable database {self._path} cannot be used: {refused}"
            ) from refused

    async def close(self) -> None:
        """See `Engine.close`."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        await writer.close()
        await self._release()

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        """See `Engine.change`."""
        assert self._writer is not None  # noqa: S101  opened before anything else
        request = Request(names, producer, decide, asyncio.get_running_loop().create_future())
        self._writer.submit(request)
        return await request.outcome

    async def look(self, name: str, /) -> State | None:
        """From memory if nobody changed anything since, else by a look-up too short to leave the loop for."""
        self._same.require()
        version = self._look.pragma("data_version")
        if version != self._version or len(self._states) > MOST_STATES:
            self._states.clear()
            self._version = version
        try:
            return self._states[name]
        except KeyError:
            row = self._look.execute(self._tables.state, (key(name),)).fetchone()
            state = self._states[name] = None if row is None else decode_state(row[0])
            return state

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Stored:
        """See `Engine.records`; read in a thread, because it may be a megabyte from a disk."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self._read, incarnation, after, upto, most
        )

    async def leased(self) -> Sequence[State]:
        """See `Engine.leased`."""
        return [decode_state(blob) for (blob,) in self._look.execute(self._tables.leased)]

    async def due(self, now: float, /) -> Sequence[str]:
        """See `Engine.due`."""
        return [decode_state(blob).name for (blob,) in self._look.execute(self._tables.due, (now,))]

    async def _release(self) -> None:
        self._doorbell.close()
        await asyncio.get_running_loop().run_in_executor(None, self._readers.shutdown)
        while self._connections:
            self._connections.pop().close()

    def _read(self, incarnation: str, after: int, upto: int, most: int) -> Stored:
        """In one statement: each further one would compare, and so load, whole records on its way."""
        before: int | None = None
        found: list[Record] = []
        size = 0
        for row in self._reader().execute(self._tables.records, (incarnation, after)):
            if row[0] == after:
                before = row[2]
                continue
            size += len(row[1])
            if size > most and found:
                break
            found.append(tuple.__new__(Record, row))  # what calling the class does, in a third of the time
            if size >= most or row[0] >= upto:
                break
        return Stored(before, found)

    def _reader(self) -> apsw.Connection:
        """The connection of this thread."""
        try:
            reader: apsw.Connection = self._of_thread.connection
        except AttributeError:
            reader = self._of_thread.connection = self._connect()
        return reader

    def _connect(self) -> apsw.Connection:
        connection = connect(self._path)
        self._connections.append(connection)
        return connection


READERS: Final = 2
MOST_STATES: Final = 10_000
"""States kept in memory to be looked at again."""
