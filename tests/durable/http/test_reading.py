from __future__ import annotations

import asyncio

import pytest
from tests.durable.http.conftest import Serve

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.testing import Client

TEXT = Config(content_type="text/plain")


@pytest.mark.parametrize(
    "query",
    [
        "offset=",
        "offset=a",
        "offset=-1&offset=-1",
        "live=x",
        "live=sse",
        "live=long-poll",
        "offset=-1&live=SSE",
    ],
)
async def test_a_question_that_is_none_is_refused(client: Client, log: Log, query: str) -> None:
    await log.create("s", TEXT, [b"x"])
    assert (await client.get(f"/v1/s?{query}")).status == 400


async def test_pages_lead_from_one_to_the_next(client: Client, log: Log) -> None:
    await log.create("s", Config(content_type="image/png"), [b"a" * 700_000, b"b" * 700_000], closed=True)
    first = await client.get("/v1/s")
    assert (len(first.body), "stream-up-to-date" in first.headers) == (700_000, False)
    assert "stream-closed" not in first.headers
    second = await client.get("/v1/s", params={"offset": first.headers["stream-next-offset"]})
    assert (second.body, second.headers["stream-closed"]) == (b"b" * 700_000, "true")


async def test_a_page_is_at_most_a_mebibyte_even_of_one_record(client: Client, log: Log) -> None:
    await log.create("s", Config(content_type="image/png"), [bytes(range(256)) * 10_000])
    body, offset = b"", "-1"
    while True:
        page = await client.get(f"/v1/s?offset={offset}")
        assert len(page.body) <= 1024 * 1024
        body, offset = body + page.body, page.headers["stream-next-offset"]
        if "stream-up-to-date" in page.headers:
            break
    assert body == bytes(range(256)) * 10_000


async def test_a_page_that_did_not_change_is_not_sent_again(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"x"])
    etag = (await client.get("/v1/s")).headers["etag"]
    again = await client.get("/v1/s", headers={"if-none-match": etag})
    assert (again.status, again.body, again.headers["stream-next-offset"][:16]) == (304, b"", f"{1:016d}")
    await log.append("s", Append(close=True))
    closed = await client.get("/v1/s", headers={"if-none-match": etag})
    assert (closed.status, closed.headers["stream-closed"]) == (200, "true")


async def test_a_failed_stream_says_so_at_its_end(client: Client, log: Log) -> None:
    await log.create("s", TEXT, [b"half"])
    await log.append("s", Append(records=[b"error"], close=True, failed=True))
    page = await client.get("/v1/s")
    assert (page.body, page.headers["stream-failed"]) == (b"halferror", "true")
    assert (await client.head("/v1/s")).headers["stream-failed"] == "true"


async def test_a_poll_ends_with_what_comes(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(long_poll=5)
    await log.create("s", TEXT)
    polls = [asyncio.create_task(client.get("/v1/s?offset=now&live=long-poll")) for _ in range(20)]
    while len(log._hints._watches) == 0:
        await asyncio.sleep(0)
    await log.append("s", Append(records=[b"news"]))
    for poll in await asyncio.gather(*polls):
        assert (poll.status, poll.body, poll.headers["stream-up-to-date"]) == (200, b"news", "true")
        assert poll.headers["stream-cursor"].isdigit()


async def test_a_poll_in_vain_ends_in_time_where_it_was(client: Client, log: Log) -> None:
    state = (await log.create("s", TEXT, [b"x"])).state
    poll = await client.get(f"/v1/s?offset={state.next_offset}&live=long-poll")
    assert (poll.status, poll.headers["stream-next-offset"]) == (204, state.next_offset)
    assert "stream-cursor" in poll.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
async def test_a_poll_of_a_stream_that_is_closed_meanwhile_ends_at_once(
    serve_streams: Serve, log: Log, kind: str
) -> None:
    client = await serve_streams(long_poll=60)
    await log.create("s", Config(content_type=kind))
    poll = asyncio.create_task(client.get("/v1/s?offset=now&live=long-poll"))
    while not log._hints._watches:
        await asyncio.sleep(0)
    await log.append("s", Append(close=True))
    reply = await poll
    assert (reply.status, reply.headers["stream-closed"]) == (204, "true")
    assert "stream-cursor" not in reply.headers


async def test_a_poll_of_a_stream_that_is_deleted_meanwhile_is_told(serve_streams: Serve, log: Log) -> None:
    client = await serve_streams(long_poll=60)
    await log.create("s", TEXT)
    poll = asyncio.create_task(client.get("/v1/s?offset=now&live=long-poll"))
    while not log._hints._watches:
        await asyncio.sleep(0)
    await log.delete("s")
    assert (await poll).status == 404


async def test_a_poll_in_the_middle_of_a_character_waits_for_the_whole(
    serve_streams: Serve, log: Log
) -> None:
    client = await serve_streams(long_poll=5)
    await log.create("s", TEXT)
    poll = asyncio.create_task(client.get("/v1/s?offset=now&live=long-poll"))
    while not log._hints._watches:
        await asyncio.sleep(0)
    for half in ("é".encode()[:1], "é".encode()[1:]):
        await log.append("s", Append(records=[half]))
        await asyncio.sleep(0.01)
    assert (await poll).text == "é"
