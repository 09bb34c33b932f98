"""Real databases: a SQLite file and a PostgreSQL of its own for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from millstream.database import Database
from millstream.testing.postgres import PostgresServer, postgres

MakeDatabase = Callable[..., Database]


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    options = ["fsync=off", "deadlock_timeout=50ms", "max_prepared_transactions=5", "max_connections=100"]
    with postgres(options=options) as running:
        yield running


@pytest.fixture
def postgresql(server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database on the server."""
    name = f"test_{uuid4().hex}"
    engine = create_engine(
        make_url(server.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    yield str(make_url(server.url).set(database=name).render_as_string(hide_password=False))
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """One test for each kind of database."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def make_database() -> AsyncIterator[MakeDatabase]:
    """Make databases that are closed after the test, with nothing left in their pools."""
    made: list[Database] = []

    def make(url: str, **options: Any) -> Database:
        database = Database(url, **options)
        made.append(database)
        return database

    yield make
    for database in made:
        await database.close()
