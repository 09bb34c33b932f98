"""A returned query gives the rows and the columns that the session of its request gives, in every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openpyxl  # type: ignore[import-untyped]  # it has no annotations
import pyarrow as pa  # type: ignore[import-untyped]  # as above
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above
import pytest
from lxml import etree  # type: ignore[import-untyped]  # as above
from sqlalchemy import Select, event, func, insert, literal, make_url, select, text
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    ORMExecuteState,
    Query,
    Session,
    defer,
    load_only,
    mapped_column,
    query_expression,
    raiseload,
    undefer,
    with_expression,
    with_loader_criteria,
)

from millstream import Csv, Member, Millstream, TGController, expose, stream
from millstream.database import Database
from millstream.testing import BodyTruncated, Client

FORMATS = ["csv", "json", "ndjson", "xml", "xlsx", "arrow", "parquet"]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    deleted: Mapped[bool]
    code: Mapped[str]
    notes: Mapped[str | None] = mapped_column(deferred=True)
    rank: Mapped[int] = query_expression()


ROWS = [
    {"id": n, "tenant": "ab"[n % 2], "deleted": n % 3 == 0, "code": "s", "notes": "n"} for n in range(1, 21)
]


class Ways(TGController):
    """One query on every way there is, in a request that was prepared by `_before`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.prepare: Callable[[Any], Any] = lambda _: None
        self.query: Any = select(User).order_by(User.id)

    def _before(self, *_: Any, **__: Any) -> None:
        self.prepare(self.database.session)

    def _all(function: Any) -> Any:  # noqa: N805  a decorator of this class
        for name in reversed(FORMATS):
            function = expose(name)(function)
        return function

    @_all
    def returned(self) -> Any:
        return self.query

    @_all
    def of_session(self) -> Any:
        session = self.database.session()
        return Query(User, session=session).order_by(User.id).options(*self.query._with_options)

    @_all
    def rows(self) -> Any:
        return self.database.rows(self.query)

    @_all
    def each_row(self) -> Iterator[Any]:
        yield from self.database.rows(self.query)

    @_all
    async def returned_later(self) -> Any:
        return self.query

    @expose("json")
    def expected(self) -> Any:
        def loaded(user: User) -> dict[str, Any]:
            return {key: value for key, value in vars(user).items() if not key.startswith("_")}

        return [loaded(user) for user in self.database.session.execute(self.query).scalars()]


WAYS = ["returned", "of_session", "rows", "each_row", "returned_later"]


class AsyncWays(Ways):
    """The same with an asynchronous session."""

    async def _before(self, *_: Any, **__: Any) -> None:  # type: ignore[override]  # asynchronous
        await self.database.async_session().run_sync(self.prepare)

    @Ways._all
    async def returned(self) -> Any:
        return self.query

    @Ways._all
    async def rows(self) -> Any:
        return self.database.rows(self.query)

    @expose("json")
    async def expected(self) -> Any:
        def loaded(user: User) -> dict[str, Any]:
            return {key: value for key, value in vars(user).items() if not key.startswith("_")}

        return [loaded(user) for user in (await self.database.async_session.execute(self.query)).scalars()]


def table_of(format_: str, body: bytes) -> list[dict[str, Any]]:
    """What a foreign reader makes of a body, with every cell as text."""
    match format_:
        case "csv":
            found: Any = list(csv.DictReader(io.StringIO(body.decode())))
        case "json":
            found = json.loads(body)
        case "ndjson":
            found = [json.loads(line) for line in body.splitlines()]
        case "xml":
            found = [{cell.tag: cell.text for cell in row} for row in etree.fromstring(body)]
        case "xlsx":
            names, *rows = openpyxl.load_workbook(io.BytesIO(body)).active.values
            found = [dict(zip(names, row, strict=True)) for row in rows]
        case "arrow":
            found = pa.ipc.open_stream(body).read_all().to_pylist()
        case _:
            found = pq.read_table(io.BytesIO(body)).to_pylist()
    return [{name: "" if cell is None else str(cell).lower() for name, cell in row.items()} for row in found]


# Circumstances: what is registered once, and what each request does before its query


Listen = Callable[..., None]


def _plain(database: Database, listen: Listen) -> Any:
    del database, listen
    return lambda _: None


def _soft_delete(database: Database, listen: Listen) -> Any:
    def hide(state: ORMExecuteState) -> None:
        state.statement = state.statement.options(with_loader_criteria(User, User.deleted.is_(False)))

    listen(Session, "do_orm_execute", hide)
    return lambda _: None


def _tenant_in_info(database: Database, listen: Listen) -> Any:
    def only(state: ORMExecuteState) -> None:
        tenant = state.session.info.get("tenant", "nobody")
        state.statement = state.statement.options(with_loader_criteria(User, User.tenant == tenant))

    listen(Session, "do_orm_execute", only)
    return lambda session: session.info.update(tenant="a")


def _listener_of_one_request(database: Database, listen: Listen) -> Any:
    del database, listen

    def prepare(session: Any) -> None:
        def only(state: ORMExecuteState) -> None:
            state.statement = state.statement.options(with_loader_criteria(User, User.id < 4))

        event.listen(session() if callable(session) else session, "do_orm_execute", only)

    return prepare


def _listener_that_invokes(database: Database, listen: Listen) -> Any:
    def only(state: ORMExecuteState) -> Any:
        assert isinstance(state.statement, Select)
        return state.invoke_statement(statement=state.statement.where(User.id > 15))

    listen(Session, "do_orm_execute", only)
    return lambda _: None


def _waiting_rows(database: Database, listen: Listen) -> Any:
    del database, listen
    return lambda session: session.add(User(id=99, tenant="a", deleted=False, code="s"))


def _flushed_rows(database: Database, listen: Listen) -> Any:
    del database, listen

    def prepare(session: Any) -> None:
        session.add(User(id=99, tenant="a", deleted=False, code="s"))
        session.flush()
        session.execute(text("delete from users where id < 10"))

    return prepare


def _rewritten_sql(database: Database, listen: Listen) -> Any:
    def rewrite(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> tuple[str, Any]:
        return statement.replace(
            "\nFROM users", "\nFROM (SELECT * FROM users WHERE id < 8) AS users"
        ), parameters

    for engine in (database.engine, database.async_engine.sync_engine):
        listen(engine, "before_cursor_execute", rewrite, retval=True)
    return lambda _: None


CIRCUMSTANCES = {
    "nothing special": _plain,
    "a soft delete": _soft_delete,
    "a tenant of the session": _tenant_in_info,
    "a listener of one request": _listener_of_one_request,
    "a listener that invokes": _listener_that_invokes,
    "rows that wait to be flushed": _waiting_rows,
    "rows that are not committed": _flushed_rows,
    "SQL that is rewritten": _rewritten_sql,
}


@pytest.fixture
def database(url: str, make_database: Callable[..., Database]) -> Database:
    database = make_database(url)
    Base.metadata.create_all(database.engine)
    return database


def fill(database: Database) -> None:
    """The rows as they are before each request, which commits what it wrote."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users")
        connection.execute(insert(User), ROWS)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listen until the test ends."""
    heard: list[Any] = []

    def listen_to(*what: Any, **options: Any) -> None:
        event.listen(*what, **options)
        heard.append(what)

    yield listen_to
    for what in heard:
        event.remove(*what)


async def same(root: Ways, ways: list[str], formats: list[str] = FORMATS) -> list[dict[str, Any]]:
    """What the session gives, when all ways give the same."""
    async with Client(Millstream(root, participants=[root.database])) as client:
        fill(root.database)
        expected = table_of("json", (await client.get("/expected")).body)
        for way in ways:
            for format_ in formats:
                fill(root.database)
                reply = await client.get(f"/{way}.{format_}")
                assert table_of(format_, reply.body) == expected, (way, format_)
        assert root.database.leases == ()
    pools = (root.database.engine.pool, root.database.async_engine.pool)
    assert [pool.checkedout() for pool in pools] == [0, 0]  # type: ignore[attr-defined]  # queued pools have it
    return expected


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
async def test_all_ways_give_what_the_session_gives(
    database: Database, listen: Listen, circumstance: str
) -> None:
    root = Ways(database)
    root.prepare = CIRCUMSTANCES[circumstance](database, listen)
    found = await same(root, WAYS)
    assert (len(found) == len(ROWS)) == (circumstance == "nothing special")


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
async def test_all_ways_give_what_the_asynchronous_session_gives(
    database: Database, listen: Listen, circumstance: str
) -> None:
    root = AsyncWays(database)
    root.prepare = CIRCUMSTANCES[circumstance](database, listen)
    found = await same(root, ["returned", "rows"])
    assert (len(found) == len(ROWS)) == (circumstance == "nothing special")


OPTIONS: dict[str, list[Any]] = {
    "load_only": [load_only(User.id, User.tenant)],
    "load_only, which keeps the key": [load_only(User.tenant)],
    "load_only and raiseload": [load_only(User.tenant, raiseload=True)],
    "defer": [defer(User.code)],
    "defer and raiseload": [defer(User.code, raiseload=True)],
    "undefer": [undefer(User.notes)],
    "undefer all, defer one": [undefer("*"), defer(User.code)],
    "defer all": [defer("*")],
    "with_expression": [with_expression(User.rank, User.id + literal(1000))],
    "criteria": [with_loader_criteria(User, User.id < 3), load_only(User.tenant)],
    "relationships": [raiseload("*"), load_only(User.tenant)],
}


@pytest.mark.parametrize("options", OPTIONS)
async def test_the_columns_are_those_that_the_session_loads(database: Database, options: str) -> None:
    root = Ways(database)
    root.query = select(User).order_by(User.id).options(*OPTIONS[options])
    found = await same(root, WAYS, ["csv", "json", "arrow"])
    assert found[0].keys() != {"id", "tenant", "deleted", "code"}  # which are loaded without options


async def test_a_listener_decides_on_the_columns_too(database: Database, listen: Listen) -> None:
    def less(state: ORMExecuteState) -> None:
        state.statement = state.statement.options(load_only(User.tenant))

    listen(Session, "do_orm_execute", less)
    assert (await same(Ways(database), WAYS, ["csv", "json"]))[0] == {"id": "1", "tenant": "b"}


async def test_a_listener_that_answers_by_itself_is_refused(
    database: Database, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    listen(
        Session, "do_orm_execute", lambda state: state.session.connection().execute(text("select 1 as id"))
    )
    async with Client(Millstream(Ways(database), participants=[database])) as client:
        assert (await client.get("/returned.csv")).status == 500
    assert "a listener of do_orm_execute has answered a query by itself" in caplog.text


async def test_rows_that_only_the_asynchronous_session_has_are_refused_to_synchronous_code(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Nested(Ways):
        @expose("zip")
        async def archive(self) -> AsyncIterator[Any]:
            await self.database.async_session.execute(text("delete from users where id = 1"))
            yield Member("users.csv", self.database.rows(self.query), codec=Csv)

    async with Client(Millstream(Nested(database), participants=[database])) as client:
        assert (await client.get("/archive")).status == 500
    assert "database.async_session alone can give its rows" in caplog.text


async def test_both_sessions_in_a_transaction_are_refused_when_nothing_tells_which_is_meant(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Both(Ways):
        @expose("csv")
        async def both(self) -> Any:
            session = self.database.async_session
            await session.execute(text("delete from users where id = 1"))
            return self.query

    root = Both(database)
    root.prepare = lambda session: session.execute(text("select 1"))
    async with Client(Millstream(root, participants=[database])) as client:
        assert (await client.get("/both")).status == 500
    assert "both database.session and database.async_session have begun a transaction" in caplog.text


# Row-level security: the database itself shows other rows to whoever has not set a variable


@pytest.fixture
async def guarded(postgresql: str, make_database: Callable[..., Database]) -> AsyncIterator[Database]:
    """A database whose users see the rows of their tenant."""
    owner = make_database(postgresql)
    Base.metadata.create_all(owner.engine)
    name = f"app_{make_url(postgresql).database}"
    with owner.engine.begin() as connection:
        connection.execute(insert(User), ROWS)
        for statement in (
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON users USING (tenant = current_setting('app.tenant', true))",
            f"CREATE ROLE {name} LOGIN",
            f"GRANT ALL ON users TO {name}",
        ):
            connection.exec_driver_sql(statement)
    yield make_database(make_url(postgresql).set(username=name).render_as_string())
    with owner.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {name}")
        connection.exec_driver_sql(f"DROP ROLE {name}")


SETTINGS = {
    "SET LOCAL": "SET LOCAL app.tenant = 'a'",
    "set_config": "SELECT set_config('app.tenant', 'a', true)",
}


async def guarded_rows(root: Ways, ways: list[str]) -> None:
    async with Client(Millstream(root, participants=[root.database])) as client:
        expected = table_of("json", (await client.get("/expected")).body)
        assert {row["tenant"] for row in expected} == {"a"}
        for way in ways:
            for format_ in FORMATS:
                reply = await client.get(f"/{way}.{format_}")
                assert table_of(format_, reply.body) == expected, (way, format_)


@pytest.mark.parametrize("setting", SETTINGS)
async def test_what_a_request_sets_for_row_level_security_holds_for_its_queries(
    guarded: Database, setting: str
) -> None:
    for cls, ways in ((Ways, WAYS), (AsyncWays, ["returned", "rows"])):
        root = cls(guarded)
        root.prepare = lambda session: session.execute(text(SETTINGS[setting]))
        await guarded_rows(root, ways)


async def test_what_is_set_when_a_transaction_begins_holds_for_queries_too(
    guarded: Database, listen: Listen
) -> None:
    def set_tenant(session: Session, _: Any, connection: Any) -> None:
        del session
        connection.execute(text(SETTINGS["SET LOCAL"]))

    listen(Session, "after_begin", set_tenant)
    await guarded_rows(Ways(guarded), WAYS)
    await guarded_rows(AsyncWays(guarded), ["returned", "rows"])


async def test_a_query_keeps_the_settings_of_its_session_as_they_were(
    postgresql: str, make_database: Callable[..., Database]
) -> None:
    database = make_database(postgresql)
    Base.metadata.create_all(database.engine)
    fill(database)
    names = ("datestyle", "extra_float_digits", "statement_timeout")
    found: list[list[Any]] = []

    class Root(Ways):
        @expose("csv")
        def reported(self) -> Iterator[Any]:
            session = self.database.session
            for each in ("SET LOCAL datestyle = 'German'", "SET LOCAL statement_timeout = 12345"):
                session.execute(text(each))
            for _ in range(2):
                found.append([session.scalar(text(f"SHOW {name}")) for name in names])
                yield from database.rows(select(User.id))

    async with Client(Millstream(Root(database), participants=[database])) as client:
        await client.get("/reported")
    assert found[0] == found[1] == ["German, DMY", "1", "12345ms"]


async def test_a_snapshot_of_the_session_is_that_of_its_queries(
    postgresql: str, make_database: Callable[..., Database]
) -> None:
    database = make_database(postgresql)
    Base.metadata.create_all(database.engine)

    def prepare(session: Any) -> None:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.scalar(select(func.count(User.id)))
        with database.engine.begin() as another:
            another.execute(insert(User), [{**ROWS[0], "id": 1000}])

    for cls, ways in ((Ways, WAYS), (AsyncWays, ["returned", "rows"])):
        root = cls(database)
        root.prepare = prepare
        for way in ways:
            await same_snapshot(root, way)


async def same_snapshot(root: Ways, way: str) -> None:
    fill(root.database)
    async with Client(Millstream(root, participants=[root.database])) as client:
        assert len(table_of("csv", (await client.get(f"/{way}.csv")).body)) == len(ROWS)


async def test_a_checkpoint_under_rows_that_are_read_on_the_session_is_refused(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    fill(database)

    class Root(Ways):
        @expose("csv")
        def copies(self) -> Iterator[Any]:
            self.database.session.execute(text("update users set code = 't'"))
            for row in self.database.rows(self.query, batch=2):
                yield row
                stream.commit()

    async with Client(Millstream(Root(database), participants=[database])) as client:
        with pytest.raises(BodyTruncated):
            await client.get("/copies")
    assert "while rows are read on the connection of the session" in caplog.text
