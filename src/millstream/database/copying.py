"""Copying: what `COPY … TO STDOUT` sends, in blocks of whole rows; the one module that knows psycopg.

The server sends one message a row ("always one per row", says its protocol), so rows are counted exactly. One
call a row, into a block, is all that Python does for it; psycopg's own iteration costs three times as much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

from psycopg import ClientCursor, Error, errors
from psycopg import Connection as Driver
from psycopg.abc import PQGen
from psycopg.generators import execute, fetch, fetch_many
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait
from sqlalchemy.engine import Connection

from millstream.database.loading import Load, is_usual, loaders_of
from millstream.database.stopping import PATIENCE, minded
from millstream.database.translating import translated
from millstream.errors import StreamInterrupted

FIRST: Final = 16 * 1024
"""Bytes of the first block: few, so that the first byte is soon there."""

PAUSE: Final = 0.02
"""Seconds after which the rows that are there leave, because the next one takes long."""

_Found = TypeVar("_Found")

Block = tuple[int, bytearray]
"""How many rows, and their bytes."""


class Copying:
    """One connection on which a query is copied; in nobody else's hands until that is done.

    Args:
        connection: SQLAlchemy's, in its transaction.
        is_unwanted: asked whenever the server has nothing for a while.
    """

    def __init__(self, connection: Connection, is_unwanted: Callable[[], bool]) -> None:
        self._connection = connection
        self._is_unwanted = is_unwanted
        self._driver = cast("Driver[Any]", connection.connection.driver_connection)
        self._pgconn = self._driver.pgconn
        self._turn = partial(
            Driver.wait, self._driver
        )  # which does not look after the stream; that is done here
        self._timeout = math.inf  # seconds that the server may take for the next rows
        self._silent = 0.0  # seconds that it has taken until now

    def merged(self, statement: str, parameters: Any) -> str:
        """The statement with its parameters in it, quoted by the driver: COPY takes none."""
        return ClientCursor(self._driver).mogrify(statement.encode(self._driver.info.encoding), parameters)

    def reads_as_usual(self, type_: int) -> bool:
        """Whether values of this type are what psycopg makes of them, and not what the author taught it."""
        return is_usual(self._driver.adapters.get_loader(type_, Format.TEXT))

    def loaders(self, types: Sequence[int]) -> list[Load]:
        """What makes of values in PostgreSQL's spelling what psycopg makes of them, for each of the types."""
        return loaders_of(self._driver, types)

    def told(self, parameter: str) -> str:
        """What the server has told of its settings."""
        return self._driver.info.parameter_status(parameter) or ""

    def blocks(self, statement: str, size: int) -> Generator[Block, None, None]:
        """What the statement sends; one block at least, which may be empty.

        Closed before its end, it cancels the statement.

        Raises:
            DBAPIError: as SQLAlchemy does.
            StreamInterrupted: when it is unwanted.
        """
        with translated(self._connection, statement), self._settings():
            self._pgconn.send_query(statement.encode(self._driver.info.encoding))
            try:
                self._require(self._wait(execute(self._pgconn)), ExecStatus.COPY_OUT)
                yield from self._received(size)
            finally:
                if self._pgconn.transaction_status == TransactionStatus.ACTIVE:
                    self._cancel()

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """The settings under which values are written as Python does, and the author's again afterwards.

        `statement_timeout` is one of them: COPY is one statement for as long as the client takes to read its
        rows. So the time is kept here, and only while the server is waited for, as it is between two FETCHes.
        """
        timeout, *before = self._driver.execute(_SET).fetchone() or ("0",)
        self._timeout = float(timeout) or math.inf
        yield
        is_own = self._connection.get_execution_options().get("postgresql_readonly")
        if (
            not is_own and self._pgconn.transaction_status == TransactionStatus.INTRANS
        ):  # or all is rolled back
            self._driver.execute(_RESET, before[:3])

    def _received(self, size: int) -> Generator[Block, None, None]:
        receive, consume = self._pgconn.get_copy_data, self._pgconn.consume_input
        block, rows, most = bytearray(), 0, min(FIRST, size)
        while True:
            length, row = receive(_WITHOUT_WAITING)
            if length > 0:
                block += row
                rows += 1
                if len(block) < most:
                    continue
            elif length < 0:
                break
            elif self._turn(_readable(), PAUSE):
                self._silent = 0.0
                consume()
                continue
            else:
                self._pause()
            if rows:
                yield rows, block
                block, rows, most = bytearray(), 0, size
        results = self._wait(fetch_many(self._pgconn))
        if rows or results[-1].status == ExecStatus.COMMAND_OK:  # what came before an error is the client's
            yield rows, block
        self._require(results, ExecStatus.COMMAND_OK)

    def _require(self, results: Sequence[PGresult], status: ExecStatus) -> None:
        """See that the server has done what it was told.

        Raises:
            psycopg.Error: what it says instead.
        """
        for result in results:
            if result.status != status:
                raise errors.error_from_result(result, self._driver.info.encoding)

    def _pause(self) -> None:
        """The server has sent nothing for a while.

        Raises:
            StreamInterrupted: when nobody wants the rows any more.
            QueryCanceled: when the server has taken too long.
        """
        if self._is_unwanted():
            raise StreamInterrupted
        self._silent += PAUSE
        if self._silent > self._timeout:
            raise errors.QueryCanceled("canceling statement due to statement timeout")

    def _cancel(self) -> None:
        """Have the server stop, and read what it has sent; a connection that does not obey is dropped."""
        until = time.monotonic() + PATIENCE

        def require_time() -> None:
            if time.monotonic() > until:
                raise TimeoutError

        try:
            self._driver.cancel_safe(timeout=PATIENCE)
            self._turn(minded(_drained(self._pgconn), require_time), PAUSE)
        except (Error, TimeoutError):
            self._connection.invalidate()

    def _wait(self, step: PQGen[_Found]) -> _Found:
        """Take a step of psycopg's; it may be long before the server sends anything."""
        self._silent = 0.0
        found: _Found = self._turn(minded(step, self._pause), PAUSE)
        return found


def _readable() -> PQGen[bool]:
    """Wait until the server has sent something; false when it took too long."""
    return (yield Wait.R) != Ready.NONE


def _drained(pgconn: PGconn) -> PQGen[None]:
    """Read what is left of a copy, and how it ended."""
    while (result := (yield from fetch(pgconn))) is not None:
        while result.status == ExecStatus.COPY_OUT and (length := pgconn.get_copy_data(1)[0]) >= 0:
            if not length:
                yield Wait.R
                pgconn.consume_input()


_WITHOUT_WAITING: Final = 1
_SET: Final = (
    b"SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::text,"
    b" current_setting('datestyle'), current_setting('extra_float_digits'),"
    b" current_setting('statement_timeout'),"
    b" set_config('datestyle', 'ISO', true), set_config('extra_float_digits', '1', true),"
    b" set_config('statement_timeout', '0', true)"
)
"""Changes settings until the transaction ends; what they were comes first, and is read first."""
_RESET: Final = (
    b"SELECT set_config('datestyle', %s, true), set_config('extra_float_digits', %s, true),"
    b" set_config('statement_timeout', %s, true)"
)
