from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.durable.http.conftest import Serve, mounted

from millstream.durable.appending import Append
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.http.feeds import KEPT
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.testing import Client, StreamReply

TEXT = Config(content_type="text/plain")


@asynccontextmanager
async def following(client: Client, query: str = "offset=-1", **options: Any) -> AsyncIterator[StreamReply]:
    async with client.stream("GET", f"/v1/s?{query}&live=sse", **options) as reply:
        yield reply


async def next_data(reply: StreamReply) -> tuple[str, str]:
    """The next data and its id; control events are passed over."""
    while (event := await reply.next_event()) is not None:
        if event.event == "data":
            return event.data, event.id
    raise AssertionError("the events ended")


async def test_what_was_and_what_comes_arrive_in_one_row(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"a", b"b"])
    async with following(client) as reply:
        assert (await next_data(reply))[0] == "ab"
        for letter in "cde":
            await log.append("s", Append(records=[letter.encode()]))
            assert (await next_data(reply))[0] == letter
        await log.append("s", Append(records=[b"!"], close=True))
        assert (await next_data(reply))[0] == "!"
        last = await reply.next_event()
        assert last is not None
        assert json.loads(last.data)["streamClosed"]
        assert await reply.next_event() is None


async def test_an_event_source_that_comes_back_goes_on_where_it_was(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"first"])
    async with following(client) as reply:
        _, seen = await next_data(reply)
    await log.append("s", Append(records=[b"second"]))
    async with following(client, headers={"last-event-id": seen}) as reply:
        assert (await next_data(reply))[0] == "second"
    async with following(client, "x=y", headers={"last-event-id": seen}) as reply:
        assert (await next_data(reply))[0] == "second"


async def test_an_event_source_that_has_seen_the_end_is_told_to_stop(client: Client, log: Log) -> None:
    state = (await log.create("s", TEXT, [b"x"], closed=True)).state
    reply = await client.get("/v1/s?offset=-1&live=sse", headers={"last-event-id": state.next_offset})
    assert (reply.status, reply.headers["stream-closed"]) == (204, "true")


async def test_whoever_leaves_and_comes_back_at_random_sees_everything_once(client: Client, log: Log) -> None:
    await log.create("s", TEXT)
    rng = random.Random(7)  # noqa: S311  nothing is secret about it
    read, seen = "", ""

    async def write() -> None:
        for number in range(200):
            await log.append("s", Append(records=[b"%d;" % number], close=number == 199))
            await asyncio.sleep(0)

    writer = asyncio.create_task(write())
    while not read.endswith("199;"):
        headers = {"last-event-id": seen} if seen else {}
        async with following(client, headers=headers) as reply:
            for _ in range(rng.randint(1, 4)):
                data, seen = await next_data(reply)
                read += data
                if read.endswith("199;"):
                    break
    await writer
    assert read == "".join(f"{number};" for number in range(200))


async def test_a_thousand_followers_are_given_the_same_bytes(client: Client, log: Log) -> None:
    await log.create("s", TEXT)
    chunks: list[bytes | None] = []

    async def follow() -> None:
        async with following(client, "offset=now") as reply:
            await reply.next_chunk()
            here.release()
            chunks.append(await reply.next_chunk())

    here = asyncio.Semaphore(0)
    followers = [asyncio.create_task(follow()) for _ in range(1000)]
    for _ in followers:
        await here.acquire()
    await log.append("s", Append(records=[b"news"]))
    await asyncio.gather(*followers)
    assert len({id(chunk) for chunk in chunks}) == 1


async def test_a_slow_reader_falls_back_and_misses_nothing(client: Client, log: Log) -> None:
    await log.create("s", Config(content_type="application/json"))
    async with following(client, "offset=now", window=1000) as slow:
        async with following(client, "offset=now") as fast:
            for number in range(60):
                await log.append("s", Append(records=[b'"%d-%b"' % (number, b"x" * 10_000)]))
                await next_data(fast)
        await log.append("s", Append(close=True))
        numbers: list[int] = []
        while (event := await slow.next_event()) is not None:
            if event.event == "data":
                numbers += [int(text.partition("-")[0]) for text in json.loads(event.data)]
    assert numbers == list(range(60))
    assert 2 * KEPT < 60 * 10_000


async def test_silence_is_broken_by_comments(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(beat=0.01)
    await log.create("s", TEXT)
    async with following(client) as reply:
        await reply.next_chunk()
        assert await reply.next_chunk() == b":\n\n"
        assert await reply.next_chunk() == b":\n\n"


async def test_a_connection_lasts_its_time_and_ends_well(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(reconnect=0.02)
    await log.create("s", TEXT, [b"x"])
    async with following(client) as reply:
        events = (await reply.rest()).decode()
    assert '"upToDate":true' in events
    assert "streamClosed" not in events


async def test_a_stream_that_is_deleted_ends_its_events(client: Client, log: Log) -> None:
    await log.create("s", TEXT)
    async with following(client) as reply:
        await reply.next_chunk()
        await log.delete("s")
        assert await reply.next_chunk() is None


async def test_a_reader_that_was_overtaken_by_trimming_ends_and_is_told(client: Client, log: Log) -> None:
    await log.create("s", Config(content_type="application/json"))
    async with following(client, "offset=now", window=1000) as reply:
        for _ in range(50):
            state = (await log.append("s", Append(records=[b'"%b"' % (b"x" * 20_000)]))).state
            await asyncio.sleep(0)
        await log.trim("s", state.next_offset)
        while (event := await reply.next_event()) is not None:
            seen = event.id or None
    assert (await client.get("/v1/s?live=sse", headers={"last-event-id": seen or "-1"})).status == 410


async def test_a_failed_stream_does_not_look_complete(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"half"])
    async with following(client) as reply:
        await next_data(reply)
        await log.append("s", Append(records=[b"error"], close=True, failed=True))
        assert (await next_data(reply))[0] == "error"
        last = await reply.next_event()
        assert last is not None
        assert json.loads(last.data)["streamFailed"]


async def test_a_cursor_that_was_met_again_moves_on_and_stays_ahead(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"x"])
    cursors = [10**12]
    async with following(client, f"offset=-1&cursor={cursors[0]}") as reply:
        for _ in range(2):
            while (event := await reply.next_event()) is not None and event.event != "control":
                pass
            assert event is not None
            cursors.append(int(json.loads(event.data)["streamCursor"]))
            await log.append("s", Append(records=[b"x"]))
    assert cursors[0] < cursors[1] == cursors[2]


async def test_there_are_only_so_many_followers(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(max_followers=1)
    await log.create("s", TEXT)
    async with following(client):
        over = await client.get("/v1/s?offset=now&live=sse")
        assert (over.status, over.headers["retry-after"]) == (503, "1")
    async with following(client) as reply:
        assert reply.status == 200


async def test_a_follower_keeps_a_stream_alive(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(beat=0.01)
    await log.create("s", Config(content_type="text/plain", ttl=1))
    async with following(client) as reply:
        until = asyncio.get_running_loop().time() + 1.3
        while asyncio.get_running_loop().time() < until:
            await reply.next_chunk()
        assert (await log.describe("s")).ttl == 1


async def test_who_does_not_read_is_cut_off(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(stall=0.02)
    await log.create("s", TEXT, [b"x" * 200_000])
    async with following(client, window=1000) as reply:
        await log.append("s", Append(records=[b"more"]))
        await reply.wait_blocked()
        await reply.wait_ended()
        assert reply.ended


async def test_a_shutdown_ends_the_events_well(log: Log) -> None:
    streams = DurableStreams(log)
    await log.create("s", TEXT)
    async with Client(mounted(streams)) as client, following(client) as reply:
        await reply.next_chunk()
        streams.stop_followers()
        assert await reply.next_chunk() is None


async def test_nothing_is_left_of_those_who_followed(log: Log) -> None:
    await log.create("s", TEXT)
    async with Client(mounted(DurableStreams(log, beat=0.01)), require_no_leaks=True) as client:
        for _ in range(3):
            async with following(client) as reply:
                await reply.next_chunk()
        assert reply.ended


@pytest.mark.parametrize(
    ("kind", "encoding"), [("image/png", "base64"), ("text/csv", None), ("application/json", None)]
)
async def test_the_head_says_how_data_is_encoded(
    client: Client, log: Log, kind: str, encoding: str | None
) -> None:
    await log.create("s", Config(content_type=kind))
    async with following(client) as reply:
        assert reply.headers.get("stream-sse-data-encoding") == encoding
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["x-accel-buffering"] == "no"
