"""A server with open followers is told to end: it does, at once, and each of them knows where it stands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.durable.http.conftest import mounted
from tests.wire.conftest import PATIENCE
from tests.wire.running import started

from millstream import Millstream, Settings, TGController, expose
from millstream.dispatch.controllers import ASGIAppController
from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.testing import BodyTruncated, Client, WireClient, connect

NODE = Path(__file__).parents[1]
TEXT = [("content-type", "text/plain")]
BOUND = 10.0
"""Seconds; followers that are not told stay for 30 and more, and so long lasts the drain."""


@pytest.mark.wire
@pytest.mark.parametrize("command", ["uvicorn", "millstream serve"])
def test_followers_do_not_keep_a_server_that_is_to_end(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    environment = {"LOG": f"sqlite:///{folder}/streams.db"}
    with (
        started([*command.split(), "node:app"], tmp_path, environment, cwd=NODE) as server,
        ExitStack() as crowd,
    ):

        def connected() -> WireClient:
            return crowd.enter_context(connect("127.0.0.1", server.port, timeout=PATIENCE))

        assert connected().get("/streams/s", TEXT, method="PUT", body=b"half").status == 201
        polling = connected()
        polling.send("/streams/s?offset=now&live=long-poll")
        events = connected().get("/streams/s?offset=-1&live=sse")
        download = connected().get("/streams/s?live=body")
        assert events.next_chunk() is not None
        assert download.next_chunk() is not None
        server.end(signal.SIGTERM, within=BOUND)
        assert b"streamClosed" not in events.rest()
        assert events.complete
        with pytest.raises(BodyTruncated):
            download.rest()
        polled = polling.read_head()
        assert (polled.status, "stream-closed" in polled.headers) == (204, False)
        assert [
            path.name for path in folder.iterdir() if path.suffix == ".db-wal"
        ] == []  # it was closed well


class Root(TGController):
    streams = ASGIAppController(DurableStreams(open_log("memory:"), upkeep=False))

    @expose("ndjson", durable=True)
    async def run(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


async def test_the_drain_ends_who_follows_a_mounted_endpoint_or_a_run() -> None:
    app = Millstream(Root(), Settings(durable_url="memory:", drain_timeout=0.1))
    async with Client(app) as client, client.stream("GET", "/run") as begun:
        run = begun.headers["location"]
        await client.put("/streams/s", headers=dict(TEXT), content=b"x")
        async with (
            client.stream("GET", "/streams/s?offset=-1&live=sse") as mounted_one,
            client.stream("GET", f"{run}?offset=-1&live=sse") as of_the_run,
        ):
            for reply in (mounted_one, of_the_run):
                assert await reply.next_event() is not None
            draining = asyncio.create_task(app.ledger.drain())
            for reply in (mounted_one, of_the_run):
                assert b"streamClosed" not in await reply.rest()
            await draining


async def test_who_comes_after_the_end_was_told_is_not_kept(log: Log) -> None:
    streams = DurableStreams(log, upkeep=False)
    async with Client(mounted(streams)) as client:
        await client.put("/v1/s", headers=dict(TEXT), content=b"x")
        streams.stop_followers()
        assert b"data:x" in (await client.get("/v1/s?offset=-1&live=sse")).body
        assert (await client.get("/v1/s?offset=now&live=long-poll")).status == 204


async def test_an_application_may_be_served_again(tmp_path: Path) -> None:
    streams = DurableStreams(open_log(f"sqlite:///{tmp_path}/streams.db"), upkeep=False)
    root = type("Root", (TGController,), {"streams": ASGIAppController(streams)})
    app = Millstream(root())
    for kept in (b"x", b"xx"):
        async with Client(app) as client:
            await client.put("/streams/s", headers=dict(TEXT))
            await client.post("/streams/s", headers=dict(TEXT), content=b"x")
            async with client.stream("GET", "/streams/s?offset=-1&live=sse") as reply:
                event = await reply.next_event()
                assert event is not None
                assert event.data == kept.decode()
            assert (await client.get("/streams/s")).body == kept
    assert list((tmp_path / "streams.db-sockets").iterdir()) == []
