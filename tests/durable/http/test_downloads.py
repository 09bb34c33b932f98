from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.durable.http.conftest import mounted

from millstream.durable.appending import Append
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.testing import BodyTruncated, Client, serve

CSV = Config(content_type="text/csv")
JSON = Config(content_type="application/json")
BODY = bytes(range(256)) * 10_000


async def test_a_closed_stream_is_one_body_with_its_length(client: Client, log: Log) -> None:
    await log.create("s", CSV, [BODY, b"end"], closed=True)
    reply = await client.get("/v1/s?live=body")
    assert (reply.status, reply.body) == (200, BODY + b"end")
    assert reply.headers["content-length"] == str(len(BODY) + 3)
    assert reply.headers["accept-ranges"] == "bytes"


async def test_an_open_stream_is_followed_to_its_end(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"a"])
    async with client.stream("GET", "/v1/s?live=body") as reply:
        assert await reply.next_chunk() == b"a"
        await log.append("s", Append(records=[b"b"]))
        assert await reply.next_chunk() == b"b"
        await log.append("s", Append(close=True))
        assert await reply.next_chunk() is None


async def test_json_is_one_array(client: Client, log: Log) -> None:
    await log.create("s", JSON, [b"1", b"2"])
    async with client.stream("GET", "/v1/s?live=body", headers={"range": "bytes=1-"}) as reply:
        assert reply.status == 200
        assert (await reply.next_chunk(), await reply.next_chunk()) == (b"[", b"1,2")
        await log.append("s", Append(records=[b"3"], close=True))
        assert await reply.rest() == b",3]"


async def test_an_empty_json_stream_is_an_empty_array(client: Client, log: Log) -> None:
    await log.create("s", JSON, closed=True)
    assert (await client.get("/v1/s?live=body")).json() == []


@pytest.mark.parametrize(
    ("asked", "part", "told"),
    [
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=2-3", b"23", "bytes 2-3/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
async def test_a_part_is_given_exactly(client: Client, log: Log, asked: str, part: bytes, told: str) -> None:
    await log.create("s", CSV, [b"012", b"34567", b"89"], closed=True)
    reply = await client.get("/v1/s?live=body", headers={"range": asked})
    assert (reply.status, reply.body, reply.headers["content-range"]) == (206, part, told)
    assert reply.headers["content-length"] == str(len(part))


async def test_bytes_beyond_the_end_are_a_416(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"0123"], closed=True)
    reply = await client.get("/v1/s?live=body", headers={"range": "bytes=4-"})
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */4")


async def test_a_part_of_another_life_is_the_whole_of_this_one(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"old"], closed=True)
    etag = (await client.get("/v1/s?live=body")).headers["etag"]
    headers = {"range": "bytes=1-", "if-range": etag}
    assert (await client.get("/v1/s?live=body", headers=headers)).body == b"ld"
    await log.delete("s")
    await log.create("s", CSV, [b"new!"], closed=True)
    reply = await client.get("/v1/s?live=body", headers=headers)
    assert (reply.status, reply.body) == (200, b"new!")


async def test_a_part_of_an_open_stream_waits_until_its_length_is_known(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"0123"])
    async with client.stream(
        "GET", "/v1/s?live=body", headers={"range": "bytes=2-"}, await_head=False
    ) as reply:
        while not log._hints._watches:
            await asyncio.sleep(0)
        await log.append("s", Append(records=[b"45"], close=True))
        await reply.wait_head()
        assert (reply.status, await reply.rest()) == (206, b"2345")


async def test_a_failed_stream_is_broken_off(client: Client, log: Log) -> None:
    for name, config in (("s", CSV), ("j", JSON)):
        await log.create(name, config, [b"1"])
        await log.append(name, Append(records=[b"2"], close=True, failed=True))
        for headers in ({}, {"range": "bytes=0-"}):
            with pytest.raises(BodyTruncated) as broken:
                await client.get(f"/v1/{name}?live=body", headers=headers)
            assert not broken.value.received.endswith(b"]")


async def test_a_stream_that_is_deleted_meanwhile_is_broken_off(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"1"])
    async with client.stream("GET", "/v1/s?live=body") as reply:
        await reply.next_chunk()
        await log.delete("s")
        with pytest.raises(BodyTruncated):
            await reply.next_chunk()


async def test_a_download_that_would_miss_its_beginning_is_refused(client: Client, log: Log) -> None:
    state = (await log.create("s", CSV, [b"12"])).state
    await log.append("s", Append(records=[b"34"], close=True))
    await log.trim("s", state.next_offset)
    assert (await client.get("/v1/s?live=body")).status == 410
    assert (await client.get(f"/v1/s?live=body&offset={state.next_offset}")).body == b"34"


async def test_a_download_does_not_end_well_at_a_shutdown(log: Log) -> None:
    streams = DurableStreams(log)
    await log.create("s", CSV, [b"1"])
    async with Client(mounted(streams)) as client, client.stream("GET", "/v1/s?live=body") as reply:
        await reply.next_chunk()
        streams.stop_followers()
        with pytest.raises(BodyTruncated):
            await reply.next_chunk()


async def test_who_leaves_ends_it(client: Client, log: Log) -> None:
    await log.create("s", CSV, [b"1"])
    async with client.stream("GET", "/v1/s?live=body") as reply:
        await reply.next_chunk()
        await reply.disconnect(wait=True)
        assert reply.ended


async def test_an_array_is_valid_however_it_is_paged(client: Client, log: Log) -> None:
    messages = [json.dumps("x" * 300_000).encode() for _ in range(10)]
    await log.create("s", JSON, messages, closed=True)
    assert (await client.get("/v1/s?live=body")).json() == ["x" * 300_000] * 10


@pytest.mark.wire
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_resumes_a_download_that_was_cut(tmp_path: Path) -> None:
    log = Log(MemoryEngine())
    streams = DurableStreams(log)
    half = tmp_path / "half.csv"
    half.write_bytes(BODY[:1_234_567])
    with serve(streams) as server:
        for method, headers in (("PUT", ["-H", "Stream-Closed: true", "-H", "Content-Type: text/csv"]),):
            whole = tmp_path / "whole"
            whole.write_bytes(BODY)
            url = f"{server.url}/s?live=body"
            _curl("-X", method, *headers, "--data-binary", f"@{whole}", f"{server.url}/s")
        _curl("-C", "-", "-o", str(half), url)
    assert half.read_bytes() == BODY


def _curl(*arguments: str) -> None:
    curl = shutil.which("curl")
    assert curl is not None
    subprocess.run([curl, "-sS", "--fail", *arguments], check=True)  # noqa: S603  our own arguments
