"""What clients are told while the log's database is away or full, and how they go on."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.durable.http.conftest import Serve, mounted
from tests.durable.remote import browser
from tests.wire.running import Running, started

from millstream.durable.appending import Append
from millstream.durable.engine import Decide
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.state import Change, State
from millstream.testing import BodyTruncated, Client

TEXT = {"content-type": "text/plain"}
NODE = Path(__file__).parents[1]


class Leaving(MemoryEngine):
    """Cannot be had when it is away."""

    failures: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.missed = asyncio.Event()

    async def look(self, name: str, /) -> State | None:
        if self.away:
            self.missed.set()
            raise ConnectionError("the database went away\nand left details that are nobody's business")
        return await super().look(name)

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        if self.away:
            raise ConnectionError("the database went away")
        return await super().change(names, producer, decide)


@pytest.fixture
async def engine() -> Leaving:
    return Leaving()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.durable.http.feeds.RETRY", 0.01)


@pytest.fixture
async def log(engine: Leaving) -> Log:
    return Log(engine)


@pytest.mark.parametrize(
    "asked",
    [
        "GET ",
        "GET ?offset=-1&live=long-poll",
        "GET ?offset=-1&live=sse",
        "GET ?live=body",
        "HEAD ",
        "PUT ",
        "POST ",
        "DELETE ",
    ],
)
async def test_a_log_that_is_away_is_503_and_not_our_affair_to_explain(
    client: Client, log: Log, engine: Leaving, asked: str, caplog: pytest.LogCaptureFixture
) -> None:
    await log.create("s", Config(content_type="text/plain"), [b"x"])
    engine.away = True
    method, query = asked.split(" ")
    async with client.stream(method, f"/v1/s{query}", headers=TEXT, content=b"more") as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        body = await reply.rest()
    assert method == "HEAD" or b"the log cannot be had at the moment, or is full" in body
    assert b"went away" not in body
    assert [record.getMessage() for record in caplog.records] == [
        "the durable log cannot be had: the database went away"
    ]


async def test_an_event_source_that_comes_back_too_early_is_asked_to_come_again(
    client: Client, log: Log, engine: Leaving
) -> None:
    state = (await log.create("s", Config(content_type="text/plain"))).state
    engine.away = True
    reply = await client.get("/v1/s?live=sse", headers={"last-event-id": state.next_offset})
    assert (reply.status, reply.body) == (200, b"retry: 3000\n")


async def test_an_event_source_that_comes_back_to_a_crowd_is_asked_to_come_again(
    serve_streams: Serve, log: Log
) -> None:
    client = await serve_streams(max_followers=1)
    offset = (await log.create("s", Config(content_type="text/plain"))).state.next_offset
    async with client.stream("GET", "/v1/s?offset=-1&live=sse") as reply:
        await reply.next_event()
        late = await client.get("/v1/s?live=sse", headers={"last-event-id": offset})
        assert (late.status, late.body) == (200, b"retry: 3000\n")


async def test_who_follows_stays_while_the_log_is_away_and_then_goes_on(
    client: Client, log: Log, engine: Leaving
) -> None:
    await log.create("s", Config(content_type="text/plain"))
    async with client.stream("GET", "/v1/s?offset=-1&live=sse") as reply:
        await reply.next_event()
        engine.away = True
        log._hints.awake("s")
        await engine.missed.wait()
        assert await reply.next_chunk() == b":\n\n"
        engine.away = False
        await log.append("s", Append(records=[b"again"]))
        while (event := await reply.next_event()) is not None and event.event != "data":
            pass
        assert event is not None
        assert event.data == "again"


async def test_nobody_follows_a_feed_whose_log_stays_away(log: Log, engine: Leaving) -> None:
    streams = DurableStreams(log, upkeep=False)
    async with Client(mounted(streams), require_no_leaks=True) as client:
        await log.create("s", Config(content_type="text/plain"))
        async with client.stream("GET", "/v1/s?offset=-1&live=sse") as reply:
            await reply.next_event()
            engine.away = True
            log._hints.awake("s")
            await engine.missed.wait()
        assert reply.ended


async def test_a_download_breaks_off_visibly_when_the_log_goes(
    client: Client, log: Log, engine: Leaving
) -> None:
    await log.create("s", Config(content_type="text/plain"), [b"half"])
    async with client.stream("GET", "/v1/s?live=body") as reply:
        assert await reply.next_chunk() == b"half"
        engine.away = True
        log._hints.awake("s")
        with pytest.raises(BodyTruncated):
            await reply.rest()


@contextmanager
def no_more_room(server: Running, folder: Path) -> Iterator[None]:
    """No file of the server's may grow by more than a little."""
    pid = server.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in folder.iterdir())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 100_000, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.wire
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
async def test_a_full_disk_is_503_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    environment = {"LOG": f"sqlite:///{folder}/streams.db"}
    with started(["uvicorn", "node:app"], tmp_path, environment, cwd=NODE) as server:
        url = f"http://127.0.0.1:{server.port}/streams/s"
        async with browser() as client:
            assert (await client.put(url, headers=TEXT, content=b"kept ")).status_code == 201
            with no_more_room(server, folder):
                refused = await client.post(url, headers=TEXT, content=b"x" * 1_000_000)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["detail"] == "the log cannot be had at the moment, or is full"
                assert (await client.get(url)).text == "kept "
            assert (await client.post(url, headers=TEXT, content=b"again")).status_code == 204
            assert (await client.get(url)).text == "kept again"
        assert server.log.count("the durable log cannot be had: ") == 1
        assert "Traceback" not in server.log
