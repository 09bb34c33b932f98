from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.wire.conftest import PATIENCE

from millstream import Millstream, Settings, TGController, expose, stream
from millstream.testing import Server, WireClient, WireReply, connect, serve

pytestmark = pytest.mark.wire

FULL = 2


class Sync(TGController):
    @expose("ndjson")
    def idle(self) -> Iterator[int]:
        yield 0
        stream.sleep(600)


class Async(TGController):
    @expose("ndjson")
    async def idle(self) -> AsyncIterator[int]:
        yield 0
        await stream.sleep(600)


class Root(TGController):
    sync = Sync()
    aio = Async()

    @expose("ndjson")
    async def short(self) -> AsyncIterator[int]:
        yield 1

    @expose()
    async def whole(self) -> str:
        return "always"

    @expose()
    def plain(self) -> str:
        return "when there is a thread"


@contextmanager
def crowded(settings: Settings, path: str) -> Iterator[tuple[Server, list[WireClient]]]:
    """A server at its cap, and the clients that hold it there."""
    with serve(Millstream(Root(), settings)) as server, ExitStack() as crowd:
        wires = [crowd.enter_context(connect(server.host, server.port)) for _ in range(FULL)]
        for wire in wires:
            wire.get(path).next_chunk()
        yield server, wires


def ask(server: Server, path: str) -> tuple[WireReply, bytes]:
    with connect(server.host, server.port) as wire:
        reply = wire.get(path)
        return reply, reply.rest()


def wait_until_served(server: Server, path: str) -> None:
    """A place is free soon after somebody left; nothing tells a stranger when."""
    deadline = time.monotonic() + PATIENCE
    while ask(server, path)[0].status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("settings", "status"),
    [(Settings(max_streams=FULL), 503), (Settings(max_streams_per_client=FULL), 429)],
    ids=["max_streams", "max_streams_per_client"],
)
def test_one_stream_more_than_allowed_is_told_when_to_come_back(
    kind: str, settings: Settings, status: int
) -> None:
    with crowded(settings, f"/{kind}/idle") as (server, wires):
        reply, body = ask(server, "/short")
        assert (reply.status, reply.headers["retry-after"]) == (status, "1")
        assert json.loads(body)["status"] == status
        assert ask(server, "/whole")[1] == b"always"
        wires[0].close()
        wait_until_served(server, "/short")


def test_without_a_free_thread_sync_actions_wait_their_turn_and_async_ones_do_not() -> None:
    with crowded(Settings(max_sync_streams=FULL), "/sync/idle") as (server, wires):
        reply, _ = ask(server, "/plain")
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert ask(server, "/short")[1] == b"1\n"
        wires[0].reset()
        wait_until_served(server, "/plain")


def test_async_streams_take_no_thread() -> None:
    with crowded(Settings(max_sync_streams=1), "/aio/idle") as (server, _):
        assert ask(server, "/plain")[1] == b"when there is a thread"


def test_a_refused_client_may_try_again_on_the_same_connection() -> None:
    with (
        crowded(Settings(max_streams=FULL), "/aio/idle") as (server, _),
        connect(server.host, server.port) as wire,
    ):
        for _ in range(3):
            reply = wire.get("/short")
            assert reply.status == 503
            assert reply.rest()
