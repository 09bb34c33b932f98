"""Translating: errors of a driver that is used past SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from millstream.database import Database
from millstream.database.translating import translated


def test_an_error_has_its_class_in_sqlalchemy_and_its_statement(
    sqlite: str, make_database: Callable[..., Database]
) -> None:
    with make_database(sqlite).engine.connect() as connection:
        with pytest.raises(IntegrityError, match="not unique") as raised, translated(connection, "select 1"):
            raise sqlite3.IntegrityError("not unique")
        assert raised.value.statement == "select 1"
        assert not connection.invalidated


def test_an_error_that_is_no_driver_s_passes(sqlite: str, make_database: Callable[..., Database]) -> None:
    with (
        make_database(sqlite).engine.connect() as connection,
        pytest.raises(ZeroDivisionError),
        translated(connection, "select 1"),
    ):
        raise ZeroDivisionError


def test_a_connection_that_was_lost_is_not_used_again(
    postgresql: str, make_database: Callable[..., Database]
) -> None:
    with make_database(postgresql).engine.connect() as connection:
        before = connection.scalar(select(func.pg_backend_pid()))
        driver: Any = connection.connection.driver_connection
        driver.close()
        with pytest.raises(OperationalError) as raised, translated(connection, "select 1"):
            driver.execute("select 1")
        assert raised.value.connection_invalidated
        connection.rollback()
        assert connection.scalar(select(func.pg_backend_pid())) != before
