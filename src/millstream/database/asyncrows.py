"""Rows of an asynchronous session: a query that only its own connection can answer.

The connection belongs to the event loop, so that the rows are read there, one by one, and encoded as those
that an author's loop yields.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncSession

from millstream.database.lease import LeasedSession
from millstream.database.queries import by_columns
from millstream.database.resolved import Asked, resolved


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
        lease = cast("LeasedSession", session.sync_session).lease
        with lease.held():
            reading = connection.stream(statement, found.parameters, execution_options=found.options)
            async with reading as result:
                async for row in result:
                    yield row
