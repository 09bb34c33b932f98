"""Leasing: a stream that pauses gives its connection back, and keeps what it has loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, event, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from zope.sqlalchemy import mark_changed  # type: ignore[import-untyped]  # it has no annotations

from millstream import Millstream, TGController, expose, stream
from millstream.database import Database
from millstream.testing import Client

Check = Callable[[Database], Any]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(order_by="Book.id")


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]


class Root(TGController):
    """Runs what a test wants between two items, and yields how many connections are out after each pause."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.steps: list[Callable[[Any], Any]] = []

    @property
    def out(self) -> int:
        out: int = self.database.engine.pool.checkedout()  # type: ignore[attr-defined]  # every queued pool has it
        return out

    @expose("ndjson")
    def sync(self) -> Iterator[Any]:
        kept: dict[str, Any] = {}
        for step in self.steps:
            found = step(kept)
            yield found
            yield f"out: {self.out}"

    @expose("ndjson")
    async def twin(self) -> AsyncIterator[Any]:
        """Such steps, given the session behind the asynchronous one."""
        pool: Any = self.database.async_engine.pool
        for step in self.steps:
            yield await self.database.async_session().run_sync(step)
            yield f"out: {pool.checkedout()}"


@pytest.fixture
def root(url: str, make_database: Callable[..., Database]) -> Root:
    database = make_database(url)
    Base.metadata.create_all(database.engine)
    with database.engine.begin() as connection:
        connection.execute(insert(Author), [{"id": n, "name": f"name {n}"} for n in range(1, 4)])
        books = [{"id": n, "author_id": 1, "title": f"title {n}"} for n in range(1, 4)]
        connection.execute(insert(Book), books)
    return Root(database)


async def run(root: Root, *steps: Callable[[Any], Any]) -> list[Any]:
    """What the steps returned, each followed by the connections that were out after it."""
    root.steps = list(steps)
    async with Client(Millstream(root, participants=[root.database])) as client:
        reply = await client.get("/sync")
        return [line.decode().strip('"') for line in reply.body.splitlines()]


async def test_a_read_is_over_when_the_stream_pauses(root: Root) -> None:
    session = root.database.session
    seen = await run(root, lambda _: session.get_one(Author, 1).name, lambda _: "nothing")
    assert seen == ["name 1", "out: 0", "nothing", "out: 0"]


async def test_what_was_loaded_can_be_used_without_a_statement(root: Root) -> None:
    session, statements = root.database.session, list[str]()
    event.listen(root.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def load(kept: dict[str, Any]) -> str:
        kept["author"] = session.get_one(Author, 1)
        return "loaded"

    def use(kept: dict[str, Any]) -> str:
        statements.clear()
        assert kept["author"] in session
        name: str = kept["author"].name
        assert statements == []
        return name

    assert await run(root, load, use) == ["loaded", "out: 0", "name 1", "out: 0"]


async def test_what_was_not_loaded_yet_is_loaded_then(root: Root) -> None:
    session = root.database.session

    def load(kept: dict[str, Any]) -> str:
        kept["author"] = session.get_one(Author, 1)
        return "loaded"

    def use(kept: dict[str, Any]) -> str:
        return " ".join(book.title for book in kept["author"].books)

    assert await run(root, load, use) == ["loaded", "out: 0", "title 1 title 2 title 3", "out: 0"]


async def test_a_query_in_a_later_step_sees_what_others_have_committed(root: Root) -> None:
    session = root.database.session

    def load(kept: dict[str, Any]) -> str:
        kept["author"] = session.scalars(select(Author).filter_by(id=1)).one()
        return str(kept["author"].name)

    def look_again(kept: dict[str, Any]) -> str:
        with root.database.engine.begin() as other:
            other.execute(text("update authors set name = 'new' where id = 1"))
        assert session.scalars(select(Author).filter_by(id=1)).one() is kept["author"]
        return str(kept["author"].name)

    assert await run(root, load, look_again) == ["name 1", "out: 0", "new", "out: 0"]


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.add(Author(id=9, name="new")),
        lambda session: (session.add(Author(id=9, name="new")), session.flush()),
        lambda session: session.execute(text("insert into authors values (9, 'new')")),
        lambda session: session.connection().exec_driver_sql("insert into authors values (9, 'new')"),
        lambda session: session.execute(insert(Author).values(id=9, name="new")),
    ],
    ids=["add", "flush", "text", "driver", "core"],
)
async def test_a_write_keeps_its_connection_and_is_committed_at_the_end(
    root: Root, write: Callable[[Any], Any]
) -> None:
    session = root.database.session

    def begin(_: Any) -> str:
        session.get(Author, 1)
        write(session)
        return "written"

    seen = await run(root, begin, lambda _: session.get_one(Author, 9).name, lambda _: "pause")
    assert seen == ["written", "out: 1", "new", "out: 1", "pause", "out: 1"]
    with root.database.engine.connect() as connection:
        assert connection.scalar(text("select name from authors where id = 9")) == "new"


async def test_a_checkpoint_gives_the_connection_back_and_keeps_the_objects(root: Root) -> None:
    session = root.database.session

    def write(kept: dict[str, Any]) -> str:
        kept["author"] = Author(id=9, name="new")
        session.add(kept["author"])
        stream.commit()
        return "written"

    def change(kept: dict[str, Any]) -> str:
        kept["author"].name = "changed"
        return "changed"

    assert await run(root, write, change, lambda kept: kept["author"].name) == [
        *("written", "out: 0"),
        *("changed", "out: 0"),
        *("changed", "out: 0"),
    ]
    with root.database.engine.connect() as connection:
        assert connection.scalar(text("select name from authors where id = 9")) == "changed"


async def test_a_result_that_is_still_read_keeps_its_connection(root: Root) -> None:
    session = root.database.session

    def begin(kept: dict[str, Any]) -> str:
        names = select(Author.name).order_by(
            Author.id
        )  # the rows of a query of objects are read ahead otherwise
        kept["rows"] = session.execute(names.execution_options(yield_per=1)).scalars()
        return str(next(kept["rows"]))

    def go_on(kept: dict[str, Any]) -> str:
        return str(next(kept["rows"]))

    def finish(kept: dict[str, Any]) -> str:
        return f"{next(kept['rows'])}, {next(kept['rows'], 'end')}"

    assert await run(root, begin, go_on, finish) == [
        *("name 1", "out: 1"),
        *("name 2", "out: 1"),
        *("name 3, end", "out: 0"),
    ]


async def test_a_result_that_nobody_can_read_any_more_keeps_nothing(root: Root) -> None:
    session = root.database.session
    assert await run(root, lambda _: next(session.execute(select(Author.__table__.c.name)).scalars())) == [
        "name 1",
        "out: 0",
    ]


async def test_a_savepoint_keeps_its_connection(root: Root) -> None:
    session = root.database.session

    def begin(kept: dict[str, Any]) -> str:
        kept["savepoint"] = session.begin_nested()
        session.get(Author, 1)
        return "open"

    def end(kept: dict[str, Any]) -> str:
        kept["savepoint"].rollback()
        return "closed"

    assert await run(root, begin, end) == ["open", "out: 1", "closed", "out: 0"]


async def test_a_lock_keeps_its_connection(root: Root) -> None:
    session = root.database.session
    if root.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks no rows")
    lock = select(Author.name).filter_by(id=1).with_for_update()
    assert await run(root, lambda _: session.scalar(lock)) == ["name 1", "out: 1"]


async def test_a_function_that_writes_is_found_out_by_asking_the_database(root: Root) -> None:
    session = root.database.session
    if root.database.engine.dialect.name == "sqlite":
        pytest.skip("functions of SQLite do not write")
    with root.database.engine.begin() as connection:
        connection.execute(
            text(
                "create function add_author(integer) returns integer language sql as "
                "'insert into authors values ($1, ''by a function'') returning id'"
            )
        )
        connection.execute(text("create function harmless() returns integer language sql as 'select 1'"))
    assert await run(
        root,
        lambda _: session.scalar(select(func.harmless())),
        lambda _: session.scalar(select(func.add_author(9))),
    ) == ["1", "out: 0", "9", "out: 1"]
    with root.database.engine.connect() as connection:
        assert connection.scalar(text("select name from authors where id = 9")) == "by a function"


async def test_mark_changed_of_zope_keeps_the_connection(root: Root) -> None:
    session = root.database.session

    def mark(_: Any) -> str:
        session.get(Author, 1)
        mark_changed(session())
        return "marked"

    assert await run(root, mark) == ["marked", "out: 1"]


async def test_a_pause_costs_next_to_nothing_when_there_is_nothing_to_give_back(root: Root) -> None:
    session, statements = root.database.session, list[str]()
    steps: list[Callable[[Any], Any]] = [lambda _: session.get_one(Author, 1).name] * 3
    event.listen(root.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    seen = await run(root, *steps, *[lambda _: "idle"] * 50)
    assert seen.count("out: 0") == 53
    assert len(statements) == 3  # an object that nobody kept was loaded anew, and pausing asked nothing


async def test_the_asynchronous_session_gives_back_as_well(root: Root) -> None:
    database = root.database
    root.steps = [
        lambda session: session.get_one(Author, 1).name,
        lambda session: session.add(Author(id=9, name="new")),
        lambda session: session.get_one(Author, 9).name,
    ]
    async with Client(Millstream(root, participants=[database])) as client:
        reply = await client.get("/twin")
    seen = [line.decode().strip('"') for line in reply.body.splitlines()]
    assert seen == ["name 1", "out: 0", "null", "out: 0", "new", "out: 1"]


class Streams(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database

    @expose("ndjson")
    async def read(self) -> AsyncIterator[Any]:
        """A cursor on the server, read over several items."""
        pool: Any = self.database.async_engine.pool
        names = select(Author.name).order_by(Author.id).execution_options(yield_per=1)
        async for name in await self.database.async_session.stream_scalars(names):
            yield name
            yield f"out: {pool.checkedout()}"
        yield "end"
        yield f"out: {pool.checkedout()}"

    @expose("ndjson")
    async def drop(self) -> AsyncIterator[Any]:
        """One that is left behind after its first row."""
        pool: Any = self.database.async_engine.pool
        names = select(Author.name).order_by(Author.id).execution_options(yield_per=1)
        result = await self.database.async_session.stream_scalars(names)
        yield await anext(aiter(result))
        yield f"out: {pool.checkedout()}"
        del result
        yield "left"
        yield f"out: {pool.checkedout()}"

    @expose("ndjson")
    def many(self) -> Iterator[Any]:
        """More results in one step than are remembered, the first of them unread."""
        session = self.database.session
        names = select(Author.name).order_by(Author.id).execution_options(yield_per=1)
        first = session.scalars(names)
        next(first)
        for _ in range(100):
            session.scalar(select(Author.name))
        yield len(session().lease._results) < 40
        yield next(first)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/read", ["name 1", "out: 1", "name 2", "out: 1", "name 3", "out: 1", "end", "out: 0"]),
        ("/drop", ["name 1", "out: 1", "left", "out: 0"]),
        ("/many", ["true", "name 2"]),
    ],
)
async def test_a_cursor_on_the_server_keeps_its_connection_as_long_as_it_is_read(
    root: Root, path: str, seen: list[str]
) -> None:
    async with Client(Millstream(Streams(root.database), participants=[root.database])) as client:
        reply = await client.get(path)
    assert [line.decode().strip('"') for line in reply.body.splitlines()] == seen
