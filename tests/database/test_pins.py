"""Connections that are kept for long are seen, and told of once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy import text

from millstream import Millstream, TGController, expose, stream
from millstream.database import Database
from millstream.testing import Client


class Root(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database

    @expose("ndjson")
    def keeps(self) -> Iterator[int]:
        self.database.session.execute(text("create table t (x int)"))
        yield 1
        stream.sleep(30)

    @expose("ndjson")
    async def akeeps(self) -> AsyncIterator[int]:
        await self.database.async_session.execute(text("create table t (x int)"))
        yield 1
        await stream.sleep(30)

    @expose("ndjson")
    def rests(self) -> Iterator[int]:
        self.database.session.execute(text("select 1"))
        yield 1
        stream.sleep(30)


@pytest.fixture
def database(url: str, make_database: Callable[..., Database]) -> Database:
    return make_database(url, pin_warning=0.05)


@pytest.mark.parametrize("kind", ["", "a"], ids=["sync", "async"])
async def test_a_stream_that_keeps_its_connection_is_seen_and_logged_once(
    database: Database, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="millstream")
    async with (
        Client(Millstream(Root(database), participants=[database])) as client,
        client.stream("GET", f"/{kind}keeps") as reply,
    ):
        await reply.next_line()
        await asyncio.sleep(0.3)  # six times as long as is allowed: what must not happen is a second line
        (lease,) = database.leases
        assert (lease.route, lease.wrote) == (f"Root.{kind}keeps", True)
        assert lease.seconds > 0.2
    assert database.leases == ()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"Root.{kind}keeps has kept a database connection for 0.")
    assert "stream.commit()" in line


async def test_a_stream_that_rests_is_not_spoken_of(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Client(Millstream(Root(database), participants=[database])) as client,
        client.stream("GET", "/rests") as reply,
    ):
        await reply.next_line()
        await asyncio.sleep(0.15)  # as above
        assert database.leases == ()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
