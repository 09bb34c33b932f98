"""What the public suite does not ask: mounting, authorisation, stopping, headers, and bad input."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from tests.durable.http.conftest import Serve

from millstream import ASGIAppController, Millstream, TGController
from millstream.durable.appending import Append
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.http.replies import PUBLIC
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.naming import Config
from millstream.durable.refusals import LeaseLost, NoSuchStream
from millstream.durable.runs.names import stream_of
from millstream.errors import ConfigurationError, HTTPError
from millstream.testing import Client, unfinished
from millstream.testing.failures import LifespanFailed

TEXT = {"content-type": "text/plain"}


class Broken(MemoryEngine):
    async def open(self, *_: Any) -> None:
        raise ConfigurationError("the database is not there")


async def test_it_answers_below_any_mount() -> None:
    class Root(TGController):
        streams = ASGIAppController(DurableStreams(Log(MemoryEngine()), upkeep=False))

    inside = Starlette(routes=[Mount("/deep/down", DurableStreams(Log(MemoryEngine()), upkeep=False))])
    for app, path in ((Millstream(Root()), "/streams/a/b"), (inside, "/deep/down/a/b")):
        async with Client(app) as client:
            made = await client.put(path, headers=TEXT, content=b"x")
            assert (made.status, made.headers["location"].endswith(path)) == (201, True)
            forked = await client.put(f"{path}/fork", headers={"stream-forked-from": path})
            assert forked.status == 201
            assert (await client.get(f"{path}/fork")).body == b"x"


async def test_the_log_is_opened_and_closed_with_the_application(log: Log, client: Client) -> None:
    assert (await client.head("/v1/none")).status == 404
    streams = DurableStreams(log)
    async with streams.opened():
        await streams.open()
    await streams.close()
    assert streams._open is None


async def test_a_database_that_is_not_there_is_told_at_start_up() -> None:
    with pytest.raises(LifespanFailed, match="the database is not there"):
        async with Client(DurableStreams(Log(Broken()))):
            pass


async def test_unknown_methods_and_nameless_streams_are_refused(client: Client) -> None:
    patched = await client.patch("/v1/s", content=b"x")
    assert (patched.status, "PUT" in patched.headers["allow"]) == (405, True)
    assert (await client.get("/v1/")).status == 404


async def test_a_name_may_be_any_text(client: Client) -> None:
    for name in ("a%20b", "%C3%A9/%2F", "x" * 1000, "x/..%2f..", "%00", "a;b=c"):
        assert (await client.put(f"/v1/{name}", headers=TEXT, content=name.encode())).status == 201
        assert (await client.get(f"/v1/{name}")).body == name.encode()


async def test_every_answer_keeps_browsers_from_guessing(client: Client) -> None:
    await client.put("/v1/s", headers=TEXT)
    for reply in (
        await client.get("/v1/s"),
        await client.get("/v1/none"),
        await client.options("/v1/s"),
        await client.delete("/v1/s"),
    ):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in reply.headers


async def test_another_origin_may_be_let_in(serve_streams: Serve) -> None:
    client = await serve_streams(allow_origin="https://there.example")
    reply = await client.options("/v1/s")
    assert reply.headers["access-control-allow-origin"] == "https://there.example"
    assert reply.headers["vary"] == "origin"
    assert "Last-Event-ID" in reply.headers["access-control-allow-headers"]
    assert "Stream-Next-Offset" in reply.headers["access-control-expose-headers"]
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_what_is_read_is_private_unless_told_otherwise(client: Client, serve_streams: Serve) -> None:
    await client.put("/v1/s", headers=TEXT)
    assert (await client.get("/v1/s")).headers["cache-control"] == "private, no-store"
    public = await serve_streams(cache=PUBLIC)
    assert (await public.get("/v1/s")).headers["cache-control"] == PUBLIC
    assert (await public.get("/v1/s?offset=now")).headers["cache-control"] == "no-store"
    assert (await public.head("/v1/s")).headers["cache-control"] == "no-store"


async def test_every_request_is_asked_for_its_right(serve_streams: Serve) -> None:
    asked: list[tuple[str, str]] = []
    allowed = {"create", "read"}

    async def authorize(request: Request, name: str, act: str) -> bool:
        asked.append((name, act))
        return act in allowed and request.headers.get("x-key") == "k"

    client = await serve_streams(authorize=authorize)
    key = {"x-key": "k"}
    assert (await client.put("/v1/s", headers=TEXT)).status == 403
    assert (await client.put("/v1/s", headers=TEXT | key)).status == 201
    assert (await client.post("/v1/s", headers=TEXT | key, content=b"x")).status == 403
    assert (await client.delete("/v1/s", headers=key)).status == 403
    assert (await client.post("/v1/s/stop", headers=key)).status == 403
    for live in ("", "&live=long-poll", "&live=sse", "&live=body"):
        assert (await client.get(f"/v1/s?offset=now{live}")).status == 403
    allowed.remove("read")
    assert (await client.put("/v1/t", headers=key | {"stream-forked-from": "/v1/s"})).status == 403
    assert [name for name, act in asked if act == "read"][-1] == "s"
    assert ("s", "stop") in asked


async def test_whoever_authorises_may_choose_the_answer(serve_streams: Serve) -> None:
    def authorize(request: Request, name: str, act: str) -> bool:
        raise HTTPError(401, "who are you?", headers={"WWW-Authenticate": "Bearer"})

    reply = await (await serve_streams(authorize=authorize)).get("/v1/s")
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert reply.json()["detail"] == "who are you?"


async def test_a_run_is_asked_to_stop_over_http(client: Client, log: Log) -> None:
    lease = await log.claim("run", Config(content_type="text/plain"))
    assert lease is not None
    assert (await client.post("/v1/run/stop")).status == 202
    assert (await log.renew(lease)).stopping
    await log.append("run", Append(close=True))
    stopped = await client.post("/v1/run/stop")
    assert (stopped.status, stopped.headers["stream-closed"]) == (204, "true")
    assert (await client.post("/v1/none/stop")).status == 404


async def test_a_stream_may_be_named_stop_all_the_same(client: Client) -> None:
    await client.put("/v1/a/stop", headers=TEXT)
    assert (await client.post("/v1/a/stop", headers=TEXT, content=b"x")).status == 204
    assert (await client.post("/v1/a/stop", headers={"stream-closed": "true"})).status == 204
    assert (await client.get("/v1/a/stop")).body == b"x"


async def test_no_body_is_longer_than_it_may_be(serve_streams: Serve) -> None:
    client = await serve_streams(max_body=10)
    assert (await client.put("/v1/s", headers=TEXT, content=b"x" * 11)).status == 413
    assert (await client.put("/v1/s", headers=TEXT, content=b"x" * 10)).status == 201
    assert (await client.post("/v1/s", headers=TEXT, content=b"x" * 11)).status == 413
    assert (await client.get("/v1/s")).body == b"x" * 10


async def test_half_an_upload_appends_nothing(client: Client, log: Log) -> None:
    await client.put("/v1/s", headers=TEXT)
    async with client.stream(
        "POST", "/v1/s", headers=TEXT, content=unfinished(b"half"), await_head=False
    ) as upload:
        await asyncio.sleep(0)
        await upload.disconnect()
    assert (await log.read("s")).messages == []


async def test_a_forks_body_is_of_its_sources_kind(client: Client) -> None:
    await client.put("/v1/j", headers={"content-type": "application/json"}, content=b"[1,2]")
    forked = {"stream-forked-from": "/v1/j"}
    assert (await client.put("/v1/f", headers=forked, content=b"[3,4]")).status == 201
    assert (await client.get("/v1/f")).json() == [1, 2, 3, 4]
    assert (await client.put("/v1/g", headers=forked, content=b"{")).status == 400
    assert (await client.put("/v1/g", headers={"stream-forked-from": "/elsewhere/j"})).status == 404
    assert (await client.put("/v1/g", headers={"stream-fork-offset": "0"})).status == 400


async def test_a_refusal_to_head_has_no_body(client: Client) -> None:
    reply = await client.head("/v1/none")
    assert (reply.status, reply.body) == (404, b"")


async def test_other_kinds_of_scopes_are_not_spoken(log: Log) -> None:
    async def nothing(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(NotImplementedError, match="websocket"):
        await DurableStreams(log)({"type": "websocket"}, nothing, nothing)


async def test_the_upkeep_runs_while_it_is_open(log: Log) -> None:
    async with DurableStreams(log).opened():
        await log.claim("run", Config(), seconds=0, will=b"died")
        async with asyncio.timeout(5):
            assert (await log.wait_until("run", lambda state: state.closed, 5)).failed


async def test_the_upkeep_of_an_endpoint_leaves_a_dead_run_to_its_application(log: Log) -> None:
    streams = DurableStreams(log)
    async with streams.opened():
        await log.claim(stream_of("run"), Config(), seconds=0, will=b"died")
        with pytest.raises(LeaseLost):
            await streams._on_dead(await log.describe(stream_of("run")))


async def test_who_resumes_in_an_earlier_life_is_told_it_is_gone(client: Client) -> None:
    first = await client.put("/v1/s", headers=TEXT, content=b"old")
    etag = (await client.get("/v1/s")).headers["etag"]
    await client.delete("/v1/s")
    await client.put("/v1/s", headers=TEXT, content=b"new")
    old = first.headers["stream-next-offset"]
    for live in ("", "&live=long-poll", "&live=sse", "&live=body"):
        assert (await client.get(f"/v1/s?offset={old}{live}")).status == 410
    again = await client.get("/v1/s", headers={"if-none-match": etag})
    assert (again.status, again.body) == (200, b"new")


async def test_a_stream_that_is_gone_is_not_there_for_anybody(client: Client, log: Log) -> None:
    with pytest.raises(NoSuchStream):
        await log.describe("s")
    assert {(await client.request(verb, "/v1/s")).status for verb in ("GET", "HEAD", "DELETE")} == {404}


async def test_what_is_too_long_to_be_a_key_is_refused_in_one_sentence(client: Client) -> None:
    text = {"content-type": "text/plain"}
    long = await client.put(f"/v1/{'n' * 3000}", headers=text)
    assert (long.status, long.json()["detail"]) == (
        400,
        "the name of the stream cannot be used: it has 3000 bytes, and 1024 are the most",
    )
    await client.put("/v1/s", headers=text)
    claim = {"producer-id": "p" * 3000, "producer-epoch": "0", "producer-seq": "0"}
    told = await client.post("/v1/s", headers={**text, **claim}, content=b"x")
    assert (told.status, told.json()["detail"]) == (
        400,
        "the id of the producer cannot be used: it has 3000 bytes, and 1024 are the most",
    )
    forked = await client.put(f"/v1/{'f' * 3000}", headers={"stream-forked-from": "/v1/s"})
    assert forked.status == 400
