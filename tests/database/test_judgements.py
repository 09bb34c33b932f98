"""Which errors pass by themselves. Those of a real server stand in `test_faults`."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from transaction.interfaces import TransientError  # type: ignore[import-untyped]  # it has no annotations

from millstream.database.judgements import judge


class Driver(Exception):
    def __init__(self, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("locked")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("raised", "repeat"),
    [
        (OperationalError("x", None, Driver("40001")), True),
        (OperationalError("x", None, Driver("40P01")), True),
        (OperationalError("x", None, Driver("55P03")), True),
        (OperationalError("x", None, of_sqlite(5)), True),
        (OperationalError("x", None, of_sqlite(5 | 2 << 8)), True),  # SQLITE_BUSY_SNAPSHOT
        (DBAPIError("x", None, Driver(), connection_invalidated=True), True),
        (StaleDataError(), True),
        (TransientError(), True),
        (PoolTimeout(), False),
        (OperationalError(None, None, Driver()), False),
        (OperationalError("x", None, Driver("57P01")), False),
        (OperationalError("x", None, Driver("53300")), False),
    ],
)
def test_what_passes_by_itself_is_told_as_503_and_may_be_repeated(raised: Exception, repeat: bool) -> None:
    judgement = judge(raised)
    assert judgement is not None
    assert judgement.told is not None
    assert (judgement.told.status, judgement.repeat) == (503, repeat)


@pytest.mark.parametrize(
    "raised",
    [
        ValueError(),
        IntegrityError("x", None, Driver("23505")),
        ProgrammingError("x", None, Driver("42P01")),
        OperationalError("x", None, of_sqlite(1)),
        OperationalError("x", None, Driver("57014").with_traceback(None)),
    ],
)
def test_what_does_not_is_an_error_like_any_other(raised: Exception) -> None:
    assert judge(raised) is None
