"""The settlement: what becomes of the rows, whichever way a response ends. Both databases, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import transaction  # type: ignore[import-untyped]  # it has no annotations
from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from millstream import Millstream, Reason, Settings, TGController, abort, expose, redirect, stream
from millstream.database import Database
from millstream.errors import ConfigurationError
from millstream.testing import BodyTruncated, Client


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Root(TGController):
    """Every action once for threads and once, with an `a` before its name, for the event loop."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.reasons: list[Reason] = []

    def add(self, number: int) -> None:
        self.database.session.add(Note(id=number, text="sync"))

    def aadd(self, number: int) -> None:
        self.database.async_session.add(Note(id=number, text="async"))

    @expose("ndjson")
    def write(self, fail_at: int = -1, checkpoint: int = -1, stay_at: int = -1) -> Iterator[int]:
        stream.on_end(lambda reason, _: self.reasons.append(reason))
        for number in range(9):
            if number == fail_at:
                raise ValueError("of the author")
            self.add(number)
            if number == checkpoint:
                stream.commit()
            yield number
            if number == stay_at:
                stream.sleep(30)

    @expose("ndjson")
    async def awrite(self, fail_at: int = -1, checkpoint: int = -1, stay_at: int = -1) -> AsyncIterator[int]:
        stream.on_end(lambda reason, _: self.reasons.append(reason))
        for number in range(9):
            if number == fail_at:
                raise ValueError("of the author")
            self.aadd(number)
            if number == checkpoint:
                await stream.commit()
            yield number
            if number == stay_at:
                await stream.sleep(30)

    @expose("ndjson")
    def twice(self) -> Iterator[int]:
        self.add(1)
        yield 1
        self.add(1)
        yield 2

    @expose("ndjson")
    async def atwice(self) -> AsyncIterator[int]:
        self.aadd(1)
        yield 1
        self.database.async_session.add(Note(id=1, text="again"))
        yield 2

    @expose("json")
    def whole(self, fail: bool = False) -> dict[str, int]:
        self.add(1)
        if fail:
            abort(409, "no")
        return {"added": 1}

    @expose("json")
    async def awhole(self, fail: bool = False) -> dict[str, int]:
        self.aadd(1)
        if fail:
            abort(409, "no")
        return {"added": 1}

    @expose("json")
    def leads(self) -> None:
        self.add(1)
        redirect("/elsewhere")

    @expose("json")
    async def aleads(self) -> None:
        self.aadd(1)
        redirect("/elsewhere")

    @expose("json", read_only=True)
    def refused(self) -> dict[str, int]:
        self.add(1)
        self.database.session.flush()
        return {}

    @expose("json", read_only=True)
    async def arefused(self) -> dict[str, int]:
        self.aadd(1)
        await self.database.async_session.flush()
        return {}

    @expose("ndjson")
    def doomed(self) -> Iterator[int]:
        self.add(1)
        yield 1
        transaction.doom()

    @expose("ndjson")
    def swallowed(self) -> Iterator[int]:
        """An error in the database that the author does not let through."""
        self.add(1)
        self.database.session.flush()
        try:
            self.database.session.execute(select(func.no_such_function()))
        except Exception:  # noqa: BLE001  that is what the test is about
            yield 1

    @expose("ndjson")
    async def aswallowed(self) -> AsyncIterator[int]:
        self.aadd(1)
        await self.database.async_session.flush()
        try:
            await self.database.async_session.execute(select(func.no_such_function()))
        except Exception:  # noqa: BLE001  as above
            yield 1

    @expose("json")
    def checkpointed(self) -> dict[str, int]:
        self.add(1)
        stream.commit()
        return {}

    @expose("json")
    def committed(self) -> dict[str, int]:
        self.add(1)
        transaction.commit()
        return {}


KINDS = pytest.mark.parametrize("kind", ["", "a"], ids=["sync", "async"])


@pytest.fixture
def root(url: str, make_database: Callable[..., Database]) -> Root:
    database = make_database(url)
    Base.metadata.create_all(database.engine)
    return Root(database)


@pytest.fixture
async def client(root: Root) -> AsyncIterator[Client]:
    app = Millstream(root, Settings(), participants=[root.database])
    async with Client(app) as client:
        yield client
    assert root.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queued pool has it
    assert root.database.async_engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # as above


def count(root: Root) -> int:
    with root.database.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Note)) or 0


@KINDS
async def test_what_a_finished_stream_wrote_is_committed(client: Client, root: Root, kind: str) -> None:
    reply = await client.get(f"/{kind}write")
    assert reply.body.splitlines() == [b"%d" % number for number in range(9)]
    assert (count(root), root.reasons) == (9, [Reason.COMPLETED])


@KINDS
async def test_the_commit_is_there_before_the_end_of_the_body(client: Client, root: Root, kind: str) -> None:
    async with client.stream("GET", f"/{kind}write") as reply:
        for _ in range(9):
            await reply.next_line()
        assert await reply.rest() == b""
        assert count(root) == 9


@KINDS
async def test_a_failed_stream_is_rolled_back_and_broken_off(client: Client, root: Root, kind: str) -> None:
    with pytest.raises(BodyTruncated):
        await client.get(f"/{kind}write", params={"fail_at": 4})
    assert (count(root), root.reasons) == (0, [Reason.FAILED])


@KINDS
async def test_a_checkpoint_survives_what_fails_after_it(client: Client, root: Root, kind: str) -> None:
    with pytest.raises(BodyTruncated):
        await client.get(f"/{kind}write", params={"fail_at": 6, "checkpoint": 3})
    assert count(root) == 4


@KINDS
async def test_a_client_that_leaves_undoes_what_was_written_since_the_checkpoint(
    client: Client, root: Root, kind: str
) -> None:
    async with client.stream("GET", f"/{kind}write", params={"stay_at": 4, "checkpoint": 1}) as reply:
        for _ in range(5):
            await reply.next_line()
        await reply.disconnect(wait=True)
    assert (count(root), root.reasons) == (2, [Reason.CLIENT_GONE])


@KINDS
async def test_a_flush_that_fails_in_the_settlement_breaks_the_body_off(
    client: Client, root: Root, kind: str
) -> None:
    with pytest.raises(BodyTruncated):
        await client.get(f"/{kind}twice")
    assert count(root) == 0


@KINDS
async def test_a_whole_response_is_committed_before_it_is_sent(client: Client, root: Root, kind: str) -> None:
    assert (await client.get(f"/{kind}whole")).status == 200
    assert count(root) == 1


@KINDS
async def test_an_aborted_action_is_rolled_back(client: Client, root: Root, kind: str) -> None:
    assert (await client.get(f"/{kind}whole", params={"fail": "true"})).status == 409
    assert count(root) == 0


@KINDS
async def test_a_redirect_commits(client: Client, root: Root, kind: str) -> None:
    assert (await client.get(f"/{kind}leads")).status == 302
    assert count(root) == 1


@KINDS
async def test_a_read_only_action_may_not_write(
    client: Client, root: Root, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get(f"/{kind}refused")).status == 500
    assert "is read_only, but writes" in caplog.text
    assert count(root) == 0


@pytest.mark.parametrize("path", ["/whole", "/awhole", "/checkpointed", "/committed"])
async def test_head_never_writes_and_says_what_get_would(client: Client, root: Root, path: str) -> None:
    head = await client.head(path)
    assert count(root) == 0
    assert (head.status, head.headers) == (200, (await client.get(path)).headers)
    assert count(root) == 1


async def test_a_doomed_transaction_is_rolled_back_and_its_body_broken_off(
    client: Client, root: Root
) -> None:
    with pytest.raises(BodyTruncated):
        await client.get("/doomed")
    assert count(root) == 0


@KINDS
async def test_an_error_that_was_swallowed_never_turns_a_commit_into_a_rollback(
    client: Client, root: Root, kind: str
) -> None:
    """SQLite undoes the statement and can go on; PostgreSQL undoes everything, and then nothing ends well."""
    is_sqlite = root.database.engine.dialect.name == "sqlite"
    try:
        await client.get(f"/{kind}swallowed")
        ended_well = True
    except BodyTruncated:
        ended_well = False
    assert (ended_well, count(root)) == ((True, 1) if is_sqlite else (False, 0))


async def test_a_request_that_does_not_use_it_never_meets_it(make_database: Any) -> None:
    class Plain(TGController):
        @expose("json")
        def index(self) -> dict[str, int]:
            return {}

    nowhere = make_database("postgresql://nobody@127.0.0.1:9/nowhere")
    async with Client(Millstream(Plain(), participants=[nowhere])) as client:
        assert (await client.get("/")).status == 200


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "what is this", "nosuch://x/y"])
def test_a_url_that_cannot_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the database"):
        Database(url)
