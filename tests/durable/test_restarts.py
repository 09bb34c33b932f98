"""What becomes of readers and writers over HTTP while the database is away."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.durable.remote import JSON, EventSource, Writer, browser, running
from tests.durable.restoring import saved_redis

from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.naming import Config
from millstream.testing import EventReader, serve
from millstream.testing.postgres import PostgresServer, postgres
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire

RESTARTS = 3


@contextmanager
def served(url: str) -> Iterator[str]:
    streams = DurableStreams(open_log(url))
    with serve(Starlette(routes=[Mount("/v1", streams)], lifespan=lambda _: streams.opened())) as server:
        yield f"{server.url}/v1/s"


async def outlived(url: str, restart: Callable[[], None]) -> None:
    """Restart while one writes and two follow: each record arrives once, and nobody is sent away."""
    writer, readers = Writer(url, "w"), [EventSource(f"{url}?offset=-1&live=sse") for _ in range(2)]
    async with browser() as client:
        assert (await client.put(url, headers=JSON)).status_code == 201
        async with running(writer, *readers):
            for _ in range(RESTARTS):
                await writer.more(10)
                for (
                    reader
                ) in readers:  # without an id a page would be sent away: it has no place to come back to
                    await reader.wait_got(1)
                await asyncio.to_thread(restart)
            await writer.more(10)
            await writer.finish()
            assert (await client.post(url, headers={"stream-closed": "true"})).status_code == 204
    for reader in readers:
        assert reader.got == [["w", number] for number in range(writer.count)]
        assert reader.closed


async def test_readers_go_on_when_redis_is_killed_and_comes_back() -> None:
    with redis() as server, served(server.url) as url:

        def restart() -> None:
            server.kill()
            server.start()

        await outlived(url, restart)


async def test_a_reader_does_not_notice_that_its_connections_to_redis_were_lost() -> None:
    with redis() as server:
        async with open_log(server.url) as log:
            await log.create("s", Config(content_type="text/plain"), [b"x"])
            await asyncio.gather(*(log.describe("s") for _ in range(5)))
            server.kill()
            server.start()
            assert [(await log.describe("s")).tail for _ in range(5)] == [1] * 5


async def test_a_follower_is_told_when_redis_comes_back_older_than_it_was() -> None:
    with redis(options=("--appendonly", "no")) as server, served(server.url) as url:
        async with browser() as client:
            text = {"content-type": "text/plain"}
            assert (await client.put(url, headers=text, content=b"AAAA")).status_code == 201
            restore = await saved_redis(server)
            await client.post(url, headers=text, content=b"BBBB")
            reader = EventReader()
            async with client.stream("GET", f"{url}?offset=-1&live=sse") as follower:
                chunks = follower.aiter_bytes()
                while not (event := next((e for e in reader.feed(await anext(chunks)) if e.id), None)):
                    pass
                assert event.data == "AAAABBBB"
                await restore()
                for record in (b"cc", b"dddddd"):
                    while (await client.post(url, headers=text, content=record)).status_code == 503:
                        await asyncio.sleep(0.05)
                more = b"".join([chunk async for chunk in chunks])
            assert b"event: data" not in more
            for _ in range(2):
                back = await client.get(f"{url}?offset=-1&live=sse", headers={"last-event-id": event.id})
                assert back.status_code == 410
                assert (await client.get(url, params={"offset": event.id})).status_code == 410
            assert (await client.get(url)).content == b"AAAAccdddddd"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres() as running:
        yield running


async def test_whoever_gives_up_while_it_connects_leaves_no_connection_behind(
    database: PostgresServer,
) -> None:
    with warnings.catch_warnings(record=True) as left_behind:
        warnings.simplefilter("always")
        async with open_log(database.url) as log:
            for turns in range(40):
                asking = asyncio.create_task(log.sweep())
                await asyncio.sleep(turns / 4000)
                asking.cancel()
                await asyncio.wait([asking])
        gc.collect()
    assert [str(each.message) for each in left_behind] == []


async def test_readers_go_on_when_postgresql_is_restarted(database: PostgresServer) -> None:
    with served(database.url) as url:

        def restart() -> None:
            database.stop()
            database.start()

        await outlived(url, restart)
