"""Whatever runs in a database ends with its stream, on every way out of every database."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Text, cast, create_engine, event, func, literal, make_url, select, text

from millstream import Member, Millstream, Settings, TGController, expose, stream
from millstream.database import Database
from millstream.errors import StreamInterrupted
from millstream.protocol.events import Reason
from millstream.testing import BodyTruncated, Client

FORMATS = ["csv", "json", "ndjson", "sse", "xml", "xlsx", "arrow", "parquet"]
SOON = 20.0
"""Seconds within which it must have ended; the statements themselves take longer."""


def endless(database: Database) -> Any:
    """A query that gives no row for minutes."""
    if database.engine.dialect.name == "postgresql":
        return select(literal(1).label("a"), cast(func.pg_sleep(600), Text).label("n"))
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1))
    return select(numbers.c.n).where(numbers.c.n < 0)


class Root(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.seen: list[str] = []
        self.ended: list[Reason] = []
        self.id = ""

    def _before(self, *_: Any, name: str = "", **__: Any) -> None:
        if name:  # it stops another stream
            return
        self.id = stream.id
        stream.on_end(lambda reason, _: self.ended.append(reason))

    def _all(function: Any) -> Any:  # noqa: N805  a decorator of this class
        for name in reversed(FORMATS):
            function = expose(name)(function)
        return function

    @_all
    def returned(self) -> Any:
        return endless(self.database)

    @_all
    async def returned_later(self) -> Any:
        return endless(self.database)

    @_all
    def on_the_session(self) -> Any:
        self.database.session.execute(text("insert into t values (1)"))
        return endless(self.database)

    @_all
    async def on_the_async_session(self) -> Any:
        await self.database.async_session.execute(text("insert into t values (1)"))
        return endless(self.database)

    @expose("ndjson")
    def each_row(self) -> Iterator[Any]:
        yield from self.database.rows(endless(self.database))

    @expose("ndjson")
    def loop(self) -> Iterator[Any]:
        try:
            yield from self.database.session.execute(endless(self.database))
        except StreamInterrupted:
            self.seen.append("interrupted")
            raise
        finally:
            self.database.session.rollback()
            self.seen.append(str(self.database.session.scalar(select(literal("cleaned up")))))

    @expose("ndjson")
    async def async_loop(self) -> AsyncIterator[Any]:
        try:
            for row in await self.database.async_session.execute(endless(self.database)):
                yield row
        except asyncio.CancelledError:
            self.seen.append("interrupted")
            raise

    @expose("ndjson")
    async def async_stream(self) -> AsyncIterator[Any]:
        async for row in await self.database.async_session.stream(endless(self.database)):
            yield row

    @expose("zip")
    def archive(self) -> Iterator[Any]:
        yield Member("endless.csv", (f"{row.n}\n" for row in self.database.rows(endless(self.database))))

    @expose("csv", lifetime=0.5)
    @expose("xlsx", lifetime=0.5)
    def timed(self) -> Any:
        return endless(self.database)

    @expose("json")
    async def stop(self, name: str) -> dict[str, bool]:
        return {"stopped": stream.stop(name)}

    @expose("csv")
    def one(self) -> Any:
        return select(literal(1).label("one"))


@pytest.fixture
def root(url: str, make_database: Callable[..., Database]) -> Root:
    database = make_database(url, pool_size=2, max_overflow=0)
    with database.engine.begin() as connection:
        connection.execute(text("create table t (x int)"))
    return Root(database)


@pytest.fixture
async def client(root: Root) -> AsyncIterator[Client]:
    settings = Settings(first_item_timeout=0.1)
    async with Client(Millstream(root, settings, participants=[root.database])) as client:
        yield client
        await until(lambda: in_use(root.database) == 0)
        assert root.database.leases == ()


def in_use(database: Database) -> int:
    pools: list[Any] = [database.engine.pool, database.async_engine.pool]
    return sum(pool.checkedout() for pool in pools)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nobody tells of."""
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def runs(root: Root) -> Iterator[Callable[[], bool]]:
    """Whether the endless query runs in the database."""
    database = root.database
    if database.engine.dialect.name == "postgresql":
        watching = create_engine(
            make_url(database.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        asked = text(
            "select count(*) > 0 from pg_stat_activity where datname = current_database() "
            "and wait_event = 'PgSleep' and state = 'active'"
        )

        def is_seen() -> bool:
            with watching.connect() as connection:
                return bool(connection.scalar(asked))

        yield is_seen
        watching.dispose()
        return
    begun: list[int] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        begun.extend([1] * ("RECURSIVE" in statement))

    for engine in (database.engine, database.async_engine.sync_engine):
        event.listen(engine, "before_cursor_execute", note)
    yield lambda: bool(begun) and in_use(database) > 0


ROADS = [
    *(f"returned.{name}" for name in FORMATS),
    *(f"on_the_session.{name}" for name in ("csv", "xlsx")),
    *(f"returned_later.{name}" for name in ("csv", "xlsx")),
    *(f"on_the_async_session.{name}" for name in ("csv", "xlsx")),
    "each_row",
    "archive",
    "loop",
    "async_loop",
    "async_stream",
]


SEEN = {"loop": ["interrupted", "cleaned up"], "async_loop": ["interrupted"]}


@pytest.mark.parametrize("road", ROADS)
async def test_a_client_that_leaves_ends_what_runs_for_it(
    client: Client, root: Root, runs: Callable[[], bool], road: str
) -> None:
    async with client.stream("GET", f"/{road}") as reply:
        await until(runs)
        await reply.disconnect(wait=True)
    await until(lambda: not runs())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # SQLAlchemy drops a cursor with its connection
        gc.collect()
    assert root.ended == [Reason.CLIENT_GONE]
    assert root.seen == SEEN.get(road, [])


@pytest.mark.parametrize("format_", ["csv", "xlsx"])
async def test_a_time_out_ends_it_as_well(
    client: Client, root: Root, runs: Callable[[], bool], format_: str
) -> None:
    with pytest.raises(BodyTruncated):
        await client.get(f"/timed.{format_}")
    await until(lambda: not runs())
    assert root.ended == [Reason.TIMED_OUT]


@pytest.mark.parametrize("road", ["returned.csv", "returned.xlsx", "loop", "async_loop"])
async def test_whoever_stops_a_stream_ends_it_as_well(
    client: Client, root: Root, runs: Callable[[], bool], road: str
) -> None:
    async with client.stream("GET", f"/{road}"):
        await until(runs)
        assert (await client.get(f"/stop?name={root.id}")).json() == {"stopped": True}
        await until(lambda: not runs())
    assert root.ended == [Reason.STOPPED]


@pytest.mark.parametrize("road", ["returned.csv", "returned.xlsx", "loop", "async_loop"])
async def test_the_end_of_the_process_ends_it_as_well(
    root: Root, runs: Callable[[], bool], road: str
) -> None:
    settings = Settings(first_item_timeout=0.1, drain_timeout=0.1)
    async with Client(Millstream(root, settings, participants=[root.database])) as client:
        async with client.stream("GET", f"/{road}"):
            await until(runs)
            await client.shutdown()
        await until(lambda: not runs() and in_use(root.database) == 0)
    assert root.ended == [Reason.SHUTDOWN]


async def test_clients_that_have_left_do_not_use_up_the_pool(
    client: Client, root: Root, runs: Callable[[], bool]
) -> None:
    for _ in range(5):
        async with client.stream("GET", "/returned.xlsx") as reply, client.stream("GET", "/loop") as other:
            await until(runs)
            await reply.disconnect(wait=True)
            await other.disconnect(wait=True)
    assert (await client.get("/one")).body == b"one\r\n1\r\n"
