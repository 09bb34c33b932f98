"""Event streams whose protocol is their author's, and clients that come back after the last event."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    Durable,
    Event,
    Millstream,
    Settings,
    Sse,
    TGController,
    abort,
    expose,
    request,
    response,
)
from millstream.errors import ConfigurationError
from millstream.testing import BodyTruncated, EventReader, WireClient, WireReply

pytestmark = pytest.mark.wire

RUNS: Counter[str] = Counter()


def ran() -> None:
    RUNS[request.path_info] += 1


class UiMessages(Sse):
    name = "ui-messages"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}  # noqa: RUF012  as an author writes it

    def __init__(self, *, action: str, charset: str, **options: Any) -> None:
        super().__init__(action=action, charset=charset, end="[DONE]", error=told, **options)


def told(problem: Any) -> Any:
    return {"type": "error", "errorText": problem["title"]}


class Feeds(TGController):
    def _before(self, *_: Any, **__: Any) -> None:
        response.headers["access-control-allow-origin"] = "*"
        if "forbidden" in request.query_params:
            abort(403)

    @expose("sse")
    def sync(self, **_: Any) -> Iterator[int]:
        ran()
        yield 1

    @expose("sse")
    async def aio(self, **_: Any) -> AsyncIterator[int]:
        ran()
        yield 1

    @expose("sse", end="[DONE]")
    def done(self) -> Iterator[int]:
        ran()
        yield 1

    @expose("sse", end=Event({"type": "message_stop"}, event="message_stop"))
    def event(self) -> Iterator[int]:
        ran()
        yield 1

    @expose(UiMessages)
    async def dialect(self) -> AsyncIterator[int]:
        ran()
        yield 1

    @expose("sse")
    def returned(self) -> list[int]:
        ran()
        return [1]

    @expose("sse")
    def document(self) -> dict[str, int]:
        ran()
        return {"a": 1}

    @expose("sse", durable=True)
    async def durable(self) -> AsyncIterator[int]:
        ran()
        yield 1

    @expose("sse", end="[DONE]", durable=Durable(key="one"))
    async def keyed(self) -> AsyncIterator[int]:
        ran()
        yield 1


class Root(TGController):
    feeds = Feeds()

    @expose("sse", end=None)
    def endless(self) -> Iterator[Event]:
        ran()
        yield Event(1, id="end")

    @expose("ndjson")
    @expose("sse")
    def both(self) -> Iterator[int]:
        ran()
        yield 1

    @expose("sse", error=told)
    def broken(self) -> Iterator[int]:
        yield 1
        raise ValueError

    @expose("sse", error=told, error_ends=True)
    async def ended(self) -> AsyncIterator[int]:
        ran()
        yield 1
        raise ValueError

    @expose("sse", error=told, error_ends=True, durable=Durable(key="ended", on_failure="keep"))
    async def kept(self) -> AsyncIterator[int]:
        ran()
        yield 1
        raise ValueError

    @expose("sse", error=lambda _: object(), error_ends=True)
    async def speechless(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError

    @expose("ui-messages")
    @expose("sse")
    @expose("csv")
    def negotiated(self) -> Iterator[dict[str, int]]:
        yield {"a": 1}

    @expose("sse", headers={"X-Fixed": "1", "x-accel-buffering": "yes"})
    def streamed(self) -> Iterator[int]:
        yield 1

    @expose("sse", headers={"X-Fixed": "1"}, durable=Durable(key="one"))
    def recorded(self) -> Iterator[int]:
        yield 1

    @expose("json", headers={"X-Fixed": "1"})
    def whole(self) -> dict[str, int]:
        return {"a": 1}

    @expose(headers={"X-Fixed": "1"})
    def file(self) -> Path:
        return Path(__file__)

    @expose(headers={"X-Fixed": "1"})
    def nothing(self) -> None: ...

    @expose(headers={"X-Fixed": "1"})
    def refused(self) -> None:
        abort(404)

    @expose(headers={"X-Fixed": "1"})
    def own(self) -> Iterator[str]:
        response.headers["x-fixed"] = "mine"
        yield "a"


app = Millstream(Root(), Settings(durable_url="memory:"), codecs=[UiMessages])
COMPLETE = ["sync", "aio", "done", "event", "dialect", "returned", "document", "durable", "keyed"]


def answered(wire: WireClient, path: str, headers: Any = ()) -> WireReply:
    reply = wire.get(path, headers)
    reply.rest()
    return reply


def read(reply: WireReply) -> EventReader:
    reader = EventReader()
    reader.feed(reply.rest())
    assert reply.complete
    return reader


@pytest.mark.parametrize("path", COMPLETE)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_client_that_has_seen_the_last_event_is_answered_204_and_nothing_runs(
    wire: WireClient, path: str, method: str
) -> None:
    reader = read(wire.get(f"/feeds/{path}"))
    assert reader.last_id
    before = RUNS[f"/feeds/{path}"]
    reply = wire.get(f"/feeds/{path}", [("last-event-id", reader.last_id)], method=method)
    assert (reply.status, reply.rest(), RUNS[f"/feeds/{path}"]) == (204, b"", before)
    assert "no-store" in reply.headers["cache-control"]


@pytest.mark.parametrize("path", COMPLETE)
def test_a_client_that_has_not_seen_it_is_answered(wire: WireClient, path: str) -> None:
    for headers in ([], [("last-event-id", "1")], [("last-event-id", "END")]):
        reply = wire.get(f"/feeds/{path}", headers)
        assert (reply.status, bool(reply.rest())) == (200, True)


def test_a_client_that_may_not_ask_is_told_so_and_others_hear_what_a_browser_needs(wire: WireClient) -> None:
    seen = [("last-event-id", "end")]
    assert answered(wire, "/feeds/sync?forbidden=1", seen).status == 403
    assert answered(wire, "/feeds/sync", seen).headers["access-control-allow-origin"] == "*"


def test_without_a_last_event_it_runs_again(wire: WireClient) -> None:
    reader = read(wire.get("/endless"))
    before = RUNS["/endless"]
    reply = wire.get("/endless", [("last-event-id", reader.last_id)])
    assert (reader.last_id, reply.status, reply.rest()) == ("end", 200, b": open\nid: end\ndata: 1\n\n")
    assert RUNS["/endless"] == before + 1


def test_other_formats_of_the_same_action_know_no_such_id(wire: WireClient) -> None:
    seen = ("last-event-id", "end")
    assert answered(wire, "/both.ndjson", [seen]).status == 200
    assert answered(wire, "/both", [seen, ("accept", "text/event-stream")]).status == 204


def test_a_failure_is_told_as_its_author_says_and_seen_on_the_wire(wire: WireClient) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get("/broken").rest()
    first, last = EventReader().feed(truncated.value.received)
    assert (first.data, json.loads(last.data)) == (
        "1",
        {"type": "error", "errorText": "Internal Server Error"},
    )


@pytest.mark.parametrize("path", ["ended", "kept"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_the_event_of_a_failure_may_end_the_body_and_who_has_seen_it_is_answered_204(
    wire: WireClient, path: str, coding: str
) -> None:
    for _ in range(2):
        reply = wire.get(f"/{path}", [("accept-encoding", coding)])
        data = reply.rest()
        assert reply.complete
        reader = EventReader()
        first, last = reader.feed(gzip.decompress(data) if "content-encoding" in reply.headers else data)
        assert json.loads(last.data) == {"type": "error", "errorText": "Internal Server Error"}
        assert first.data == "1"
    before = RUNS[f"/{path}"]
    assert answered(wire, f"/{path}", [("last-event-id", reader.last_id)]).status == 204
    assert RUNS[f"/{path}"] == before


def test_without_such_an_event_the_body_is_broken_off_all_the_same(wire: WireClient) -> None:
    with pytest.raises(BodyTruncated):
        wire.get("/speechless").rest()


def test_of_two_dialects_the_action_says_which(wire: WireClient) -> None:
    first = wire.get("/negotiated", [("accept", "text/event-stream")])
    assert first.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert b"data: [DONE]" in first.rest()
    named = wire.get("/negotiated?format=sse")
    assert "x-vercel-ai-ui-message-stream" not in named.headers
    assert b"event: end" in named.rest()
    assert wire.get("/negotiated.csv").rest() == b"a\r\n1\r\n"


@pytest.mark.parametrize("path", ["streamed", "recorded", "whole", "file", "nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_fixed_header_is_on_every_response_once(wire: WireClient, path: str, method: str) -> None:
    for _ in range(2):
        reply = wire.get(f"/{path}", method=method)
        reply.rest()
        assert reply.headers.getlist("x-fixed") == ["1"]


def test_the_action_and_its_declaration_have_the_last_word(wire: WireClient) -> None:
    reply = wire.get("/own")
    reply.rest()
    assert reply.headers.getlist("x-fixed") == ["mine"]
    assert answered(wire, "/streamed").headers["x-accel-buffering"] == "yes"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Content-Length": "5"}, "cannot be fixed: only the action knows"),
        ({"content-type": "text/x"}, "give expose the content_type"),
        ({"Content-Disposition": "attachment"}, "give expose the download"),
        ({"Transfer-Encoding": "chunked"}, "the server decides"),
        ({"Connection": "close"}, "the server decides"),
        ({"x a": "1"}, "no name of a header"),
        ({"x": "a\r\nb: c"}, "cannot be sent"),
        ({"x": 1}, "write its value as text"),
    ],
)
def test_a_header_that_cannot_be_fixed_is_found_at_start_up(headers: Any, why: str) -> None:
    class Wrong(TGController):
        @expose("sse", headers=headers)
        def action(self) -> Iterator[int]:
            yield 1

    with pytest.raises(ConfigurationError, match=f"Wrong.action: .*{why}"):
        Millstream(Wrong())


def test_fixed_headers_need_a_format() -> None:
    with pytest.raises(ConfigurationError, match=r"headers .* of no format"):
        expose(inherit=True, headers={"x": "1"})


def test_what_is_said_of_a_success_is_not_said_of_a_refusal(wire: WireClient) -> None:
    reply = answered(wire, "/refused")
    assert (reply.status, "x-fixed" in reply.headers) == (404, False)
