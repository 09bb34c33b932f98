from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.redis import RedisEngine
from millstream.errors import ConfigurationError
from millstream.testing import check_log
from millstream.testing.redis import RedisServer, redis

TEXT: Final = Config(content_type="text/plain")
PATIENCE: Final = 20.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis() as running:
        yield running


async def test_it_keeps_the_contract(server: RedisServer) -> None:
    await check_log(lambda: RedisEngine(server.url))


async def test_a_server_that_is_not_there_is_told_in_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="the durable server cannot be used"):
        await RedisEngine("redis://127.0.0.1:1/0").open(lambda _: None)


async def test_two_nodes_that_append_at_once_lose_nothing(server: RedisServer) -> None:
    async with Log(RedisEngine(server.url)) as one, Log(RedisEngine(server.url)) as two:
        await one.create("a", TEXT)
        await asyncio.gather(
            *(log.append("a", Append(records=[b"x"])) for _ in range(50) for log in (one, two))
        )
        assert (await two.describe("a")).tail == 100
        assert b"".join((await one.read("a")).messages) == b"x" * 100


async def test_a_refusal_never_rests_on_what_another_node_has_changed(server: RedisServer) -> None:
    async with Log(RedisEngine(server.url)) as one, Log(RedisEngine(server.url)) as two:
        await one.create("a", TEXT)
        await one.append("a", Append(close=True))
        await two.delete("a")
        await two.create("a", TEXT)
        assert (await one.append("a", Append(records=[b"new life"]))).state.tail == 8


async def test_it_goes_on_after_the_server_was_started_again(server: RedisServer) -> None:
    told: asyncio.Queue[str | None] = asyncio.Queue()
    engine = RedisEngine(server.url)
    await engine.open(told.put_nowait)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await told.get() is None
            server.kill()
            server.start()
            assert await told.get() is None
        log = Log(engine)
        assert (await log.create("a", TEXT)).fresh
    finally:
        await engine.close()
