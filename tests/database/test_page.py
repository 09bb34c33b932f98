"""The page's database examples as printed, over the wire, and every way in which a writing stream can end."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import func, insert, select
from tests.database.page import Base, Permission, User, page_controller

from millstream import Millstream, Reason, TGController, expose, stream
from millstream.database import Database
from millstream.testing import BodyTruncated, Server, connect, serve

pytestmark = pytest.mark.wire

IDLE = 50
NAMES = ["manager", "editor", "ada"]


class Root(TGController):
    """The page's writing example again, as a stream, sync and async."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.page = page_controller(database, time.sleep)
        self.ended = threading.Event()
        self.reason: Reason | None = None

    def note_end(self, reason: Reason, _: object) -> None:
        self.reason = reason
        self.ended.set()

    @expose("ndjson")
    def write(self, checkpoint: int = -1, stay_at: int = -1, owner_id: int | None = None) -> Iterator[str]:
        stream.on_end(self.note_end)
        for number in range(9):
            self.database.session.add(Permission(permission_name=f"perm_{number}", owner_id=owner_id))
            if number == checkpoint:
                stream.commit()
            yield f"perm_{number}"
            if number == stay_at:
                stream.sleep(60)

    @expose("ndjson")
    async def awrite(
        self, checkpoint: int = -1, stay_at: int = -1, owner_id: int | None = None
    ) -> AsyncIterator[str]:
        stream.on_end(self.note_end)
        for number in range(9):
            self.database.async_session.add(Permission(permission_name=f"perm_{number}", owner_id=owner_id))
            if number == checkpoint:
                await stream.commit()
            yield f"perm_{number}"
            if number == stay_at:
                await stream.sleep(60)

    @expose("sse")
    def idle(self) -> Iterator[str]:
        yield self.database.session.scalars(select(User.user_name).filter_by(user_id=1)).one()
        stream.sleep(60)

    @expose("sse")
    async def aidle(self) -> AsyncIterator[str]:
        yield (await self.database.async_session.scalars(select(User.user_name).filter_by(user_id=1))).one()
        await stream.sleep(60)

    @expose("json")
    def name(self) -> dict[str, str]:
        return {"name": self.database.session.get_one(User, 1).user_name}

    @expose("json")
    async def aname(self) -> dict[str, str]:
        return {"name": (await self.database.async_session.get_one(User, 1)).user_name}


KINDS = pytest.mark.parametrize("kind", ["", "a"], ids=["sync", "async"])
SIZE = {"pool_size": 2, "max_overflow": 0}


@pytest.fixture
def root(url: str, make_database: Callable[..., Database]) -> Root:
    database = make_database(url, **SIZE)
    Base.metadata.create_all(database.engine)
    with database.engine.begin() as connection:
        connection.execute(insert(User), [{"user_name": name} for name in NAMES])
    return Root(database)


@pytest.fixture
def server(root: Root) -> Iterator[Server]:
    with serve(Millstream(root, participants=[root.database]), lifespan="on") as server:
        yield server


def count(root: Root) -> int:
    with root.database.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Permission)) or 0


def curl(server: Server, path: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "--silent", "--show-error", "--max-time", "20", f"{server.url}{path}"]
    return subprocess.run(command, check=False, capture_output=True)  # noqa: S603  the test's own words


def test_the_reading_example_reads_as_printed(server: Server) -> None:
    done = curl(server, "/page/stream_db")
    assert done.returncode == 0
    assert done.stdout == b'[null, "manager", "editor", "ada", ' + b"null, " * 5 + b"null]"


def test_the_writing_example_writes_nine_rows_as_printed(server: Server, root: Root) -> None:
    assert curl(server, "/page/stream_list").returncode == 0
    assert count(root) == 9


@KINDS
def test_a_stream_that_finishes_leaves_nine_rows(server: Server, root: Root, kind: str) -> None:
    done = curl(server, f"/{kind}write")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 9)
    assert count(root) == 9  # the client has seen the end, so it may rely on it
    assert root.ended.wait(5)
    assert (count(root), root.reason) == (9, Reason.COMPLETED)


@KINDS
@pytest.mark.parametrize(("checkpoint", "rows"), [(-1, 0), (2, 3)], ids=["without", "with"])
def test_a_client_that_is_killed_at_its_fourth_item_leaves_what_was_checkpointed(
    server: Server, root: Root, kind: str, checkpoint: int, rows: int
) -> None:
    with connect(server.host, server.port) as wire:
        reply = wire.get(f"/{kind}write?stay_at=3&checkpoint={checkpoint}")
        read = b""
        while read.count(b"\n") < 4:
            chunk = reply.next_chunk()
            assert chunk is not None
            read += chunk.data
        wire.reset()
    assert root.ended.wait(5)
    assert root.reason is Reason.CLIENT_GONE
    assert count(root) == rows


@KINDS
def test_a_commit_that_fails_is_seen_by_the_client(server: Server, root: Root, kind: str) -> None:
    """There is no such owner: PostgreSQL says so at the commit, after the last item has left."""
    done = curl(server, f"/{kind}write?owner_id=404")
    assert done.returncode != 0
    assert root.ended.wait(5)
    assert (count(root), root.reason) == (0, Reason.FAILED)
    with connect(server.host, server.port) as wire, pytest.raises(BodyTruncated):
        wire.get(f"/{kind}write?owner_id=404").rest()


@KINDS
def test_fifty_idle_streams_do_not_keep_a_pool_of_two_from_others(
    server: Server, root: Root, kind: str
) -> None:
    with ExitStack() as open_streams:
        for _ in range(IDLE):
            wire = open_streams.enter_context(connect(server.host, server.port))
            reply, read = wire.get(f"/{kind}idle"), b""
            while b"manager" not in read:
                read += getattr(reply.next_chunk(), "data", b"")
        began = time.monotonic()
        for path in ("/name", "/aname"):
            with connect(server.host, server.port) as wire:
                assert wire.get(path).rest() == b'{"name":"manager"}'
        assert time.monotonic() - began < 1
        assert root.database.leases == ()
