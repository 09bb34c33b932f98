"""Where a session is found, and what is said where it must not be used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
import transaction  # type: ignore[import-untyped]  # it has no annotations
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from millstream import Millstream, TGController, expose, stream
from millstream.database import Database
from millstream.errors import ControllerError, OutsideRequest
from millstream.testing import BodyTruncated, Client

ONE = select(text("1"))


class Root(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[Any] = []
        self.left: Any = None

    def _before(self, *_: Any, **__: Any) -> None:
        self.seen.append(self.database.session())

    @expose("ndjson")
    def everywhere(self) -> Any:
        self.seen.append(self.database.session())

        def steps() -> Iterator[int]:
            try:
                for _ in range(2):
                    self.seen.append(self.database.session())
                    yield self.database.session.scalar(ONE) or 0
            finally:
                self.seen.append(self.database.session())

        return steps()

    @expose("json")
    def removed(self) -> dict[str, int]:
        self.database.session.execute(text("insert into t values (1)"))
        self.database.session.remove()
        return {}

    @expose("json")
    def aborted(self) -> dict[str, int]:
        self.database.session.execute(text("insert into t values (1)"))
        transaction.abort()
        self.database.session.remove()
        return {"used": self.database.session.scalar(ONE) or 0}

    @expose("json")
    def leaves_something(self) -> dict[str, int]:
        self.left = copy_context()
        return {}

    @expose("json")
    def asks_the_other(self) -> dict[str, int]:
        self.database.async_session.add(object())
        return {}

    @expose("json")
    async def in_a_thread(self) -> dict[str, int]:
        await asyncio.to_thread(self.database.session.execute, text("insert into t values (1)"))
        return {}


class AsyncRoot(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[Any] = []

    async def _before(self, *_: Any, **__: Any) -> None:
        self.seen.append(self.database.async_session())

    @expose("ndjson")
    async def everywhere(self) -> AsyncIterator[int]:
        try:
            for _ in range(2):
                self.seen.append(self.database.async_session())
                yield await self.database.async_session.scalar(ONE) or 0
        finally:
            self.seen.append(self.database.async_session())

    @expose("ndjson")
    async def removed(self) -> AsyncIterator[int]:
        await self.database.async_session.execute(text("insert into t values (1)"))
        await self.database.async_session.remove()
        yield 1

    @expose("json")
    async def removed_after_commit(self) -> dict[str, int]:
        await self.database.async_session.execute(text("insert into t values (1)"))
        await stream.commit()
        await self.database.async_session.remove()
        return {"used": await self.database.async_session.scalar(ONE) or 0}

    @expose("json")
    async def asks_the_other(self) -> dict[str, int]:
        self.database.session.add(object())
        return {}


@pytest.fixture
def database(url: str, make_database: Callable[..., Database]) -> Database:
    database = make_database(url)
    with database.engine.begin() as connection:
        connection.execute(text("create table t (x int)"))
    return database


async def test_one_session_is_found_everywhere_in_a_stream(database: Database) -> None:
    for root in (Root(database), AsyncRoot(database)):
        async with Client(Millstream(root, participants=[database])) as client:
            assert (await client.get("/everywhere")).body == b"1\n1\n"
        assert len(set(map(id, root.seen))) == 1
        assert len(root.seen) >= 4


async def test_streams_that_alternate_have_sessions_of_their_own(database: Database) -> None:
    for root in (Root(database), AsyncRoot(database)):
        async with Client(Millstream(root, participants=[database])) as client:
            await asyncio.gather(*(client.get("/everywhere") for _ in range(10)))
        assert len(set(map(id, root.seen))) == 10


async def test_removing_a_session_with_unsaved_work_ends_nothing_well(database: Database) -> None:
    async with Client(Millstream(Root(database), participants=[database])) as client:
        assert (await client.get("/removed")).status == 500
    async with Client(Millstream(AsyncRoot(database), participants=[database])) as client:
        with pytest.raises(BodyTruncated):
            await client.get("/removed")


async def test_removing_a_session_after_it_was_settled_does_no_harm(database: Database) -> None:
    async with Client(Millstream(Root(database), participants=[database])) as client:
        assert (await client.get("/aborted")).json() == {"used": 1}
    async with Client(Millstream(AsyncRoot(database), participants=[database])) as client:
        assert (await client.get("/removed_after_commit")).json() == {"used": 1}


async def test_the_wrong_session_says_which_is_the_right_one(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(Millstream(AsyncRoot(database), participants=[database])) as client:
        assert (await client.get("/asks_the_other")).status == 500
    assert "use `await database.async_session…`" in caplog.text
    async with Client(Millstream(Root(database), participants=[database])) as client:
        assert (await client.get("/asks_the_other")).status == 500
    assert "use database.session there" in caplog.text


async def test_a_thread_of_the_authors_settles_with_the_request(database: Database) -> None:
    async with Client(Millstream(Root(database), participants=[database])) as client:
        assert (await client.get("/in_a_thread")).status == 200
    with database.engine.connect() as connection:
        assert connection.execute(text("select x from t")).all() == [(1,)]


async def test_code_that_outlives_its_request_is_told_so(database: Database) -> None:
    root = Root(database)
    async with Client(Millstream(root, participants=[database])) as client:
        await client.get("/leaves_something")
    with pytest.raises(ControllerError, match="outlived its request"):
        await asyncio.to_thread(root.left.run, database.session)


async def test_outside_a_request_there_is_no_asynchronous_session_of_ours(database: Database) -> None:
    with pytest.raises(OutsideRequest, match=r"database\.async_session"):
        database.async_session()
    async with AsyncSession(database.async_engine) as own:
        assert await own.scalar(ONE) == 1
