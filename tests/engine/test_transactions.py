"""The model of a TurboGears quickstart and other users of the thread's `transaction`, in requests without and
with a participant that settles it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction  # type: ignore[import-untyped]  # it has no annotations
import zope.sqlalchemy  # type: ignore[import-untyped]  # as above
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from millstream import Millstream, Settings, TGController, abort, expose
from millstream.database import Database
from millstream.testing import BodyTruncated, Client


class Base(DeclarativeBase):
    pass


class Movie(Base):
    __tablename__ = "movies"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


# The model of the quickstart, as it is generated

maker = sessionmaker(autoflush=True, autocommit=False)
DBSession = scoped_session(maker)
zope.sqlalchemy.register(DBSession)


def init_model(engine: Engine) -> None:
    DBSession.configure(bind=engine)


class Root(TGController):
    def __init__(self) -> None:
        self.called: list[str] = []

    @expose("json")
    def add(self, title: str = "Brazil") -> dict[str, Any]:
        DBSession.add(Movie(title=title))
        DBSession.flush()
        return {"ok": 1}

    @expose("json")
    def add_unflushed(self) -> dict[str, Any]:
        DBSession.add(Movie(title="Brazil"))
        return {"ok": 1}

    @expose("ndjson")
    def steps(self) -> Iterator[int]:
        yield 1
        DBSession.add(Movie(title="Brazil"))
        yield 2

    @expose("json")
    async def later(self) -> dict[str, Any]:
        DBSession.add(Movie(title="Brazil"))
        return {"ok": 1}

    @expose("ndjson")
    async def later_steps(self) -> AsyncIterator[int]:
        yield 1
        DBSession.add(Movie(title="Brazil"))

    @expose("json")
    def hook(self) -> dict[str, Any]:
        transaction.get().addAfterCommitHook(lambda _: self.called.append("hook"))
        return {"ok": 1}

    @expose("json")
    def committed(self) -> dict[str, Any]:
        self.add("committed")
        transaction.commit()
        return {"ok": 1}

    @expose("ndjson")
    def committed_in_steps(self) -> Iterator[int]:
        for number in range(3):
            with transaction.manager:
                self.add(f"step {number}")
            yield number

    @expose("json")
    def aborted(self) -> dict[str, Any]:
        self.add("aborted")
        transaction.abort()
        return {"ok": 1}

    @expose("json")
    def refused(self) -> None:
        self.add("refused")
        abort(409)

    @expose("json")
    def index(self) -> dict[str, Any]:
        return {"clean": not transaction.get()._resources}


class Lasting(Root):
    @expose("ndjson", durable=True)
    def run(self) -> Iterator[int]:
        yield 1
        DBSession.add(Movie(title="Brazil"))
        yield 2


class Before(Root):
    def _before(self, *_: Any, **__: Any) -> None:
        self.add("before")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'movies.db'}")
    Base.metadata.create_all(engine)
    init_model(engine)
    yield engine
    transaction.abort()
    DBSession.remove()
    engine.dispose()


@pytest.fixture
def titles(engine: Engine) -> Callable[[], list[str]]:
    def found() -> list[str]:
        with engine.connect() as connection:
            return list(connection.scalars(text("select title from movies order by id")))

    return found


@pytest.fixture
async def client(engine: Engine, tmp_path: Path) -> AsyncIterator[Client]:
    del engine
    settings = Settings(durable_url=f"sqlite:///{tmp_path / 'streams.db'}")
    async with Client(Millstream(Lasting(), settings)) as client:
        yield client
        assert (await client.get("/")).json() == {"clean": True}


@pytest.mark.parametrize("path", ["/add", "/add_unflushed", "/later"])
async def test_a_session_that_nobody_commits_is_a_500_and_nothing_is_stored(
    client: Client, titles: Callable[[], list[str]], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    assert (await client.get(path)).status == 500
    assert titles() == []
    if path != "/later":
        assert "a session that is registered with zope.sqlalchemy (Engine(sqlite:///" in caplog.text
        assert "DBSession = Database(url).session" in caplog.text


@pytest.mark.parametrize("path", ["/steps", "/later_steps", "/run"])
async def test_a_stream_that_leaves_something_to_commit_does_not_end_well(
    client: Client, titles: Callable[[], list[str]], path: str
) -> None:
    with pytest.raises(BodyTruncated):
        await client.get(path)
    assert titles() == []


async def test_asynchronous_code_is_told_at_the_first_use(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/later")
    assert "Lasting.later used the transaction of its thread" in caplog.text


async def test_before_counts_as_the_action_does(engine: Engine, titles: Callable[[], list[str]]) -> None:
    del engine
    async with Client(Millstream(Before())) as client:
        assert (await client.get("/")).status == 500
    assert titles() == []


async def test_a_hook_that_is_never_called_is_named(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert (await client.get("/hook")).status == 500
    assert "the hook Root.hook.<locals>.<lambda> joined the transaction of the thread" in caplog.text


async def test_an_author_may_settle_it(client: Client, titles: Callable[[], list[str]]) -> None:
    for path in ("/committed", "/committed_in_steps", "/aborted"):
        assert (await client.get(path)).status == 200
    assert titles() == ["committed", "step 0", "step 1", "step 2"]


async def test_what_a_refused_request_left_is_not_the_next_one_s(
    client: Client, titles: Callable[[], list[str]]
) -> None:
    assert (await client.get("/refused")).status == 409
    assert (await client.get("/committed")).status == 200
    assert titles() == ["committed"]


async def test_a_database_settles_whatever_else_has_joined(
    engine: Engine, titles: Callable[[], list[str]], tmp_path: Path
) -> None:
    del engine
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    with database.engine.begin() as connection:
        connection.execute(text("create table t (x int)"))

    class Both(Root):
        @expose("json")
        def both(self, first: bool) -> dict[str, Any]:
            if first:
                database.session.execute(text("insert into t values (1)"))
            self.add("both")
            transaction.get().addAfterCommitHook(lambda done: self.called.append(f"hook {done}"))
            if not first:
                database.session.execute(text("insert into t values (1)"))
            return {}

    root = Both()
    async with Client(Millstream(root, participants=[database])) as client:
        for first in ("true", "false"):
            assert (await client.get(f"/both?first={first}")).status == 200
        assert (await client.get("/add")).status == 500  # the database is not used there
    assert titles() == ["both", "both"]
    assert root.called == ["hook True", "hook True"]


async def test_head_undoes_in_silence(client: Client, titles: Callable[[], list[str]]) -> None:
    assert (await client.head("/add")).status == 200
    assert titles() == []


def test_outside_a_request_everything_is_as_it_was(engine: Engine, titles: Callable[[], list[str]]) -> None:
    del engine
    DBSession.add(Movie(title="a script"))
    transaction.commit()
    assert titles() == ["a script"]


async def test_outside_a_request_a_loop_s_thread_may_use_it(
    client: Client, titles: Callable[[], list[str]]
) -> None:
    await client.get("/")
    DBSession.add(Movie(title="at start-up"))
    transaction.commit()
    assert titles() == ["at start-up"]
