"""Processes killed at random moments: what was acknowledged is there, in order, and once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
import pytest
from redis.exceptions import RedisError
from tests.durable.writer import write

from millstream.durable.appending import Append, Appended
from millstream.durable.engines import open_log
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.pages import Page
from millstream.durable.refusals import StaleEpoch
from millstream.durable.state import Producer
from millstream.testing.postgres import postgres
from millstream.testing.redis import RedisServer, redis

KILLS: Final = 50
PATIENCE: Final = 30.0
TEXT: Final = Config(content_type="text/plain")
CHANCE: Final = random.Random()  # noqa: S311  when to kill is no secret
PROCESSES: Final = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.durable.writer"])


def killed_after(lines: int, url: str, epoch: int, begin: int) -> int:
    """Let a process append, kill it once it has said so many numbers; the last one it said."""
    listening, said = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=write, args=(url, "a", epoch, begin, said))
    process.start()
    said.close()
    acknowledged = begin - 1
    try:
        for _ in range(lines):
            acknowledged = listening.recv()
        process.kill()
        while True:
            acknowledged = listening.recv()
    except (EOFError, OSError):  # the last number may have been cut off with it
        return acknowledged
    finally:
        process.join()
        listening.close()


async def stored(log: Log, name: str) -> list[int]:
    """The numbers in a stream; each page begins where the one before it ended."""
    text, offset = b"", "-1"
    while True:
        page = await _read(log, name, offset)
        text += b"".join(page.messages)
        offset = page.next_offset
        if page.up_to_date:
            assert len(text) == page.state.tail
            return [int(number) for number in text.split()]


async def _read(log: Log, name: str, offset: str) -> Page:
    """A page, as soon as a server that was killed last is there again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await log.read(name, offset)
            except (OSError, psycopg.Error, RedisError):
                await asyncio.sleep(0.01)


async def test_no_acknowledged_record_is_lost_when_a_writer_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/streams.db"
    begin = 0
    for epoch in range(KILLS):
        acknowledged = await asyncio.to_thread(killed_after, CHANCE.randrange(60), url, epoch, begin)
        async with open_log(url) as log:
            await log.create("a", TEXT)
            numbers = await stored(log, "a")
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > acknowledged
        begin = len(numbers)
    assert begin > KILLS


async def test_a_writer_that_was_fenced_off_stores_nothing_more(tmp_path: Path) -> None:
    async with open_log(f"sqlite:///{tmp_path}/streams.db") as log:
        await log.create("a", TEXT)
        await log.append("a", Append(records=[b"1"], producer=Producer("writer", 0, 0)))
        await log.append("a", Append(records=[b"2"], producer=Producer("writer", 1, 0)))
        with pytest.raises(StaleEpoch):
            await log.append("a", Append(records=[b"zombie"], producer=Producer("writer", 0, 1)))
        assert (await log.describe("a")).tail == 2


async def test_no_acknowledged_record_is_lost_when_redis_is_killed() -> None:
    with redis() as server:
        async with open_log(server.url) as log:
            await log.create("a", TEXT)
            async with appending(log) as acknowledged:
                for _ in range(KILLS):
                    await acknowledged.more(CHANCE.randrange(1, 30))
                    await asyncio.to_thread(_restart, server)
            assert await stored(log, "a") == list(range(acknowledged.count))


async def test_no_acknowledged_record_is_lost_when_postgresql_is_killed() -> None:
    with postgres() as server:
        async with open_log(server.url) as log:
            await log.create("a", TEXT)
            async with appending(log) as acknowledged:
                for _ in range(KILLS):
                    await acknowledged.more(CHANCE.randrange(1, 30))
                    await asyncio.to_thread(_kill_a_backend, server.url)
            assert await stored(log, "a") == list(range(acknowledged.count))


async def test_a_full_disk_refuses_appends_and_loses_nothing(tmp_path: Path) -> None:
    async with open_log(f"sqlite:///{tmp_path}/streams.db") as log:
        await log.create("a", TEXT)
        await log.append("a", Append(records=[b"kept"]))
        with no_more_room(tmp_path), pytest.raises(Exception, match=r"full|disk|I/O"):
            await log.append("a", Append(records=[b"x" * 1_000_000]))
        await log.append("a", Append(records=[b"again"]))
        assert b"".join((await log.read("a")).messages) == b"keptagain"


class Acknowledged:
    """Appends numbers, each until it is acknowledged: its claim keeps it from coming twice."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.count = 0
        self.enough = False
        self._news = asyncio.Condition()

    async def work(self) -> None:
        while not self.enough:
            await self._append(self.count)
            async with self._news:
                self.count += 1
                self._news.notify_all()

    async def _append(self, number: int) -> Appended:
        claim = Producer("writer", 0, number)
        while True:
            try:
                return await self._log.append("a", Append(records=[b"%d\n" % number], producer=claim))
            except (OSError, psycopg.Error, RedisError):
                await asyncio.sleep(0.01)

    async def more(self, count: int) -> None:
        wanted = self.count + count
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self.count >= wanted)


@asynccontextmanager
async def appending(log: Log) -> AsyncIterator[Acknowledged]:
    acknowledged = Acknowledged(log)
    working = asyncio.create_task(acknowledged.work())
    try:
        yield acknowledged
    finally:
        acknowledged.enough = True
        await working


@contextmanager
def no_more_room(folder: Path) -> Iterator[None]:
    """No file may grow by more than a little; Python ignores the signal that tells of it."""
    largest = max(path.stat().st_size for path in folder.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _restart(server: RedisServer) -> None:
    server.kill()
    server.start()


def _kill_a_backend(url: str) -> None:
    """A backend that is killed makes PostgreSQL end all others, and recover as after a crash."""
    while True:
        with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=10) as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'millstream durable' LIMIT 1"
            ).fetchone()
            if found is not None:
                os.kill(found[0], signal.SIGKILL)
                return
