"""Applications that share a database: their streams never meet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream.durable.appending import Append
from millstream.durable.engines import open_log
from millstream.durable.naming import Config
from millstream.durable.refusals import NoSuchStream
from millstream.durable.state import Producer
from millstream.testing.postgres import postgres
from millstream.testing.redis import redis

TEXT = Config(content_type="text/plain")
NAMES = ("", "shop", "shop_streams", "streams", "records")


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "redis":
            with redis() as server:
                yield server.url
        case "postgresql":
            with postgres() as database:
                yield database.url
        case _:
            yield f"sqlite:///{tmp_path}/streams.db"


def within(url: str, namespace: str) -> str:
    return f"{url}?namespace={namespace}" if namespace else url


async def test_streams_of_two_namespaces_never_meet(url: str) -> None:
    for namespace in NAMES:
        async with open_log(within(url, namespace)) as log:
            assert (await log.create("s", TEXT, [namespace.encode()])).fresh
            await log.append("s", Append(records=[b"!"], producer=Producer("p", 0, 0)))
            assert await log.claim("run", TEXT, seconds=1) is not None
            assert [state.name for state in await log.leased()] == ["run"]
            await log.create("short", Config(ttl=1))
    for namespace in NAMES:
        async with open_log(within(url, namespace)) as log:
            assert b"".join((await log.read("s")).messages) == namespace.encode() + b"!"
    async with open_log(within(url, "shop")) as log:
        await log.delete("s")
        await log.delete("run")
    for namespace in NAMES:
        async with open_log(within(url, namespace)) as log:
            if namespace == "shop":
                with pytest.raises(NoSuchStream):
                    await log.describe("s")
            else:
                assert b"".join((await log.read("s")).messages) == namespace.encode() + b"!"
                assert len(await log.leased()) == 1


async def test_followers_of_one_namespace_do_not_hear_of_another_one(url: str) -> None:
    async with open_log(within(url, "one")) as one, open_log(within(url, "two")) as two:
        await two.create("s", TEXT)
        offset = (await one.create("s", TEXT)).state.next_offset
        waiting = asyncio.create_task(one.wait_more("s", offset, 30))
        await two.append("s", Append(records=[b"x"], close=True))
        await asyncio.sleep(0)
        assert not waiting.done()
        await one.append("s", Append(records=[b"y"]))
        assert (await asyncio.wait_for(waiting, 10)).tail == 1
        assert not (await one.describe("s")).closed
