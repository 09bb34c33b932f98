"""Translating: errors of a driver that is used without SQLAlchemy become what they are with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from millstream.database.lease import interruption


@contextmanager
def translated(connection: Connection, statement: str) -> Iterator[None]:
    """A connection that was lost is not used again, either.

    Raises:
        DBAPIError: for an error of the driver.
        StreamInterrupted: for that of a statement which was given up, because its stream has ended early.
    """
    dialect, driver = connection.dialect, connection.connection.dbapi_connection
    kind = dialect.loaded_dbapi.Error
    try:
        yield
    except kind as error:
        if (interrupted := interruption(connection, error)) is not None:
            raise interrupted from error
        is_lost = dialect.is_disconnect(error, driver, None)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, kind, connection_invalidated=is_lost, dialect=dialect
        ) from error
