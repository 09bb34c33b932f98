"""The writer of an SQLite log: one thread, one connection, one commit for all that waits."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final

import apsw

from millstream.durable.batch import Batch, Outcome, Place, Request, Stage, resolve
from millstream.durable.doorbell import Doorbell
from millstream.durable.engine import Awake
from millstream.durable.sqlitefile import Same, Tables, connect, key, private
from millstream.durable.state import Producer, State, decode_state


class Writer:
    """The thread that changes the file.

    Args:
        path: the file.
        tables: of the log.
        doorbell: tells other processes.
        awake: tells this one, on the event loop that runs now.

    Raises:
        ConfigurationError: when the log in it has another format.
        apsw.Error: when the file cannot be used.
        OSError: as above.
    """

    def __init__(self, path: Path, tables: Tables, doorbell: Doorbell, awake: Awake) -> None:
        self._doorbell = doorbell
        self._awake = awake
        self._loop = asyncio.get_running_loop()
        self._lock = private(path.with_name(path.name + "-turn"))
        self._gathered: list[Request] = []
        self._waiting: SimpleQueue[list[Request] | None] = SimpleQueue()
        self._store = Store(connect(path), tables)
        self._same = Same(path)
        try:
            with _turn(self._lock):
                self._store.create(path)
        except BaseException:
            self._store.close()
            self._lock.close()
            raise
        self._thread = threading.Thread(target=self._work, name="millstream-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Have a change made, after those submitted before.

        What is submitted in one round of the loop is handed over as one: each handing over wakes the thread.
        """
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(request)

    async def close(self) -> None:
        """Make the changes that were submitted, and end."""
        self._hand_over()
        self._waiting.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._store.close()
        self._lock.close()

    def _hand_over(self) -> None:
        self._waiting.put(self._gathered)
        self._gathered = []

    def _work(self) -> None:
        more = True
        while more:
            requests, more = self._take()
            outcomes, changed = self._commit(requests)
            with suppress(RuntimeError):  # the loop was closed over our head: nobody waits any more
                self._loop.call_soon_threadsafe(self._tell, outcomes, changed)
            if changed:
                self._doorbell.ring(changed)

    def _take(self) -> tuple[list[Request], bool]:
        """All that waits, and whether more may come."""
        requests: list[Request] = []
        more = self._next()
        with suppress(Empty):
            while more is not None:
                requests += more
                if len(requests) >= MOST_A_COMMIT:
                    break
                more = self._waiting.get_nowait()
        return requests, more is not None

    def _next(self) -> list[Request] | None:
        """What is handed over next; until then the file is tidied, if it has to be."""
        while self._store.untidy:
            with suppress(Empty):
                return self._waiting.get(timeout=PAUSE)  # and meanwhile it may be another process's turn
            try:
                with _turn(self._lock):
                    self._store.tidy()
            except (apsw.Error, OSError):  # a full disk, perhaps: the next removal tries again
                self._store.untidy = False
        return self._waiting.get()

    def _commit(self, requests: Sequence[Request]) -> tuple[list[Outcome], set[str]]:
        if not requests:
            return [], set()
        try:
            with _turn(self._lock):
                self._same.require()
                return self._store.commit(requests)
        except Exception as failed:  # noqa: BLE001  a full disk, a file that went away: those who wait have to know
            if len(requests) == 1:
                return [(requests[0], failed)], set()
        outcomes: list[Outcome] = []  # all was rolled back: the one that cannot be made fails alone
        changed: set[str] = set()
        for request in requests:
            told, names = self._commit([request])
            outcomes += told
            changed |= names
        return outcomes, changed

    def _tell(self, outcomes: Sequence[Outcome], changed: set[str]) -> None:
        resolve(outcomes)
        for name in changed:
            self._awake(name)


class Store:
    """The tables, and what is known of them already.

    Attributes:
        untidy: whether there may be records to delete, or room to give back. A process that was killed may
            have left some, too.
    """

    def __init__(self, connection: apsw.Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._version = UNKNOWN  # of the database that these are true of
        self._states: dict[str, State | None] = {}
        self._producers: dict[Place, Producer | None] = {}
        self.untidy = True

    def create(self, path: Path) -> None:
        """Make what is missing.

        Raises:
            ConfigurationError: when the log has another format, or is used by an earlier version.
        """
        with self._connection:
            self._tables.create(self._connection, path)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def commit(self, requests: Sequence[Request]) -> tuple[list[Outcome], set[str]]:
        """Make these changes in one commit; also which names they changed.

        Raises:
            apsw.Error: nothing was stored.
        """
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._forget_if_changed()
            batch = Batch(self._state, self._producer)
            outcomes: list[Outcome] = [(request, batch.decide(request)) for request in requests]
            for stage in batch.stages:
                self._write(stage)
            execute("COMMIT")
        except BaseException:
            self._version = UNKNOWN
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._states.update(batch.states)
        self._producers.update(batch.producers)
        return outcomes, batch.changed

    def tidy(self) -> None:
        """Delete some of the records that are gone, or give some room back to the disk: a little at a time.

        Raises:
            apsw.Error: nothing was changed.
        """
        execute, tables = self._connection.execute, self._tables
        with self._connection:
            row = execute(tables.gone).fetchone()
            if row is None:
                free = self._connection.pragma("freelist_count")
                self.untidy = free > MOST_FREE and self._connection.pragma("auto_vacuum") == INCREMENTAL
                if self.untidy:
                    execute(f"PRAGMA incremental_vacuum({SLICE_PAGES})").fetchall()
                return
            (incarnation,) = row
            (first,) = execute(tables.first, (incarnation, 0)).fetchone() or (None,)
            if first is None:
                execute(tables.gone_entirely, (incarnation,))
                return
            (last,) = execute(tables.first, (incarnation, SLICE_ROWS)).fetchone() or (sys.maxsize,)
            execute(tables.trim, (incarnation, min(last, first + SLICE_BYTES)))

    def _write(self, stage: Stage) -> None:
        execute, many, tables = self._connection.execute, self._connection.executemany, self._tables
        self.untidy = self.untidy or bool(stage.removed or stage.trims)
        for gone in stage.removed:
            execute(tables.remove_state, (key(gone.name),))
            execute(tables.remove_later, (gone.incarnation,))
            execute(tables.remove_producers, (gone.incarnation,))
        if stage.states:
            many(tables.put_state, map(_row, stage.states.values()))
        if stage.records:
            self._insert(stage.records)
        if stage.producers:
            known = [(place[0], key(p.id), p.epoch, p.seq) for place, p in stage.producers.items()]
            many(tables.put_producer, known)
        if stage.trims:
            many(tables.trim, stage.trims.items())

    def _insert(self, records: Sequence[tuple[str, int, int, bytes]]) -> None:
        """Many rows a statement: each gives the interpreter's lock away, and waits for it."""
        done = 0
        for rows, statement in self._tables.put_records:
            while len(records) - done >= rows:
                self._connection.execute(statement, list(chain.from_iterable(records[done : done + rows])))
                done += rows

    def _state(self, name: str) -> State | None:
        if name not in self._states:
            row = self._connection.execute(self._tables.state, (key(name),)).fetchone()
            self._states[name] = None if row is None else decode_state(row[0])
        return self._states[name]

    def _producer(self, place: Place) -> Producer | None:
        if place not in self._producers:
            incarnation, producer = place
            row = self._connection.execute(self._tables.producer, (incarnation, key(producer))).fetchone()
            self._producers[place] = None if row is None else Producer(producer, *row)
        return self._producers[place]

    def _forget_if_changed(self) -> None:
        """What is known stays true until another connection commits: SQLite counts those."""
        version = self._connection.pragma("data_version")
        if version != self._version or len(self._states) + len(self._producers) > MOST_KNOWN:
            self._states.clear()
            self._producers.clear()
            self._version = version


@contextmanager
def _turn(lock: IO[bytes]) -> Iterator[None]:
    """One process's turn to write; a killed one has given it back."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _row(state: State) -> tuple[bytes, bytes, float | None, bool]:
    return key(state.name), state.encode(), state.due, state.tenure is not None


MOST_A_COMMIT: Final = 1024
MOST_KNOWN: Final = 100_000
MOST_FREE: Final = 1024
"""Pages of the file that may be free: 4 MiB, to be written to again."""

PAUSE: Final = 0.01
SLICE_ROWS: Final = 500
SLICE_BYTES: Final = 1024 * 1024
SLICE_PAGES: Final = 64
"""Seconds before each slice of tidying, and how much that is, so that nobody waits for long."""

INCREMENTAL: Final = 2
"""How SQLite calls a file that can give room back."""

UNKNOWN: Final = -1
