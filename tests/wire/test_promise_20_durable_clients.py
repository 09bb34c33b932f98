"""Clients that other people wrote read durable event streams: a run is what its author said, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import httpx
import httpx_sse
import pytest
from tests.wire.conftest import PATIENCE

from millstream import Millstream, Settings, TGController, abort, expose, response
from millstream.durable.runs.declared import Durable
from millstream.testing import BodyTruncated, EventReader, Server, connect, serve

openai = pytest.importorskip("openai", reason="the client of OpenAI is not installed")

pytestmark = pytest.mark.wire

WORDS = ["It", " is", " durable", "."]


def chunk(text: str, finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


class Completions(TGController):
    @expose("sse", durable=True)
    async def completions(self, **_: object) -> AsyncIterator[object]:
        for word in WORDS:
            yield chunk(word)
        yield chunk("", "stop")
        yield "[DONE]"


class Chat(TGController):
    chat = Completions()


class Root(TGController):
    v1 = Chat()

    @expose("sse", durable=True)
    async def count(self, n: int = 3, fails: bool = False) -> AsyncIterator[int]:
        for number in range(n):
            yield number
        if fails:
            raise RuntimeError("out of numbers")

    @expose("sse", durable=True)
    async def headed(self, status: int = 200) -> AsyncIterator[int]:
        response.headers["x-dialect"] = "v1"
        if status != 200:
            abort(status)
        yield 1

    @expose("sse", durable=True)
    def headed_sync(self, status: int = 200) -> Iterator[int]:
        response.headers["x-dialect"] = "v1"
        if status != 200:
            abort(status)
        yield 1

    @expose("sse", durable=Durable(key="fixed"), headers={"x-dialect": "v1"})
    async def fixed(self) -> AsyncIterator[int]:
        yield 1

    @expose("", content_type="text/event-stream", durable=True)
    async def raw(self, end: str = "\n") -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}{end}"
            yield end


app = Millstream(Root(), Settings(durable_url="memory:", drain_timeout=0.1))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(app) as running:
        yield running


def test_the_client_of_openai_reads_a_durable_action(server: Server) -> None:
    with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0, timeout=PATIENCE) as client:
        answer = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "?"}], stream=True
        )
        assert [part.choices[0].delta.content for part in answer] == [*WORDS, ""]


def test_httpx_sse_is_given_no_event_that_nobody_yielded(server: Server) -> None:
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        httpx_sse.connect_sse(client, "GET", f"{server.url}/count") as source,
    ):
        events = [(event.event, event.data) for event in source.iter_sse()]
    assert events == [("message", "0"), ("message", "1"), ("message", "2"), ("end", '{"reason":"completed"}')]


@pytest.mark.parametrize("at", ["the action", "the run"])
def test_a_run_that_failed_ends_with_one_event_after_which_there_is_nothing(server: Server, at: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        reply = wire.get("/count?n=1&fails=true")
        with pytest.raises(BodyTruncated) as truncated:
            reply.rest()
    path = "/count?n=1&fails=true" if at == "the action" else reply.headers["location"]
    blocks = truncated.value.received.removeprefix(b": open\n").split(b"\n\n")
    assert [b"data: " in block for block in blocks] == [True, True, False]
    assert blocks[-1] == b""
    _, error = EventReader().feed(truncated.value.received)
    assert error.event == "error"
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        assert wire.get(path, [("last-event-id", error.id)]).status == 204


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_author_may_end_lines_as_the_standard_allows(server: Server, end: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        reply = wire.get(f"/raw?end={quote(end)}")
        first, *more = EventReader().feed(reply.rest())
        assert [first.data, *(event.data for event in more)] == ["0", "1", "2"]
        back = wire.get(f"/raw?end={quote(end)}", [("last-event-id", first.id)]).rest()
    assert [event.data for event in EventReader().feed(back)] == ["1", "2"]


@pytest.mark.parametrize("action", ["headed", "headed_sync"])
def test_a_generator_says_of_the_response_what_it_says_first(server: Server, action: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        reply = wire.get(f"/{action}")
        assert (reply.status, reply.headers["x-dialect"]) == (200, "v1")
        assert [event.event for event in EventReader().feed(reply.rest())] == ["message", "end"]
        refused = wire.get(f"/{action}?status=402")
        assert (refused.status, "stream-id" in refused.headers) == (402, False)
        refused.rest()


def test_a_header_of_the_exposure_is_for_every_reader(server: Server) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        first = wire.get("/fixed")
        first.rest()
        for path in ("/fixed", first.headers["location"], f"/fixed?stream={first.headers['stream-id']}"):
            reply = wire.get(path)
            assert (reply.status, reply.headers["x-dialect"]) == (200, "v1")
            reply.rest()
