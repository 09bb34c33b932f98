from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from tests.durable.restoring import saved_database, saved_postgres

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.postgres import PostgresEngine, _lock
from millstream.durable.state import Change, Record, State
from millstream.errors import ConfigurationError
from millstream.testing import check_log, log_restores
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
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE app")
    url = server.url.removesuffix("postgres") + "app"
    await check_log(lambda: PostgresEngine(url), save=lambda: saved_database(server, "app"))


async def test_files_that_were_put_back_are_noticed_as_well(server: PostgresServer) -> None:
    await log_restores.an_offset_of_what_was_lost_is_gone_for_ever(
        lambda: PostgresEngine(server.url), lambda: saved_postgres(server)
    )


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
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'millstream%'"
        )


async def test_a_change_that_cannot_be_stored_fails_alone(server: PostgresServer) -> None:
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT)
        wrong = State("wrong", "\0" * 16, "text/plain")  # no text of PostgreSQL's has such a character
        impossible = log._engine.change(
            ["wrong"], None, lambda *_: Change(states=(wrong,), records=[Record(1, b"x")])
        )
        beside = [log.append("a", Append(records=[b"x"])) for _ in range(5)]
        told = await asyncio.gather(*beside[:2], impossible, *beside[2:], return_exceptions=True)
        assert [type(each) for each in told if isinstance(each, Exception)] == [psycopg.DataError]
        assert (await log.describe("a")).tail == 5
        assert await log._engine.look("wrong") is None


async def test_a_process_that_stands_still_in_a_transaction_stops_no_other(server: PostgresServer) -> None:
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT)
        frozen = await PostgresEngine(server.url)._connect()
        await frozen.execute("SET idle_in_transaction_session_timeout = '100ms'")  # instead of ten seconds
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT pg_advisory_xact_lock(%s)", (_lock("a"),))
        async with asyncio.timeout(PATIENCE):
            await log.append("a", Append(records=[b"x"]))
        await frozen.close()


async def test_a_connection_ends_a_transaction_that_stands_still(server: PostgresServer) -> None:
    async with await PostgresEngine(server.url)._connect() as connection:
        for setting, value in (("idle_in_transaction_session_timeout", "10s"), ("synchronous_commit", "on")):
            assert await (await connection.execute(f"SHOW {setting}")).fetchone() == (value,)


async def test_a_server_that_stands_still_is_told_as_one_that_is_not_there(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.durable.postgres.ANSWER", 0.3)
    async with Log(PostgresEngine(server.url)) as log:
        await log.create("a", TEXT)
        with psycopg.connect(server.url) as blocking:
            blocking.execute("LOCK TABLE millstream_streams IN ACCESS EXCLUSIVE MODE")
            for asked in (log.append("a", Append(records=[b"x"])), log.describe("a")):
                with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
                    await asyncio.wait_for(asked, PATIENCE)
        assert (await log.describe("a")).tail == 0
