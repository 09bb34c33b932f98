"""Several processes, one log: any reader anywhere, whichever of them dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.durable.cutting import cutting
from tests.durable.remote import JSON, PATIENCE, EventSource, Writer, browser, running
from tests.wire.running import Running, started

from millstream.durable.appending import Append
from millstream.durable.engines import open_log
from millstream.testing import connect
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire

WORKERS = 4
WRITERS = 2
READERS = 3
KILLS = 5
RECONNECTS = 20
CHANCE = random.Random()  # noqa: S311  whom to kill is no secret
TEXT = {"content-type": "text/plain"}
SOON = 10.0
"""Seconds; less than the beat, at which everybody looks."""


@contextmanager
def nodes(count: int, log: str, folder: Path, *command: str) -> Iterator[list[Running]]:
    """Servers that share nothing but the log."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    ["millstream", "serve", "node:app", *command],
                    each,
                    {"LOG": log},
                    cwd=Path(__file__).parent,
                )
            )
            for each in _folders(folder, count)
        ]


def _folders(folder: Path, count: int) -> Iterator[Path]:
    for number in range(count):
        each = folder / str(number)
        each.mkdir()
        yield each


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('log')}/streams.db"


@pytest.fixture(scope="module")
def server(log: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Four workers behind one port, on one log in SQLite."""
    folder = tmp_path_factory.mktemp("server")
    with nodes(1, log, folder, "--workers", str(WORKERS)) as [running]:
        running.wait_log("startup complete", times=WORKERS)
        yield running


@pytest.fixture
def url(server: Running, request: pytest.FixtureRequest) -> str:
    return f"http://127.0.0.1:{server.port}/streams/{request.node.name}"


@pytest.fixture
async def workers(server: Running) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A connection to each worker."""
    async with AsyncExitStack() as stack:
        found: dict[int, httpx.AsyncClient] = {}
        async with asyncio.timeout(PATIENCE):
            while len(found) < WORKERS:
                clients = [await stack.enter_async_context(browser()) for _ in range(WORKERS)]
                pids = await asyncio.gather(*(asked_for_pid(client, server) for client in clients))
                found.update(zip(pids, clients, strict=True))
        yield list(found.values())


async def asked_for_pid(client: httpx.AsyncClient, server: Running) -> int:
    """Which worker has the connection."""
    reply = await client.get(f"http://127.0.0.1:{server.port}/pid")
    pid: int = reply.json()["pid"]
    return pid


async def test_every_worker_is_told_at_once_what_any_other_stored(
    url: str, server: Running, workers: list[httpx.AsyncClient]
) -> None:
    for client in workers:  # nobody looks by himself: what comes is what the doorbell told
        await client.get(f"http://127.0.0.1:{server.port}/poll", params={"seconds": 1000})
    assert (await workers[0].put(url, headers=TEXT)).status_code == 201
    offset = "-1"
    for number, writer in enumerate(workers):
        polls = {"offset": offset, "live": "long-poll"}
        following = [
            asyncio.create_task(client.get(url, params=polls)) for client in workers if client is not writer
        ]
        stored = await writer.post(url, headers=TEXT, content=b"%d" % number)
        offset = stored.headers["stream-next-offset"]
        async with asyncio.timeout(SOON):
            replies = await asyncio.gather(*following)
        for reply in replies:
            assert (reply.status_code, reply.text) == (200, str(number))
            assert reply.headers["stream-next-offset"] == offset
    for client in workers:
        await client.get(f"http://127.0.0.1:{server.port}/poll", params={"seconds": 1})


async def test_a_worker_killed_in_the_middle_loses_nothing_and_keeps_nobody(
    url: str, server: Running
) -> None:
    writers = [Writer(url, f"w{number}") for number in range(WRITERS)]
    async with browser() as client, cutting(server.port, 100, 3000) as proxy:
        assert (await client.put(url, headers=JSON)).status_code == 201
        bad_line = url.replace(f":{server.port}/", f":{proxy.port}/")
        readers = [EventSource(f"{bad_line}?offset=-1&live=sse") for _ in range(READERS)]
        async with running(*writers, *readers):
            for _ in range(KILLS):
                await asyncio.gather(*(writer.more(CHANCE.randrange(5, 15)) for writer in writers))
                async with browser() as other:
                    os.kill(await asked_for_pid(other, server), signal.SIGKILL)
            while min(reader.connections for reader in readers) <= RECONNECTS:
                await writers[0].more(1)
            proxy.enough = True
            await asyncio.gather(*(writer.finish() for writer in writers))
            assert (await client.post(url, headers={"stream-closed": "true"})).status_code == 204
        stored = (await client.get(url)).json()
    expected = [[f"w{each}", number] for each, writer in enumerate(writers) for number in range(writer.count)]
    assert sorted(stored) == expected
    for reader in readers:
        assert reader.got == stored


async def test_a_zombie_is_fenced_off_on_every_worker(url: str, workers: list[httpx.AsyncClient]) -> None:
    async def append(client: httpx.AsyncClient, epoch: int, seq: int) -> httpx.Response:
        claim = {"producer-id": "p", "producer-epoch": str(epoch), "producer-seq": str(seq)}
        return await client.post(url, headers={**TEXT, **claim}, content=b"%d.%d " % (epoch, seq))

    await workers[0].put(url, headers=TEXT)
    assert (await append(workers[1], 0, 0)).status_code == 200
    assert (await append(workers[2], 1, 0)).status_code == 200
    for client in workers:
        refused = await append(client, 0, 1)
        assert (refused.status_code, refused.headers["producer-epoch"]) == (403, "1")
        repeated = await append(client, 1, 0)
        assert repeated.status_code == 204
    assert (await workers[3].get(url)).text == "0.0 1.0 "


async def test_a_reader_slower_than_retention_is_told_and_given_no_gap(
    url: str, log: str, server: Running, workers: list[httpx.AsyncClient]
) -> None:
    name, path = url.rpartition("/")[2], httpx.URL(url).path
    block = b"x" * 99_999 + b"\n"
    await workers[0].put(url, headers=TEXT)
    with connect("127.0.0.1", server.port, receive_buffer=4096) as wire:
        slow = wire.get(f"{path}?offset=-1&live=sse")
        async with open_log(log) as elsewhere:
            for _ in range(60):
                stored = await elsewhere.append(name, Append(records=[block]))
            await elsewhere.trim(name, stored.state.next_offset)
        events = await asyncio.to_thread(slow.rest)
    seen = [line.removeprefix(b"id: ").decode() for line in events.splitlines() if line.startswith(b"id: ")]
    assert b"streamClosed" not in events
    assert 0 < events.count(b"x" * 99_999) < 60
    assert int(seen[-1].partition("_")[0]) == events.count(b"x" * 99_999) * len(block)
    for client in workers:
        told = await client.get(url, params={"live": "sse"}, headers={"last-event-id": seen[-1]})
        assert told.status_code == 410
        assert "begin again at the start" in told.json()["detail"]


async def test_two_machines_on_one_redis_serve_each_others_readers(tmp_path: Path) -> None:
    with redis() as shared, nodes(2, shared.url, tmp_path) as both:
        urls = [f"http://127.0.0.1:{node.port}/streams/s" for node in both]
        writers = [Writer(url, f"w{each}") for each, url in enumerate(urls)]
        readers = [EventSource(f"{url}?offset=-1&live=sse") for url in urls]
        async with browser() as client:
            assert (await client.put(urls[0], headers=JSON)).status_code == 201
            assert (await client.put(urls[1], headers=JSON)).status_code == 200
            async with running(*writers, *readers):
                await asyncio.gather(*(writer.more(25) for writer in writers))
                await asyncio.gather(*(writer.finish() for writer in writers))
                assert (await client.post(urls[1], headers={"stream-closed": "true"})).status_code == 204
            stored = (await client.get(urls[0])).json()
        for each, writer in enumerate(writers):
            assert [n for name, n in stored if name == f"w{each}"] == list(range(writer.count))
        assert [reader.got for reader in readers] == [stored, stored]
