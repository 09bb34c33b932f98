"""Rows of an asynchronous session: a query that only its own connection can answer.

The connection belongs to the event loop, so that the rows are read there, and encoded as those that an
author's loop yields.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeVar, cast

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncResult, AsyncSession

from millstream.database.lease import LeasedSession
from millstream.database.queries import by_columns
from millstream.database.resolved import Asked, resolved
from millstream.database.units import unbroken

ROWS: Final = 500
"""How many are read at once."""

PATIENCE: Final = 5.0
"""Seconds that the server has to stop."""

_Found = TypeVar("_Found")


class AsyncRowSource:
    """The rows of one query.

    Args:
        session: on whose connection they are read.
        asked: what is read.
    """

    def __init__(self, session: AsyncSession, asked: Asked) -> None:
        self._session = session
        self._asked = asked

    async def __aiter__(self) -> AsyncIterator[Row[Any]]:
        session = self._session
        found = await session.run_sync(resolved, self._asked)
        connection = await session.connection(bind_arguments=found.bind_arguments)
        statement = by_columns(found.statement, connection.dialect)
        with cast("LeasedSession", session.sync_session).lease.held():
            reading = connection.stream(statement, found.parameters, execution_options=found.options)
            result = await _stoppable(_started(reading), connection)
            try:
                while rows := await _stoppable(result.fetchmany(ROWS), connection):
                    for row in rows:
                        yield row
            finally:
                await unbroken(result.close(), PATIENCE)


async def _stoppable(step: Coroutine[Any, Any, _Found], connection: AsyncConnection) -> _Found:
    """Take a step in a task of its own, and when this one is cancelled, have the database end the step.

    SQLAlchemy drops a connection in which a task was cancelled, with all its cursors. SQLite looks by itself
    whether it shall stop.
    """
    running = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if hasattr(driver, "cancel_safe"):
            await unbroken(driver.cancel_safe(timeout=PATIENCE))
        await unbroken(asyncio.wait((running,)), PATIENCE)
        if running.done() and not running.cancelled():
            running.exception()  # which says that it was cancelled
        raise


async def _started(reading: Any) -> AsyncResult[Any]:
    """The result of a statement; Any, because what SQLAlchemy returns can be awaited and is no coroutine."""
    result: AsyncResult[Any] = await reading
    return result
