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

from millstream import ASGIAppController, Millstream, Settings, TGController, expose, stream
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
    def closed(self, how: str) -> dict[str, int]:
        session = self.database.session
        session.execute(text("insert into t values (1)"))
        if how == "block":
            with session():
                pass
        else:
            getattr(session, how)()
        return {}

    @expose("ndjson")
    def writes_late(self, commit: bool = False) -> Iterator[int]:
        def write(*_: Any) -> None:
            self.database.session.execute(text("insert into t values (1)"))
            if commit:
                transaction.commit()

        stream.on_end(write)
        yield 1

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
    async def closed(self, how: str) -> dict[str, int]:
        session = self.database.async_session
        await session.execute(text("insert into t values (1)"))
        if how == "block":
            async with session():
                pass
        else:
            await getattr(session, how)()
        return {}

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


@pytest.mark.parametrize("make", [Root, AsyncRoot])
@pytest.mark.parametrize(
    ("how", "status"), [("close", 500), ("reset", 500), ("block", 500), ("rollback", 200)]
)
async def test_closing_a_session_with_unsaved_work_ends_nothing_well_and_undoing_it_does(
    database: Database, make: Callable[[Database], Any], how: str, status: int
) -> None:
    async with Client(Millstream(make(database), participants=[database])) as client:
        assert (await client.get(f"/closed?how={how}")).status == status
        assert (await client.get("/removed_after_commit" if make is AsyncRoot else "/aborted")).status == 200
    with database.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from t")) == (make is AsyncRoot)


async def test_what_is_written_after_the_end_is_committed_there_or_undone_and_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(Millstream(Root(database), participants=[database])) as client:
        assert (await client.get("/writes_late?commit=true")).body == b"1\n"
        assert "after its transaction had ended" not in caplog.text
        assert (await client.get("/writes_late")).body == b"1\n"
    assert "Root.writes_late wrote to the database after its transaction had ended" in caplog.text
    with database.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from t")) == 1


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


class Unsettled(TGController):
    """Uses a database that its application does not have, on every road there is.

    It does so by a name that is made when it runs, or the application would not start.
    """

    def __init__(self, database: Database) -> None:
        self.parts: dict[str, Any] = {
            "session": database.session,
            "async_session": database.async_session,
            "rows": database.rows,
        }

    def _write(self) -> None:
        self.parts["session"].execute(text("insert into t values (1)"))

    async def _write_later(self) -> None:
        await self.parts["async_session"].execute(text("insert into t values (1)"))

    @expose("json")
    def sync(self) -> dict[str, int]:
        self._write()
        return {}

    @expose("json")
    async def later(self) -> dict[str, int]:
        await self._write_later()
        return {}

    @expose("json")
    async def blocking(self) -> dict[str, int]:
        self._write()
        return {}

    @expose("json")
    async def in_a_thread(self) -> dict[str, int]:
        await asyncio.to_thread(self._write)
        return {}

    @expose("json")
    async def in_a_task(self) -> dict[str, int]:
        await asyncio.create_task(self._write_later())
        return {}

    @expose("ndjson")
    def steps(self) -> Iterator[int]:
        self._write()
        yield 1

    @expose("ndjson")
    async def later_steps(self) -> AsyncIterator[int]:
        await self._write_later()
        yield 1

    @expose("json")
    def removes(self) -> dict[str, int]:
        self.parts["session"].remove()
        return {}

    @expose("ndjson")
    def rows(self) -> Any:
        return self.parts["rows"](ONE)

    @expose("ndjson")
    def each_row(self) -> Iterator[Any]:
        yield from self.parts["rows"](ONE)


class Before(TGController):
    def __init__(self, database: Database) -> None:
        self.parts: dict[str, Any] = {"session": database.session}

    def _before(self, *_: Any, **__: Any) -> None:
        self.parts["session"].execute(text("insert into t values (1)"))

    @expose("json")
    def index(self) -> dict[str, int]:
        return {}


ROADS = [name for name, method in vars(Unsettled).items() if hasattr(method, "__millstream__")]


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("road", [*ROADS, "before/"])
async def test_a_database_that_the_application_does_not_have_is_refused_at_its_first_use(
    database: Database, make_database: Callable[..., Database], tmp_path: Any, road: str, *, mounted: bool
) -> None:
    root = Unsettled(database)
    root.before = Before(database)  # type: ignore[attr-defined]
    application = Millstream(root, participants=[make_database(f"sqlite:///{tmp_path / 'other.db'}")])
    if mounted:  # below an application that has it
        outer = TGController()
        outer.inner = ASGIAppController(application)  # type: ignore[attr-defined]
        application = Millstream(outer, participants=[database])
    async with Client(application) as client:
        reply = await client.get(f"{'/inner' * mounted}/{road}")
    assert (reply.status, "participants=[database]" in reply.text) == (500, False)
    with database.engine.connect() as connection:
        assert connection.execute(text("select count(*) from t")).scalar() == 0
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queued pool has it


async def test_the_remedy_for_a_database_that_the_application_does_not_have_is_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(Millstream(Unsettled(database))) as client:
        for road, used in (("sync", "session"), ("later", "async_session"), ("rows", "rows")):
            caplog.clear()
            assert (await client.get(f"/{road}")).status == 500
            assert f"database.{used} was used in a request of an application that does not" in caplog.text
            assert "participants=[database]" in caplog.text


async def test_a_durable_run_settles_as_any_request(database: Database, tmp_path: Any) -> None:
    class Durable(TGController):
        @expose("ndjson", durable=True)
        def run(self) -> Iterator[int]:
            getattr(database, "session").execute(text("insert into t values (1)"))  # noqa: B009  see above
            yield 1

    settings = Settings(durable_url=f"sqlite:///{tmp_path / 'streams.db'}")
    for participants, rows in (([], 0), ([database], 1)):
        async with Client(Millstream(Durable(), settings, participants=participants)) as client:
            assert (await client.get("/run")).status == (200 if rows else 500)
        with database.engine.connect() as connection:
            assert connection.execute(text("select count(*) from t")).scalar() == rows


def test_outside_a_request_the_session_is_the_threads(database: Database) -> None:
    database.session.execute(text("insert into t values (1)"))
    transaction.commit()
    assert database.session.scalar(select(text("x from t"))) == 1
    assert [row.x for row in database.rows(text("select x from t"))] == [1]
    transaction.abort()
    database.session.remove()
