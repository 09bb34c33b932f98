"""Logs of other versions are read, or refused in one sentence.

`earlier/` keeps a log of Millstream 0.1.0 (commit 5abaf69) for each engine, all with the same streams: `text`
with three appends of the producer `p` after its first record, `json` that is closed, `fork` that begins one
byte after the second offset of `text`, `trimmed` whose first record was forgotten, and `run` whose producer
died. `offsets.json` has the offsets that their clients were given.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg
import pytest
import redis as redis_py

from millstream.durable.appending import Append
from millstream.durable.engines import open_log
from millstream.durable.formats import FORMAT
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.refusals import OffsetGone, StaleEpoch
from millstream.durable.state import Producer
from millstream.errors import ConfigurationError
from millstream.testing.postgres import PostgresServer, postgres
from millstream.testing.redis import redis

EARLIER: Final = Path(__file__).parent / "earlier"
ENGINES: Final = ("sqlite", "redis", "postgresql")
TEXT: Final = b"first 0 and 1 and 2 and "


class Stored:
    """A log of the version before, in a database of its own.

    Attributes:
        url: of the database.
        offsets: that clients were given.
    """

    def __init__(self, engine: str, url: str) -> None:
        self.engine = engine
        self.url = url
        self.offsets: dict[str, Any] = json.loads((EARLIER / "offsets.json").read_text())[engine]

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def write_format(self, number: int) -> None:
        match self.engine:
            case "sqlite":
                with apsw.Connection(str(self.path)) as connection:
                    connection.execute("UPDATE format SET number = ?", (number,))
            case "redis":
                with redis_py.Redis.from_url(self.url) as client:
                    client.set("{millstream}:format", number)
            case _:
                with psycopg.connect(self.url) as client:
                    client.execute("UPDATE millstream_format SET number = %s", (number,))

    @contextmanager
    def used_by_the_version_before(self) -> Iterator[None]:
        """What a process of that version does as long as it is there."""
        match self.engine:
            case "sqlite":
                bells = self.path.with_name("streams.db-bell")
                bells.mkdir()
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
                    bell.bind(str(bells / "0a1b2c3d"))
                    yield
            case "redis":
                with redis_py.Redis.from_url(self.url) as client, client.pubsub() as subscription:
                    subscription.subscribe("{millstream}:changed")
                    assert subscription.get_message(timeout=10) is not None
                    yield
                    subscription.unsubscribe()
                    assert subscription.get_message(timeout=10) is not None
            case _:
                with psycopg.connect(self.url, autocommit=True, application_name="millstream") as client:
                    client.execute("LISTEN millstream")
                    yield


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture(params=ENGINES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    match request.param:
        case "sqlite":
            shutil.copy(EARLIER / "streams.db", tmp_path)
            yield Stored("sqlite", f"sqlite:///{tmp_path}/streams.db")
        case "redis":
            with redis() as server, redis_py.Redis.from_url(server.url) as client:
                for key, value in json.loads((EARLIER / "redis.json").read_text()).items():
                    client.restore(key, 0, b64decode(value))
                yield Stored("redis", server.url)
        case _:
            server = request.getfixturevalue("database")
            with psycopg.connect(server.url) as client:
                client.execute(
                    "DROP TABLE IF EXISTS millstream_streams, millstream_records, millstream_producers, "
                    "millstream_format"
                )
                client.execute((EARLIER / "postgresql.sql").read_bytes())
            yield Stored("postgresql", server.url)


async def all_of(log: Log, name: str, offset: str = "-1") -> bytes:
    page = await log.read(name, offset)
    assert page.up_to_date
    return b"".join(page.messages)


async def test_a_log_of_the_version_before_is_read(stored: Stored) -> None:
    for _ in range(2):  # the second time it has this version's format
        async with open_log(stored.url) as log:
            assert await all_of(log, "text") == TEXT
            assert (await log.read("json")).messages == [b"1", b"22"]
            assert (await log.describe("json")).closed
            assert await all_of(log, "fork") == b"first 0 and 1forked"
            assert await all_of(log, "trimmed") == b"kept"
            assert await all_of(log, "run") == b"produced "


async def test_offsets_that_its_clients_were_given_are_good(stored: Stored) -> None:
    async with open_log(stored.url) as log:
        for offset in stored.offsets["text"]:
            assert await all_of(log, "text", offset) == TEXT[int(offset[:16]) :]
        for name in ("fork", "run"):
            assert await all_of(log, name, stored.offsets[name]) == b""
        assert await all_of(log, "fork", stored.offsets["text"][1]) == b"1forked"
        assert await all_of(log, "trimmed", stored.offsets["trimmed"]) == b"kept"
        await log.append("text", Append(records=[b"more"]))
        await log.append("trimmed", Append(records=[b"more"]))
        assert await all_of(log, "text", stored.offsets["text"][3]) == b"more"
        assert await all_of(log, "trimmed", stored.offsets["trimmed"]) == b"keptmore"
        tail = (await log.describe("text")).next_offset
        with pytest.raises(OffsetGone):
            await log.read("text", f"{tail[:16]}{stored.offsets['text'][0][16:]}")


async def test_its_producers_and_its_runs_go_on(stored: Stored) -> None:
    async with open_log(stored.url) as log:
        again = Append(records=[b"2 ", b"and "], producer=Producer("p", 0, 2))
        assert (await log.append("text", again)).duplicate
        await log.append("text", Append(records=[b"3"], producer=Producer("p", 0, 3)))
        assert await all_of(log, "text") == TEXT + b"3"
        [seen] = await log.leased()
        assert seen.tenure is not None
        await log.reap(seen)
        assert await all_of(log, "run") == b"produced died"
        with pytest.raises(StaleEpoch):
            await log.append("run", Append(records=[b"z"], producer=Producer(seen.tenure.producer, 0, 1)))


async def test_a_log_of_a_later_version_is_refused_in_one_sentence(stored: Stored) -> None:
    async with open_log(stored.url):
        pass
    stored.write_format(FORMAT + 1)
    with pytest.raises(
        ConfigurationError, match=r"has format 3, but this version .* format 2: run"
    ) as refused:
        async with open_log(stored.url):
            pass
    assert "\n" not in str(refused.value)
    stored.write_format(FORMAT)
    async with open_log(stored.url) as log:
        assert await all_of(log, "text") == TEXT


async def test_a_log_is_refused_while_the_version_before_uses_it(stored: Stored) -> None:
    with stored.used_by_the_version_before():
        with pytest.raises(ConfigurationError, match=r"used by Millstream 0\.1 in 1 other process: end them"):
            async with open_log(stored.url):
                pass
        async with open_log(f"{stored.url}?namespace=shop") as other:  # which that version does not know
            await other.create("text", Config())
    async with opened_soon(stored.url) as log:
        assert await all_of(log, "text") == TEXT


@asynccontextmanager
async def opened_soon(url: str) -> AsyncIterator[Log]:
    """Once the server has noticed that a connection was closed."""
    log = open_log(url)
    async with asyncio.timeout(10):
        while True:
            try:
                await log.open()
                break
            except ConfigurationError:
                await asyncio.sleep(0.01)
    try:
        yield log
    finally:
        await log.close()


async def test_what_a_killed_process_of_the_version_before_has_left_is_no_process(tmp_path: Path) -> None:
    bells = tmp_path / "streams.db-bell"
    bells.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.bind(str(bells / "0a1b2c3d"))
    async with open_log(f"sqlite:///{tmp_path}/streams.db") as log:
        await log.create("a", Config())


async def test_processes_of_one_version_use_a_log_side_by_side(stored: Stored) -> None:
    async with open_log(stored.url) as one, open_log(stored.url) as other:
        await one.append("text", Append(records=[b"1"]))
        await other.append("text", Append(records=[b"2"]))
        assert await all_of(one, "text") == await all_of(other, "text") == TEXT + b"12"
