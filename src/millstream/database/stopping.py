"""Stopping: what runs on a connection ends with the stream that it runs for.

A thread that waits for its database sees neither that its client has left nor that its time is over, and the
database works on. So the driver looks now and then: psycopg at each turn of its wait, and then it cancels the
statement; SQLite after so many operations, and then it gives the statement up (see `engines`). The author's
code sees a `StreamInterrupted` instead of an error of the database, as in `stream.sleep`.

An asynchronous connection of psycopg cancels its statement by itself when its task is cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready
from sqlalchemy.engine import Dialect

from millstream.database.lease import INFO_KEY, Lease

PATIENCE: Final = 5.0
"""Seconds that the server has to stop."""

_Found = TypeVar("_Found")


class StoppingConnection(psycopg.Connection[Any]):
    """A connection whose statement is cancelled when it is for nobody any more."""

    pool_info: MutableMapping[Any, Any] = {}  # noqa: RUF012  until the pool gives it its own

    def wait(self, gen: PQGen[Any], *arguments: Any, **options: Any) -> Any:
        """See `psycopg.Connection`."""
        lease: Lease | None = self.pool_info.get(INFO_KEY)
        if lease is not None and lease.handle is not None:
            gen = minded(gen, _Stop(self, lease).at_pause)
        return super().wait(gen, *arguments, **options)


class _Stop:
    """What becomes of one wait."""

    def __init__(self, connection: StoppingConnection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease
        self._until: float | None = None  # when the server has to have stopped

    def at_pause(self) -> None:
        """The server has sent nothing for a while.

        Raises:
            psycopg.OperationalError: when the server does not stop.
        """
        if self._until is None:
            if self._lease.must_stop():
                self._until = time.monotonic() + PATIENCE
                self._connection.cancel_safe(timeout=PATIENCE)
        elif time.monotonic() > self._until:
            self._connection.close()
            raise psycopg.OperationalError("the server does not cancel a statement: the connection is closed")


def connect(_dialect: Dialect, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Open a connection for a pool; a listener of `do_connect`."""
    connection = StoppingConnection.connect(*arguments, **options)
    connection.pool_info = record.info
    return connection


def minded(step: PQGen[_Found], at_pause: Callable[[], None]) -> PQGen[_Found]:
    """A step of psycopg's that asks now and then whether it shall go on."""
    try:
        waits_for = next(step)
        while True:
            ready = yield waits_for
            if ready == Ready.NONE:
                at_pause()
            waits_for = step.send(ready)
    except StopIteration as done:
        return cast("_Found", done.value)
