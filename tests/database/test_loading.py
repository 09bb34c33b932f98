"""Loading: what Python cannot hold is a text, on every connection of a database and for everybody."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg.types.string import TextLoader
from sqlalchemy import create_engine, event, make_url, text
from tests.database.conftest import MakeDatabase

from millstream.database import Database

VALUES: dict[str, Any] = {
    "'2026-01-02'::date": date(2026, 1, 2),
    "'infinity'::date": "infinity",
    "'0044-03-15 BC'::date": "0044-03-15 BC",
    "'10000-01-01'::timestamp": "10000-01-01 00:00:00",
    "'-infinity'::timestamptz": "-infinity",
    "'24:00'::time": "24:00:00",
    "'24:00+02'::timetz": "24:00:00+02",
    "'{infinity,2026-01-02}'::date[]": ["infinity", date(2026, 1, 2)],
    "'1 day 00:00:01.5'::interval": timedelta(days=1, seconds=1.5),
    "'infinity'::interval": "infinity",
    "'-infinity'::interval": "-infinity",
    "'178000000 years'::interval": "178000000 years",
    "'2147483647 days'::interval": "2147483647 days",
    "'999999999 days'::interval": timedelta(days=999_999_999),
    "'-2562047788:00:54.775807'::interval": -timedelta(hours=2562047788, seconds=54.775807),
    "'1 year -2 mons 1234567 days -00:00:00.000001'::interval": timedelta(days=1234867, microseconds=-1),
}


def test_a_value_python_cannot_hold_is_spelled_as_postgresql_does(
    make_database: MakeDatabase, postgresql: str
) -> None:
    with make_database(postgresql).engine.connect() as connection:
        found = {expression: connection.scalar(text(f"select {expression}")) for expression in VALUES}
    assert found == VALUES


async def test_asynchronous_sessions_read_the_same(make_database: MakeDatabase, postgresql: str) -> None:
    async with make_database(postgresql).async_engine.connect() as connection:
        assert await connection.scalar(text("select 'infinity'::date")) == "infinity"


def test_the_connections_of_an_engine_that_the_author_made_read_the_same(postgresql: str) -> None:
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"))
    database = Database(engine)
    again = Database(engine)
    with database.engine.connect() as one, again.engine.connect() as other:
        assert one.scalar(text("select 'infinity'::date")) == "infinity"
        assert other.scalar(text("select '24:00'::time")) == "24:00:00"
    engine.dispose()


def test_a_loader_of_the_author_s_stays(postgresql: str) -> None:
    engine = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"))

    @event.listens_for(engine, "connect")
    def _register(driver: psycopg.Connection[Any], _: object) -> None:
        driver.adapters.register_loader("date", TextLoader)

    with Database(engine).engine.connect() as connection:
        assert connection.scalar(text("select '2026-01-02'::date")) == "2026-01-02"
    engine.dispose()
