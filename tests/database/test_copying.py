"""Copies of queries over their life: they leave at once, wait for slow readers, and end with their stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Integer, Text, column, create_engine, func, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from millstream import Millstream, Settings, TGController, expose, stream
from millstream.database import Database, RowSource
from millstream.database.copying import Copying
from millstream.protocol.dialects import CsvDialect, Dialect, JsonLines, Written
from millstream.protocol.events import Reason, Statistics
from millstream.testing import BodyTruncated, Client

MANY = 200_000
NUMBERS = text(f"generate_series(1, {MANY}) AS t (n)")
N = column("n", Integer)


def sleeping(seconds: str) -> Any:
    """A cell that takes its time; its value is nothing."""
    return func.coalesce(func.pg_sleep(text(seconds)).cast(Text), "").label("slept")


QUERIES = {
    "many": select(N, literal("x" * 100).label("text")).select_from(NUMBERS),
    "sleeping": select(N, sleeping("60")).select_from(NUMBERS),
    "slow": select(N, sleeping("case when n > 50000 then 60 else 0 end")).select_from(NUMBERS),
    "failing": select(N, (100_000 / (150_000 - N)).label("quotient")).select_from(NUMBERS),
    "failing_at_once": select(N, (1 / (N - N)).label("quotient")).select_from(NUMBERS),
    "writing": select(N, func.nextval("counted")).select_from(NUMBERS),
    "cut": select(
        N,
        func.coalesce(
            text("case when n = 150000 then pg_terminate_backend(pg_backend_pid()) end"), text("true")
        ),
    ).select_from(NUMBERS),
}


class Root(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.ended: list[tuple[Reason | None, int]] = []

    @expose("csv")
    @expose("ndjson")
    @expose("json")
    def query(self, name: str) -> Any:
        @stream.on_end
        def _note(reason: Reason, statistics: Statistics) -> None:
            self.ended.append((reason, statistics.items))

        return QUERIES[name]

    @expose("csv")
    async def later(self, name: str) -> Any:
        return QUERIES[name]


@pytest.fixture
def root(postgresql: str, make_database: Callable[..., Database]) -> Root:
    database = make_database(postgresql, pool_size=1, max_overflow=0, pool_timeout=5)
    with database.engine.begin() as connection:
        connection.execute(text("create sequence counted"))
    return Root(database)


@pytest.fixture
async def client(root: Root) -> AsyncIterator[Client]:
    settings = Settings(first_item_timeout=0.1)
    async with Client(Millstream(root, settings, participants=[root.database])) as client:
        yield client
        assert root.database.leases == ()
        assert root.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queued pool has it


def written(source: RowSource, dialect: Dialect) -> Any:
    return closing(source.written(lambda _: dialect))


COPIES = "query like 'COPY %' and state = 'active'"


async def backend(url: str, condition: str, *, there: bool = True, does: str = COPIES) -> None:
    """Wait until some backend of this database copies and meets a condition, or until none does."""
    watching = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    asked = (
        select(func.count())
        .select_from(text("pg_stat_activity"))
        .where(text(f"datname = current_database() and {does} and {condition}"))
    )
    deadline = time.monotonic() + 10
    try:
        with watching.connect() as connection:
            while bool(connection.scalar(asked)) is not there:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)  # the server tells nobody
    finally:
        watching.dispose()


@pytest.mark.parametrize("path", ["query.csv", "query.ndjson", "query.json", "later.csv"])
async def test_all_rows_come_and_are_counted(client: Client, root: Root, path: str) -> None:
    reply = await client.get(f"/{path}?name=many")
    lines = reply.body.splitlines()
    assert len(lines) == MANY + path.endswith("csv")
    assert all(
        str(number).encode() in line for number, line in zip((MANY - 1, MANY), lines[-2:], strict=True)
    )
    assert root.ended in ([], [(Reason.COMPLETED, MANY)])


async def test_the_database_is_seen_to_do_it(root: Root) -> None:
    with written(root.database.rows(QUERIES["many"]), CsvDialect()) as batches:
        first = await asyncio.to_thread(next, batches)
        assert isinstance(first, Written)
        assert first.data.count(b"\r\n") == first.rows
        await backend(
            root.database.url.render_as_string(hide_password=False), "query like '%generate_series%'"
        )


async def test_rows_that_come_slowly_do_not_wait_for_a_whole_block(root: Root) -> None:
    """But they come in the server's portions, of 8 KB."""
    query = select(N, sleeping("0.2"), func.repeat("x", 9000)).select_from(
        text("generate_series(1, 3) AS t (n)")
    )
    with written(root.database.rows(query), JsonLines()) as batches:
        found = await asyncio.to_thread(list, batches)
    assert found[0].rows == 1
    assert sum(batch.rows for batch in found) == 3


def test_a_copy_that_is_left_is_cancelled_and_its_connection_goes_on(root: Root) -> None:
    pid = select(func.pg_backend_pid())
    with root.database.engine.connect() as connection:
        before = connection.scalar(pid)
    with written(root.database.rows(QUERIES["slow"]), CsvDialect()) as batches:
        next(batches)
    with root.database.engine.connect() as connection:
        assert connection.scalar(pid) == before


async def test_a_client_that_leaves_ends_a_copy_that_has_nothing_yet(
    client: Client, root: Root, postgresql: str
) -> None:
    async with client.stream("GET", "/query.csv?name=sleeping") as reply:
        await backend(postgresql, "wait_event = 'PgSleep'")
        await reply.disconnect(wait=True)
    assert root.ended == [(Reason.CLIENT_GONE, 0)]
    await backend(postgresql, "true", there=False)


async def test_a_client_that_leaves_in_the_middle_ends_the_copy(
    client: Client, root: Root, postgresql: str
) -> None:
    async with client.stream("GET", "/query.ndjson?name=slow") as reply:
        await reply.next_line()
        await backend(postgresql, "wait_event = 'PgSleep'")
        await reply.disconnect(wait=True)
    assert root.ended[0][0] is Reason.CLIENT_GONE
    await backend(postgresql, "true", there=False)


async def test_a_reader_that_stalls_holds_the_server_back(client: Client, postgresql: str) -> None:
    async with client.stream("GET", "/query.csv?name=many", window=1) as reply:
        await reply.wait_blocked()
        await backend(postgresql, "wait_event = 'ClientWrite'")
        reply.resume()
        body = await reply.rest()
    assert body.count(b"\r\n") > MANY * 0.9  # what was read before is not in the rest


@pytest.mark.parametrize("name", ["cut", "failing"])
@pytest.mark.parametrize("format_", ["csv", "ndjson", "json"])
async def test_what_goes_wrong_in_the_middle_breaks_the_body(
    client: Client, root: Root, name: str, format_: str
) -> None:
    with pytest.raises(BodyTruncated) as broken:
        await client.get(f"/query.{format_}?name={name}")
    lines = broken.value.received.splitlines()
    assert 100_000 < len(lines) <= 150_001
    assert lines[-1].startswith(b'{"error":') is (format_ == "ndjson")
    assert root.ended[0][0] is Reason.FAILED
    with root.database.engine.connect() as connection:  # a lost connection was replaced, the other one works
        assert connection.scalar(select(1)) == 1


@pytest.mark.parametrize("name", ["failing_at_once", "writing"])
async def test_what_goes_wrong_at_once_is_an_honest_status(client: Client, name: str) -> None:
    assert (await client.get(f"/query.csv?name={name}")).status == 500


def test_errors_are_those_of_sqlalchemy(root: Root) -> None:
    with (
        written(root.database.rows(QUERIES["failing"]), CsvDialect()) as batches,
        pytest.raises(DBAPIError, match="division by zero") as failed,
    ):
        list(batches)
    assert not failed.value.connection_invalidated
    with (
        written(root.database.rows(QUERIES["cut"]), CsvDialect()) as batches,
        pytest.raises(OperationalError) as lost,
    ):
        list(batches)
    assert lost.value.connection_invalidated


def test_a_time_out_of_the_server_s_is_an_error_and_no_end(postgresql: str) -> None:
    database = Database(postgresql, connect_args={"options": "-c statement_timeout=200"})
    with (
        written(database.rows(QUERIES["slow"]), CsvDialect()) as batches,
        pytest.raises(DBAPIError, match="statement timeout"),
    ):
        list(batches)
    database.engine.dispose()


async def test_the_time_of_a_slow_reader_does_not_count_as_the_server_s(postgresql: str) -> None:
    timeouts = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
    options = " ".join(f"-c {name}=500" for name in timeouts)
    database = Database(postgresql, connect_args={"options": options})
    roads: dict[str | None, Any] = {
        COPIES: written(database.rows(QUERIES["many"]), CsvDialect()),
        "query like 'FETCH %' and state = 'idle in transaction'": closing(
            database.rows(QUERIES["many"]).batches()
        ),
    }
    for does, road in roads.items():
        with road as batches:
            rows = 0
            for _ in range(2):
                first = await asyncio.to_thread(next, batches)
                rows += first.rows if isinstance(first, Written) else len(first)
            await backend(postgresql, "clock_timestamp() - state_change > interval '1.5 s'", does=str(does))
            rest = await asyncio.to_thread(list, batches)
        rows += sum(each.rows if isinstance(each, Written) else len(each) for each in rest)
        assert rows == MANY
    database.engine.dispose()


def test_a_copy_leaves_the_settings_of_its_transaction_as_they_were(root: Root) -> None:
    names = ("datestyle", "extra_float_digits", "statement_timeout")
    with root.database.engine.begin() as connection:
        for setting in ("datestyle = 'German'", "extra_float_digits = 0", "statement_timeout = '90s'"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        before = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
        list(Copying(connection, lambda: False).blocks("COPY (SELECT 1) TO STDOUT", 1024))
        assert [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names] == before


async def test_a_query_is_planned_without_being_run(root: Root) -> None:
    """To learn its types takes no row of it."""
    query = select(N, sleeping("60")).select_from(NUMBERS)
    source = root.database.rows(query)
    with written(source, CsvDialect()) as batches:
        copying = asyncio.create_task(asyncio.to_thread(next, batches))
        await backend(root.database.url.render_as_string(hide_password=False), "wait_event = 'PgSleep'")
        assert [column.name for column in source.columns] == ["n", "slept"]
        terminate = text("select pg_terminate_backend(pid) from pg_stat_activity where query like 'COPY %'")
        other = create_engine(root.database.engine.url)
        with other.connect() as connection:
            connection.execute(terminate)
        other.dispose()
        with pytest.raises(OperationalError):
            await copying
