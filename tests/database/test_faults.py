"""What goes wrong with databases, and the clear answer to each."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from millstream import Millstream, TGController, expose, stream
from millstream.database import Database
from millstream.testing import BodyTruncated, Client, Reply, connect, serve
from millstream.testing.postgres import postgres

LEAVERS = 200


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Root(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.meeting = threading.Barrier(2)
        self.attempts = 0

    # Streams that are cut off

    @expose("ndjson")
    def cut(self, backend: bool = True) -> Iterator[int]:
        """Reads, and has its backend terminated by another connection."""
        session = self.database.session
        session.add(Account(id=9, balance=0))
        session.flush()
        pid = session.scalar(select(func.pg_backend_pid()))
        yield 1
        if backend:
            self.terminate(pid)
        yield session.scalars(select(Account.balance).filter_by(id=1)).one()

    @expose("ndjson")
    async def acut(self) -> AsyncIterator[int]:
        session = self.database.async_session
        session.add(Account(id=9, balance=0))
        await session.flush()
        pid = await session.scalar(select(func.pg_backend_pid()))
        yield 1
        self.terminate(pid)
        yield (await session.scalars(select(Account.balance).filter_by(id=1))).one()

    @expose("ndjson")
    def rows_cut(self) -> Any:
        """A source whose backend is terminated while it is read."""

        def rows() -> Iterator[int]:
            numbers = text("select pg_backend_pid(), generate_series(1, 100000)")
            for row in self.database.rows(numbers):
                if row.generate_series == 60:
                    self.terminate(row.pg_backend_pid)
                yield row.generate_series

        return rows()

    def terminate(self, pid: int | None) -> None:
        with self.database.engine.connect() as other:
            other.execute(select(func.pg_terminate_backend(pid)))

    # Conflicts

    @expose("json", attempts=3)
    def transfer(self, source: int, target: int) -> dict[str, int]:
        """Locks one account, meets the other transfer, then locks the other account."""
        session = self.database.session
        self.attempts += 1
        session.execute(update(Account).filter_by(id=source).values(balance=Account.balance - 1))
        if self.attempts <= 2:
            self.meeting.wait(5)
        session.execute(update(Account).filter_by(id=target).values(balance=Account.balance + 1))
        return {"moved": 1}

    @expose("ndjson", attempts=3)
    def flowing(self) -> Iterator[int]:
        """Fails in a way that could be repeated, but after its first item."""
        self.attempts += 1
        yield 1
        stream.sleep(0.05)
        self.database.session.execute(
            text("do $$ begin raise exception using errcode = 'serialization_failure'; end $$")
        )

    @expose("ndjson", attempts=3)
    async def anew(self) -> AsyncIterator[int]:
        """Fails twice before its first item."""
        self.attempts += 1
        self.database.async_session.add(Account(id=100 + self.attempts, balance=self.attempts))
        await self.database.async_session.flush()
        if self.attempts < 3:
            await self.database.async_session.execute(
                text("do $$ begin raise exception using errcode = 'serialization_failure'; end $$")
            )
        yield self.attempts

    @expose("json")
    def locked(self) -> dict[str, int]:
        session = self.database.session
        session.execute(text("set local lock_timeout = '50ms'"))
        session.execute(update(Account).filter_by(id=1).values(balance=0))
        return {}

    # Time

    @expose("json")
    def hold(self) -> dict[str, int]:
        session = self.database.session
        session.execute(update(Account).filter_by(id=1).values(balance=0))
        self.meeting.wait(5)
        self.meeting.wait(5)
        return {}

    @expose("json")
    def balance(self, number: int = 1) -> dict[str, int]:
        return {"balance": self.database.session.get_one(Account, number).balance}

    @expose("json")
    async def abalance(self, number: int = 1) -> dict[str, int]:
        return {"balance": (await self.database.async_session.get_one(Account, number)).balance}

    @expose("ndjson")
    def slow(self) -> Iterator[int]:
        yield 0
        while True:
            self.database.session.execute(text(SLOW[self.database.engine.dialect.name]))
            yield 1

    @expose("ndjson")
    async def aslow(self) -> AsyncIterator[int]:
        yield 0
        while True:
            await self.database.async_session.execute(text(SLOW[self.database.engine.dialect.name]))
            yield 1


SLOW = {
    "postgresql": "select pg_sleep(0.05)",
    "sqlite": (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000) select max(i) from n"
    ),
}


def fill(database: Database) -> Root:
    Base.metadata.create_all(database.engine)
    with database.engine.begin() as connection:
        connection.execute(insert(Account), [{"id": n, "balance": 10 * n} for n in range(1, 4)])
    return Root(database)


@pytest.fixture
def on_postgresql(postgresql: str, make_database: Callable[..., Database]) -> Root:
    return fill(make_database(postgresql, pool_size=2, max_overflow=0, pool_timeout=0.2))


def app_of(root: Root) -> Millstream:
    return Millstream(root, participants=[root.database])


def balances(root: Root) -> dict[int, int]:
    with root.database.engine.connect() as connection:
        return dict(connection.execute(select(Account.__table__.c.id, Account.__table__.c.balance)).all())


async def get_all(client: Client, *paths: str) -> list[Reply]:
    return list(await asyncio.gather(*(client.get(path) for path in paths)))


@pytest.mark.parametrize("path", ["/cut", "/acut", "/rows_cut"])
async def test_a_connection_that_is_lost_in_mid_stream_breaks_the_body_off(
    on_postgresql: Root, path: str
) -> None:
    async with Client(app_of(on_postgresql)) as client:
        with pytest.raises(BodyTruncated):
            await client.get(path)
        for after in ("/balance", "/abalance"):
            assert (await client.get(after)).json() == {"balance": 10}
    assert 9 not in balances(on_postgresql)


async def test_a_deadlock_is_repeated_and_goes_well(on_postgresql: Root) -> None:
    async with Client(app_of(on_postgresql)) as client:
        replies = await get_all(client, "/transfer?source=1&target=2", "/transfer?source=2&target=1")
    assert [reply.status for reply in replies] == [200, 200]
    assert on_postgresql.attempts == 3
    assert balances(on_postgresql) == {1: 10, 2: 20, 3: 30}


async def test_nothing_is_repeated_once_an_item_has_left(on_postgresql: Root) -> None:
    async with Client(app_of(on_postgresql)) as client:
        with pytest.raises(BodyTruncated):
            await client.get("/flowing")
    assert on_postgresql.attempts == 1


async def test_what_a_failed_attempt_wrote_is_undone(on_postgresql: Root) -> None:
    async with Client(app_of(on_postgresql)) as client:
        assert (await client.get("/anew")).body == b"3\n"
    assert sorted(balances(on_postgresql)) == [1, 2, 3, 103]


async def test_a_lock_that_cannot_be_had_is_a_503(on_postgresql: Root) -> None:
    async with Client(app_of(on_postgresql)) as client:
        holding = asyncio.create_task(client.get("/hold"))
        await asyncio.to_thread(on_postgresql.meeting.wait, 5)
        reply = await client.get("/locked")
        await asyncio.to_thread(on_postgresql.meeting.wait, 5)
        await holding
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "held a lock" in reply.text


async def test_sqlite_waits_for_its_writer_and_says_so_when_it_takes_too_long(
    sqlite: str, make_database: Callable[..., Database]
) -> None:
    root = fill(make_database(sqlite, connect_args={"timeout": 0.05}))
    async with Client(app_of(root)) as client:
        holding = asyncio.create_task(client.get("/hold"))
        await asyncio.to_thread(root.meeting.wait, 5)
        reading = await client.get("/balance")
        writing = await client.get("/transfer?source=1&target=2")
        await asyncio.to_thread(root.meeting.wait, 5)
        await holding
    assert (reading.status, writing.status) == (200, 503)
    assert "held a lock" in writing.text


async def test_a_full_pool_is_a_503_and_soon(on_postgresql: Root) -> None:
    pool: Any = on_postgresql.database.engine.pool
    taken = [pool.connect(), pool.connect()]
    async with Client(app_of(on_postgresql)) as client:
        began = time.monotonic()
        reply = await client.get("/balance")
        assert time.monotonic() - began < 2
        for connection in taken:
            connection.close()
        assert (await client.get("/balance")).status == 200
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "all database connections are in use" in reply.text


async def test_a_database_that_is_down_at_the_start_is_a_503_until_it_comes_back() -> None:
    with postgres() as server:
        database = Database(server.url)
        root = fill(database)
        server.stop()
        await database.close()
        async with Client(app_of(root)) as client:
            down = await get_all(client, "/balance", "/abalance")
            server.start()
            up = await get_all(client, "/balance", "/abalance")
        await database.close()
    assert [reply.status for reply in down] == [503, 503]
    assert "cannot be reached" in down[0].text
    assert [reply.json() for reply in up] == [{"balance": 10}, {"balance": 10}]


async def test_connections_that_rested_while_the_database_restarted_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("millstream.database.engines.IDLE_SECONDS", 0.0)
    with postgres() as server:
        database = Database(server.url)
        async with Client(app_of(fill(database))) as client:
            before = await get_all(client, "/balance", "/abalance")
            server.stop()
            server.start()
            after = await get_all(client, "/balance", "/abalance")
        await database.close()
    assert [reply.status for reply in before + after] == [200] * 4


async def test_many_clients_at_once_share_a_small_pool(
    url: str, make_database: Callable[..., Database]
) -> None:
    root = fill(make_database(url, pool_size=2, max_overflow=0))
    async with Client(app_of(root)) as client:
        replies = await get_all(client, *["/balance", "/abalance"] * 50)
    assert {reply.body for reply in replies} == {b'{"balance":10}'}


@pytest.mark.wire
@pytest.mark.parametrize("kind", ["", "a"], ids=["sync", "async"])
def test_two_hundred_clients_that_leave_in_mid_query_leave_the_pool_as_it_was(url: str, kind: str) -> None:
    database = Database(url, pool_size=5, max_overflow=0)
    root = fill(database)
    pool: Any = database.async_engine.pool if kind else database.engine.pool
    app = app_of(root)
    with serve(app, lifespan="on") as server:
        for _ in range(LEAVERS // 10):
            wires = [connect(server.host, server.port) for _ in range(10)]
            for wire in wires:
                wire.send(f"/{kind}slow")
            for wire in wires:
                assert wire.read_head().next_chunk()
                wire.reset()
        deadline = time.monotonic() + 10
        while app.ledger.live and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells when the last stream has gone
        assert app.ledger.live == ()
        assert pool.checkedout() == 0
        with connect(server.host, server.port) as wire:
            assert wire.get(f"/{kind}balance").rest() == b'{"balance":10}'
        assert pool.checkedout() == 0
        assert "Exception" not in server.log
    gc.collect()  # a connection that was lost would warn now, and a warning is an error
