"""Queries as sources: returned or yielded from, in every format, with a connection of their own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    event,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.schema import ForeignKey

from millstream import Millstream, TGController, expose, stream
from millstream.database import Database, RowSource
from millstream.testing import BodyTruncated, Client

MANY = 5000


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str | None] = mapped_column("customer_name")
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    paid: Mapped[bool]
    at: Mapped[datetime]
    notes: Mapped[str | None] = mapped_column(deferred=True)
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


ORDERS = cast("Table", Order.__table__)


class Formats(TGController):
    """One query, in every format, returned by both kinds of actions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.query: Any = select(Order)

    @expose("json")
    @expose("ndjson")
    @expose("csv")
    @expose("sse")
    def sync(self) -> Any:
        return self.query

    @expose("json")
    @expose("ndjson")
    @expose("csv")
    @expose("sse")
    async def later(self) -> Any:
        return self.query

    @expose("json")
    @expose("ndjson")
    @expose("csv")
    @expose("sse")
    def single(self) -> Iterator[Any]:
        yield from self.database.rows(self.query)

    @expose("ndjson")
    def sized(self, batch: int) -> RowSource:
        return self.database.rows(text("select id from orders where id <= :most"), {"most": 7}, batch=batch)

    @expose("ndjson")
    def broken(self) -> Iterator[Any]:
        for row in self.database.rows(select(ORDERS.c.id)):
            yield row.id
            if row.id == 3:
                raise ValueError

    @expose("ndjson")
    async def blocking(self) -> AsyncIterator[Any]:
        for row in self.database.rows(select(ORDERS.c.id)):
            yield row.id

    @expose("ndjson")
    def uncommitted(self) -> Any:
        self.database.session.add(Order(id=99999, total=1, paid=False, at=datetime(2026, 1, 1)))  # noqa: DTZ001  as the column
        return select(Order.id).where(Order.id == 99999)

    @expose("json")
    def of_session(self) -> Any:
        return self.database.session.query(Order).filter_by(id=1)


@pytest.fixture
def root(url: str, make_database: Callable[..., Database]) -> Formats:
    database = make_database(url)
    Base.metadata.create_all(database.engine)
    at = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  the column has no zone
    with database.engine.begin() as connection:
        for first in range(1, MANY, 1000):
            rows = [
                {
                    "id": n,
                    "customer_name": None if n % 7 == 0 else f"c, {n}",
                    "total": Decimal(n) / 4,
                    "paid": n % 2 == 0,
                    "at": at,
                }
                for n in range(first, first + 1000)
            ]
            connection.execute(insert(ORDERS), rows)
        connection.execute(insert(Item), [{"id": 1, "order_id": 1}, {"id": 2, "order_id": 2}])
    return Formats(database)


@pytest.fixture
async def client(root: Formats) -> AsyncIterator[Client]:
    async with Client(Millstream(root, participants=[root.database])) as client:
        yield client
        assert root.database.leases == ()
        assert root.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queued pool has it


async def rows_of(client: Client) -> list[Any]:
    found: list[Any] = (await client.get("/sync.json")).json()
    return found


@pytest.mark.parametrize("action", ["sync", "later", "single"])
async def test_a_query_comes_in_the_format_that_is_asked_for(
    client: Client, root: Formats, action: str
) -> None:
    root.query = select(Order).order_by(Order.id)
    names = ["id", "customer", "total", "paid", "at"]
    table = list(csv.reader(io.StringIO((await client.get(f"/{action}.csv")).text)))
    assert table[:2] == [names, ["1", "c, 1", "0.25", "false", "2026-01-02 03:04:05"]]
    assert len(table) == MANY + 1
    first = {"id": 1, "customer": "c, 1", "total": 0.25, "paid": False, "at": "2026-01-02T03:04:05"}
    array = (await client.get(f"/{action}.json")).json()
    assert (array[0], array[6]["customer"], len(array)) == (first, None, MANY)
    lines = (await client.get(f"/{action}.ndjson")).body.splitlines()
    assert (json.loads(lines[0]), len(lines)) == (first, MANY)


@pytest.mark.parametrize("extension", ["csv", "json", "ndjson"])
async def test_batches_and_single_rows_are_the_same_bytes(
    client: Client, root: Formats, extension: str
) -> None:
    root.query = select(Order).order_by(Order.id)
    batches = await client.get(f"/sync.{extension}")
    assert batches.body == (await client.get(f"/single.{extension}")).body


async def test_the_rows_are_counted_and_not_the_batches(client: Client, root: Formats) -> None:
    counted: list[int] = []

    @event.listens_for(root.database.engine, "before_cursor_execute")
    def _listen(*_: Any) -> None:
        if not counted:
            counted.append(0)
            stream.on_end(lambda _, statistics: counted.append(statistics.items))

    await client.get("/sync.ndjson")
    assert counted == [0, MANY]


@pytest.mark.parametrize("query", [select(ORDERS.c.id), union_all(select(ORDERS.c.id), select(Item.id))])
async def test_core_queries_and_unions_are_sources(client: Client, root: Formats, query: Any) -> None:
    root.query = query
    assert len(await rows_of(client)) >= MANY


async def test_an_alias_and_a_column_may_stand_side_by_side(client: Client, root: Formats) -> None:
    other = aliased(Order)
    root.query = select(other, Item.order_id).join(Item, Item.order_id == other.id).order_by(other.id)
    assert [(row["id"], row["order_id"]) for row in await rows_of(client)] == [(1, 1), (2, 2)]


async def test_columns_of_one_name_are_told_apart(client: Client, root: Formats) -> None:
    root.query = select(Order, Item).join(Order.items).where(Order.id == 2)
    (row,) = await rows_of(client)
    assert (row["id"], row["id_1"]) == (2, 2)


async def test_a_query_of_the_session_is_one(client: Client) -> None:
    assert [row["id"] for row in (await client.get("/of_session")).json()] == [1]


async def test_loader_options_of_objects_do_no_harm(client: Client, root: Formats) -> None:
    root.query = select(Order).options(selectinload(Order.items)).where(Order.id == 1)
    assert [row["id"] for row in await rows_of(client)] == [1]


async def test_an_empty_table_is_an_empty_body_with_its_columns(client: Client, root: Formats) -> None:
    root.query = select(Order.id, Order.total).where(Order.id < 0)
    assert (await client.get("/sync.csv")).body == b"id,total\r\n"
    assert (await client.get("/sync.json")).body == b"[]"
    assert (await client.get("/sync.ndjson")).body == b""


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
async def test_an_author_may_choose_the_batch_and_bind_parameters(client: Client, batch: int) -> None:
    reply = await client.get("/sized", params={"batch": batch})
    assert reply.body.splitlines()[::6] == [b'{"id":1}', b'{"id":7}']


async def test_a_query_that_fails_is_an_honest_500(client: Client, root: Formats) -> None:
    root.query = select(func.no_such_function())
    assert (await client.get("/sync.json")).status == 500


async def test_an_error_in_mid_read_gives_the_connection_back(client: Client) -> None:
    with pytest.raises(BodyTruncated):
        await client.get("/broken")


async def test_a_client_that_leaves_gives_the_connection_back(client: Client, root: Formats) -> None:
    root.query = select(
        ORDERS.c.id, literal("x" * 1000).label("text")
    )  # more than anybody holds for a client
    async with client.stream("GET", "/sync.ndjson", window=1) as reply:
        await reply.next_line()
        await reply.wait_blocked()
        (lease,) = root.database.leases
        assert (lease.route, lease.wrote) == ("Formats.sync", False)
        await reply.disconnect(wait=True)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_a_head_alone_reads_nothing(client: Client, root: Formats, method: str) -> None:
    statements: list[str] = []
    event.listen(root.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await client.request(method, "/sync.csv")
    assert statements == []


async def test_rows_would_block_the_event_loop_and_say_so(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get("/blocking")).status == 500
    assert "would block the event loop" in caplog.text


async def test_rows_show_what_the_session_has_written(client: Client) -> None:
    assert (await client.get("/uncommitted")).body == b'{"id":99999}\n'


def test_a_source_cannot_write(root: Formats) -> None:
    with pytest.raises(DBAPIError):
        list(root.database.rows(text("delete from items returning id")))
    with root.database.engine.begin() as connection:  # and the connection that was used can again
        connection.execute(text("delete from items"))


def test_a_batch_grows_from_a_first_small_one_and_not_beyond_its_bytes(root: Formats) -> None:
    source = root.database.rows(select(ORDERS.c.id))
    batches = source.batches()
    sizes = []
    for batch in batches:
        sizes.append(len(batch))
        source.took(len(batch), 4 * len(batch))
    assert sizes == [50, 400, 2000, 2000, 550]
    source = root.database.rows(select(ORDERS.c.id))
    batches = source.batches()
    source.took(len(next(batches)), 50 * 128 * 1024)
    assert len(next(batches)) == 2
    source.close()


def test_a_batch_does_not_shrink_because_its_encoder_holds_rows_back(root: Formats) -> None:
    source = root.database.rows(select(ORDERS.c.id))
    sizes: list[int] = []
    for at, batch in enumerate(source.batches()):
        sizes.append(len(batch))
        source.took(sum(sizes), 4 * sum(sizes) if at == 2 else 0)
    assert sizes == [50, 400, 500, 2000, 2000, 50]


async def test_a_query_goes_to_the_database_that_has_its_tables(
    url: str, tmp_path: Any, make_database: Callable[..., Database]
) -> None:
    elsewhere = MetaData()
    logs = Table("logs", elsewhere, Column("id", Integer, primary_key=True), Column("line", String))
    other = make_database(f"sqlite:///{tmp_path / 'other.db'}", tables=[elsewhere])
    elsewhere.create_all(other.engine)
    with other.engine.begin() as connection:
        connection.execute(insert(logs), [{"line": "there"}])
    main = make_database(url, tables=[Base])
    root = Formats(main)
    root.query = select(logs.c.line)
    async with Client(Millstream(root, participants=[main, other])) as client:
        assert await rows_of(client) == [{"line": "there"}]
