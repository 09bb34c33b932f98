from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

import pytest
import redis as redis_py
from redis.exceptions import RedisError
from tests.durable.restoring import saved_redis

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.redis import RedisEngine
from millstream.durable.state import Change, Producer, Record, State
from millstream.errors import ConfigurationError
from millstream.testing import check_log
from millstream.testing.redis import RedisServer, redis

TEXT: Final = Config(content_type="text/plain")
PATIENCE: Final = 20.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis() as running:
        yield running


async def test_it_keeps_the_contract() -> None:
    with redis(options=("--appendonly", "no")) as server:
        await check_log(lambda: RedisEngine(server.url), save=lambda: saved_redis(server))


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


async def test_a_change_that_others_always_overtake_fails_alone_and_clearly(server: RedisServer) -> None:
    faster = redis_py.Redis.from_url(server.url)
    async with Log(RedisEngine(server.url)) as log:
        engine = log._engine
        for name in ("contended", "quiet"):
            await log.create(name, TEXT)

        def overtaken(_: Mapping[str, State | None], __: Producer | None) -> Change:
            faster.set(
                "{millstream}:state:contended", State("contended", uuid4().hex[:16], "text/plain").encode()
            )
            return Change("made", states=(State("contended", "f" * 16, "text/plain"),))

        async with asyncio.timeout(PATIENCE):
            impossible = asyncio.create_task(engine.change(["contended"], None, overtaken))
            beside = [asyncio.create_task(log.append("quiet", Append(records=[b"x"]))) for _ in range(5)]
            with pytest.raises(RedisError, match="'contended' failed: other nodes changed it first"):
                await impossible
            await asyncio.gather(*beside)
        assert (await log.describe("quiet")).tail == 5
    faster.close()


async def test_a_change_that_cannot_be_stored_fails_alone(server: RedisServer) -> None:
    async with Log(RedisEngine(server.url)) as log:
        await log.create("a", TEXT)
        nothing: Any = None
        for record in (Record(1, nothing), Record(nothing, b"x")):
            wrong = Change(states=(State("wrong", "f" * 16, "text/plain"),), records=[record])
            impossible = log._engine.change(["wrong"], None, lambda *_, wrong=wrong: wrong)
            beside = [log.append("a", Append(records=[b"x"])) for _ in range(5)]
            told = await asyncio.gather(*beside[:2], impossible, *beside[2:], return_exceptions=True)
            assert [type(each) for each in told if isinstance(each, Exception)] == [TypeError]
            assert await log._engine.look("wrong") is None
        assert (await log.describe("a")).tail == 10


async def test_more_than_one_call_holds_is_stored_in_several(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.durable.redis.MOST_BYTES", 10)
    async with Log(RedisEngine(server.url)) as log:
        await log.create("a", TEXT)
        claims = [Append(records=[b"%04d" % n], producer=Producer("p", 0, n)) for n in range(50)]
        await asyncio.gather(*(log.append("a", claim) for claim in claims))
        assert b"".join((await log.read("a")).messages) == b"".join(b"%04d" % n for n in range(50))


async def test_a_server_that_stands_still_is_told_as_one_that_is_not_there(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.durable.redis.ANSWER", 0.3)
    async with Log(RedisEngine(server.url)) as log:
        await log.create("a", TEXT)
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)
        try:
            for asked in (log.append("a", Append(records=[b"x"])), log.describe("a")):
                with pytest.raises(RedisError):
                    await asyncio.wait_for(asked, PATIENCE)
        finally:
            server._process.send_signal(signal.SIGCONT)


async def test_a_message_that_is_none_of_ours_wakes_everybody(server: RedisServer) -> None:
    told: asyncio.Queue[str | None] = asyncio.Queue()
    engine = RedisEngine(server.url)
    await engine.open(told.put_nowait)
    foreign = redis_py.Redis.from_url(server.url)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await told.get() is None
            foreign.publish("{millstream}:hints", b"hello")
            assert await told.get() is None
            await Log(engine).create("a", TEXT)
            assert await told.get() == "a"
    finally:
        foreign.close()
        await engine.close()


async def test_it_is_closed_at_once_however_short_it_was_open(server: RedisServer) -> None:
    async with asyncio.timeout(PATIENCE):
        for turns in range(40):
            engine = RedisEngine(server.url)
            await engine.open(lambda _: None)
            for _ in range(turns):
                await asyncio.sleep(0)
            await engine.close()
