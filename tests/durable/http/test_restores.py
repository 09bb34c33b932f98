"""A database has an older state again: each way to read tells so, and gives no other bytes in its place."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from tests.durable.http.conftest import mounted
from tests.durable.restoring import saved_memory

from millstream.durable.appending import Append
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.http.feeds import Feeds
from millstream.durable.log import Log
from millstream.durable.memory import Memory, MemoryEngine
from millstream.durable.naming import Config
from millstream.testing import BodyTruncated, Client

TEXT = Config(content_type="text/plain")
PATIENCE = 10.0


class Restored:
    """A stream of which `AAAABBBB` was read, and which is `AAAA` again when it is told to be."""

    def __init__(self, memory: Memory, log: Log, client: Client) -> None:
        self.memory = memory
        self.log = log
        self.client = client

    async def lose(self) -> str:
        """Create, append, lose; the offset at which somebody stands who has read everything."""
        await self.log.create("s", TEXT, [b"AAAA"])
        restore = await saved_memory(self.memory)
        stored = await self.log.append("s", Append(records=[b"BBBB"]))
        self.restore = restore
        return stored.state.next_offset

    async def append(self, *records: bytes) -> None:
        for record in records:
            await self.log.append("s", Append(records=[record]))


@pytest.fixture
async def stream() -> AsyncIterator[Restored]:
    memory = Memory()
    log = Log(MemoryEngine(memory))
    async with Client(mounted(DurableStreams(log, long_poll=PATIENCE, upkeep=False))) as client:
        yield Restored(memory, log, client)


@pytest.mark.parametrize("later", [(), (b"cc",), (b"cccc",), (b"cc", b"dddddd")])
async def test_whoever_stood_at_what_was_lost_is_told_for_ever(
    stream: Restored, later: tuple[bytes, ...]
) -> None:
    offset = await stream.lose()
    await stream.restore()
    await stream.append(*later)
    for way in ("", "&live=long-poll", "&live=sse", "&live=body"):
        reply = await stream.client.get(f"/v1/s?offset={offset}{way}")
        assert (reply.status, way) == (410, way)
        assert "begin again at the start" in reply.json()["detail"]
    reply = await stream.client.get("/v1/s?offset=-1&live=sse", headers={"last-event-id": offset})
    assert reply.status == 410


async def test_an_entity_tag_of_what_was_lost_does_not_match(stream: Restored) -> None:
    await stream.lose()
    before = await stream.client.get("/v1/s")
    await stream.restore()
    await stream.append(b"cccc")
    reply = await stream.client.get("/v1/s", headers={"if-none-match": before.headers["etag"]})
    assert (reply.status, reply.body) == (200, b"AAAAcccc")


@pytest.mark.parametrize("later", [(), (b"cccc",), (b"cc", b"dddddd")])
async def test_who_polls_meanwhile_is_told(stream: Restored, later: tuple[bytes, ...]) -> None:
    offset = await stream.lose()
    polling = asyncio.create_task(stream.client.get(f"/v1/s?offset={offset}&live=long-poll"))
    while not stream.log._hints._watches:
        await asyncio.sleep(0)
    await stream.restore()
    await stream.append(*later)
    assert (await asyncio.wait_for(polling, PATIENCE)).status == 410


@pytest.mark.parametrize("later", [(), (b"cccc",), (b"cc", b"dddddd")])
async def test_who_follows_events_is_let_go_and_told_when_it_comes_back(
    stream: Restored, later: tuple[bytes, ...]
) -> None:
    await stream.lose()
    async with stream.client.stream("GET", "/v1/s?offset=-1&live=sse") as reply:
        data, control = await reply.next_event(), await reply.next_event()
        assert data is not None
        assert control is not None
        assert (data.data, json.loads(control.data)["streamNextOffset"]) == ("AAAABBBB", data.id)
        await stream.restore()
        await stream.append(*later)
        assert await asyncio.wait_for(reply.next_event(), PATIENCE) is None
    back = await stream.client.get("/v1/s?offset=-1&live=sse", headers={"last-event-id": data.id})
    assert back.status == 410


async def test_who_follows_a_body_is_broken_off(stream: Restored) -> None:
    await stream.lose()
    async with stream.client.stream("GET", "/v1/s?live=body") as reply:
        assert await reply.next_chunk() == b"AAAABBBB"
        await stream.restore()
        await stream.append(b"cc", b"dddddd")
        with pytest.raises(BodyTruncated) as broken:
            await asyncio.wait_for(reply.rest(), PATIENCE)
    assert broken.value.received == b""


async def test_who_comes_after_the_loss_is_given_nothing_that_a_feed_has_kept(stream: Restored) -> None:
    feeds = Feeds(stream.log, time.time)
    await stream.log.create("s", TEXT, [b"AAAA"])
    restore = await saved_memory(stream.memory)
    state = await stream.log.describe("s")
    feed = feeds.of(state, state.next_offset)
    with feed.heard() as ear:
        for end in (8, 12):
            await stream.append(b"BBBB")
            while feed.end < end:
                await ear.wait_hinted(PATIENCE)
        feed.task.cancel()  # it notices nothing any more, and has what it has
        lost = await stream.log.describe("s")
        await restore()
        await stream.append(b"cccc", b"cccc")
        page = await stream.log.read("s", most=8)
        assert feed.frames_from(page.next_offset) is None
        assert feed.frames_from(state.next_offset) is not None
        assert feed.frames_from(lost.next_offset) == []
    feeds.stop()


@pytest.mark.parametrize(("first", "status", "body"), [(2, 206, b"AAcccc"), (6, 206, b"cc")])
async def test_a_download_is_resumed_while_what_the_client_has_still_holds(
    stream: Restored, first: int, status: int, body: bytes
) -> None:
    await stream.lose()
    await stream.restore()
    await stream.append(b"cccc")
    await stream.log.append("s", Append(close=True))
    etag = (await stream.client.get("/v1/s?live=body")).headers["etag"]
    headers = {"range": f"bytes={first}-", "if-range": etag}
    reply = await stream.client.get("/v1/s?live=body", headers=headers)
    assert (reply.status, reply.body) == (status, body)


async def test_a_download_of_what_was_lost_begins_again(stream: Restored) -> None:
    await stream.lose()
    async with stream.client.stream("GET", "/v1/s?live=body") as reply:
        etag = reply.headers["etag"]
    await stream.restore()
    await stream.append(b"cccc")
    await stream.log.append("s", Append(close=True))
    for first in (2, 6):
        headers = {"range": f"bytes={first}-", "if-range": etag}
        whole = await stream.client.get("/v1/s?live=body", headers=headers)
        assert (whole.status, whole.body) == (200, b"AAAAcccc")


async def test_a_download_that_went_on_after_its_head_is_resumed_no_further_than_the_head_knew(
    stream: Restored,
) -> None:
    await stream.log.create("s", TEXT, [b"AAAA"])
    async with stream.client.stream("GET", "/v1/s?live=body") as reply:
        etag = reply.headers["etag"]
    await stream.append(b"BBBB")
    await stream.log.append("s", Append(close=True))
    for first, expected in ((3, (206, b"ABBBB")), (4, (206, b"BBBB")), (5, (200, b"AAAABBBB"))):
        headers = {"range": f"bytes={first}-", "if-range": etag}
        part = await stream.client.get("/v1/s?live=body", headers=headers)
        assert (part.status, part.body) == expected
