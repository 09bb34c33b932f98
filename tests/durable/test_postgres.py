from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.postgres import PostgresEngine
from millstream.errors import ConfigurationError
from millstream.testing import check_log
from millstream.testing.postgres import PostgresServer, postgres

PATIENCE: Final = 20.0
TEXT: Final = Config(content_type="text/plain")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stored(server: PostgresServer) -> Iterator[None]:
    yield
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "DROP TABLE IF EXISTS millstream_streams, millstream_records, millstream_producers"
        )


async def test_it_keeps_the_contract(server: PostgresServer) -> None:
    await check_log(lambda: PostgresEngine(server.url))


async def test_a_database_that_is_not_there_is_told_in_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="the durable database cannot be used") as refused:
        await PostgresEngine("postgresql://nobody@127.0.0.1:1/nothing").open(lambda _: None)
    assert "\n" not in str(refused.value)


async def test_a_change_after_a_lost_connection_connects_again(server: PostgresServer) -> None:
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT)
        _end_other_connections(server)
        with pytest.raises(psycopg.OperationalError):
            await log.append("a", Append(records=[b"lost"]))
        await log.append("a", Append(records=[b"kept"]))
        assert [bytes(m) for m in (await log.read("a")).messages] == [b"kept"]


async def test_a_reader_does_not_notice_that_its_connection_was_lost(server: PostgresServer) -> None:
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT, [b"one"])
        await log.describe("a")
        _end_other_connections(server)
        assert (await log.describe("a")).tail == 3


async def test_whoever_waits_is_told_again_after_the_listener_was_cut_off(server: PostgresServer) -> None:
    told: asyncio.Queue[str | None] = asyncio.Queue()
    engine, other = PostgresEngine(server.url), PostgresEngine(server.url)
    await engine.open(told.put_nowait)
    await other.open(lambda _: None)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await told.get() is None
            _end_other_connections(server)
            assert await told.get() is None
    finally:
        await engine.close()
        await other.close()
    assert engine.poll is not None


async def test_a_cancelled_reader_leaves_no_broken_connection_behind(server: PostgresServer) -> None:
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT, [b"one"])
        for _ in range(20):
            reading = asyncio.create_task(log.describe("a"))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        assert (await log.describe("a")).tail == 3


def _end_other_connections(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millstream'"
        )
