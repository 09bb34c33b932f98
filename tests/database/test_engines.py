"""What a URL means, and what an engine is given."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from millstream.database import Database, engines
from millstream.errors import ConfigurationError


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgresql+psycopg", "postgres", "postgresql+psycopg_async"]
)
def test_every_spelling_of_postgresql_means_the_same_driver(scheme: str) -> None:
    database = Database(f"{scheme}://nobody:secret@127.0.0.1:9/nowhere")
    assert database.engine.url.drivername == "postgresql+psycopg"
    assert database.async_engine.url.drivername == "postgresql+psycopg_async"
    assert database.async_engine.url.password == "secret"  # noqa: S105  the test's own


def test_a_driver_that_is_missing_is_one_sentence_that_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as refused:
        Database("postgresql://somebody:secret@127.0.0.1/x")
    assert "psycopg" in str(refused.value)
    assert str(refused.value).endswith("install millstream[postgres]")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "missing", "cure"),
    [
        ("mysql://somebody:secret@h/d", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql://somebody:secret@h/d", "pymysql", "pymysql"),
        ("postgresql+psycopg2://somebody:secret@h/d", "psycopg2", "psycopg2-binary"),
        ("postgresql+asyncpg://somebody:secret@h/d", "asyncpg", "asyncpg"),
        ("oracle+oracledb://somebody:secret@h/d", "oracledb", "oracledb"),
        ("mssql+pyodbc://somebody:secret@h/d", "pyodbc", "pyodbc"),
    ],
)
def test_a_driver_of_the_authors_choice_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, missing: str, cure: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # also where it happens to be installed
    with pytest.raises(ConfigurationError) as refused:
        Database(url)
    assert f"needs the driver {missing}, which is not installed: install {cure}" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_driver_that_synchronous_code_cannot_use_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="a driver for asynchronous code only"):
        Database("postgresql+asyncpg://nobody@127.0.0.1:9/nowhere")
    with pytest.raises(ConfigurationError, match="was given an AsyncEngine"):
        Database(create_async_engine("sqlite+aiosqlite:///x.db"))  # type: ignore[arg-type]  # the mistake


def test_an_option_that_nobody_knows_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Database("sqlite:///x.db", pool_siez=3)


async def test_sqlite_reads_while_it_writes_and_minds_its_foreign_keys(
    sqlite: str, make_database: Callable[..., Database]
) -> None:
    database = make_database(sqlite)
    found: dict[str, Any] = {}
    for pragma in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout"):
        with database.engine.connect() as connection:
            found[pragma] = connection.scalar(text(f"pragma {pragma}"))
        async with database.async_engine.connect() as other:
            assert found[pragma] == await other.scalar(text(f"pragma {pragma}"))
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 5000}


def test_a_connection_that_was_used_a_moment_ago_is_not_tried(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def try_it(driver: Any) -> bool:
        tried.append(driver)
        return True

    database = Database(postgresql)
    dialect: Any = database.engine.dialect
    monkeypatch.setattr(dialect, "do_ping", try_it)
    for idle_seconds in (5.0, 0.0):
        monkeypatch.setattr(engines, "IDLE_SECONDS", idle_seconds)
        for _ in range(2):
            with database.engine.connect() as connection:
                connection.scalar(text("select 1"))
        assert len(tried) == (0 if idle_seconds else 2)
    database.engine.dispose()


def test_an_engine_of_ones_own_is_used_as_it_is(sqlite: str) -> None:
    engine = create_engine(sqlite)
    assert Database(engine).engine is engine
    engine.dispose()
