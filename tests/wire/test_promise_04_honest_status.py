from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.wire.conftest import Probe, here

from millstream import HTTPError, Millstream, Settings, TGController, abort, expose, response
from millstream.testing import BodyTruncated, WireClient

pytestmark = pytest.mark.wire

PRIVATE = "the password is swordfish"


class Sync(TGController):
    @expose("ndjson")
    @expose("sse")
    def aborted(self) -> Iterator[int]:
        abort(403, "not for you")
        yield 1

    @expose("ndjson")
    @expose("sse")
    def raised(self) -> Iterator[int]:
        raise HTTPError(409, "twice", headers={"x-seen": "once"})
        yield 1

    @expose("ndjson")
    @expose("sse")
    def crashed(self) -> Iterator[int]:
        raise ValueError(PRIVATE)
        yield 1

    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("csv")
    @expose("sse")
    def none(self) -> Iterator[int]:
        yield from ()

    @expose("json", first_item_timeout=0.05)
    def slow(self) -> Iterator[int]:
        here().pass_gate()
        yield 1

    @expose("ndjson", first_item_timeout=0.05)
    def slow_and_broken(self) -> Iterator[int]:
        here().pass_gate()
        abort(403)
        yield 1

    @expose("sse")
    def events(self) -> Iterator[int]:
        here().pass_gate()
        yield 1

    @expose("ndjson")
    @expose("sse")
    def late_head(self) -> Iterator[int]:
        response.status = 201
        response.headers["x-late"] = "before the first item"
        response.set_cookie("late", "yes")
        yield 1


class Async(TGController):
    @expose("ndjson")
    @expose("sse")
    async def aborted(self) -> AsyncIterator[int]:
        abort(403, "not for you")
        yield 1

    @expose("ndjson")
    @expose("sse")
    async def raised(self) -> AsyncIterator[int]:
        raise HTTPError(409, "twice", headers={"x-seen": "once"})
        yield 1

    @expose("ndjson")
    @expose("sse")
    async def crashed(self) -> AsyncIterator[int]:
        raise ValueError(PRIVATE)
        yield 1

    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("csv")
    @expose("sse")
    async def none(self) -> AsyncIterator[int]:
        for _ in ():
            yield 0

    @expose("json", first_item_timeout=0.05)
    async def slow(self) -> AsyncIterator[int]:
        await here().passed_gate()
        yield 1

    @expose("ndjson", first_item_timeout=0.05)
    async def slow_and_broken(self) -> AsyncIterator[int]:
        await here().passed_gate()
        abort(403)
        yield 1

    @expose("sse")
    async def events(self) -> AsyncIterator[int]:
        await here().passed_gate()
        yield 1

    @expose("ndjson")
    @expose("sse")
    async def late_head(self) -> AsyncIterator[int]:
        response.status = 201
        response.headers["x-late"] = "before the first item"
        response.set_cookie("late", "yes")
        yield 1


class Durable(TGController):
    @expose("sse", durable=True)
    def sync(self) -> Iterator[int]:
        abort(403, "not for you")
        yield 1

    @expose("sse", durable=True)
    async def aio(self) -> AsyncIterator[int]:
        await asyncio.sleep(0)
        abort(403, "not for you")
        yield 1


class Root(TGController):
    sync = Sync()
    aio = Async()
    durable = Durable()


app = Millstream(Root(), Settings(durable_url="memory:"))
FORMATS = pytest.mark.parametrize("extension", ["ndjson", "sse"])


@FORMATS
def test_an_abort_before_the_first_item_is_a_status(wire: WireClient, kind: str, extension: str) -> None:
    reply = wire.get(f"/{kind}/aborted.{extension}")
    assert (reply.status, reply.headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(reply.rest())["detail"] == "not for you"
    assert reply.complete


def test_an_abort_before_the_first_item_of_a_recorded_stream_is_a_status(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/durable/{kind}")
    assert (reply.status, json.loads(reply.rest())["detail"]) == (403, "not for you")


@FORMATS
def test_an_error_before_the_first_item_keeps_its_headers(
    wire: WireClient, kind: str, extension: str
) -> None:
    reply = wire.get(f"/{kind}/raised.{extension}")
    assert (reply.status, reply.headers["x-seen"]) == (409, "once")


@FORMATS
def test_a_crash_before_the_first_item_is_a_500_that_tells_nothing(
    wire: WireClient, kind: str, extension: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = wire.get(f"/{kind}/crashed.{extension}")
    assert (reply.status, reply.complete) == (500, False)
    assert json.loads(reply.rest())["title"] == "Internal Server Error"
    assert b"swordfish" not in wire.raw
    assert PRIVATE in caplog.text


def test_after_an_honest_error_the_connection_goes_on(wire: WireClient, kind: str) -> None:
    for _ in range(3):
        assert wire.get(f"/{kind}/aborted").rest()


@pytest.mark.parametrize(
    ("extension", "body"),
    [
        ("html", b""),
        ("json", b"[]"),
        ("ndjson", b""),
        ("csv", b""),
        ("sse", b': open\nid: end\nevent: end\ndata: {"reason":"completed"}\n\n'),
    ],
)
def test_an_empty_stream_is_an_empty_200(wire: WireClient, kind: str, extension: str, body: bytes) -> None:
    reply = wire.get(f"/{kind}/none.{extension}")
    assert (reply.status, reply.rest(), reply.complete) == (200, body, True)


def test_a_first_item_that_takes_too_long_is_not_waited_for_by_the_head(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/slow", probe.headers)
    assert reply.status == 200
    chunk = reply.next_chunk()
    assert chunk is not None
    assert chunk.data == b"["
    probe.open()
    assert reply.rest() == b"1]"


def test_a_failure_after_such_a_head_is_a_truncation(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/slow_and_broken", probe.headers)
    probe.open()
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    assert json.loads(truncated.value.received)["error"]["status"] == 403


def test_an_event_stream_opens_before_an_item_that_takes_long(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/events", probe.headers)
    chunk = reply.next_chunk()
    assert chunk is not None
    assert (reply.status, chunk.data) == (200, b": open\n")
    probe.open()
    assert reply.rest().startswith(b"data: 1\n\n")


@FORMATS
def test_status_headers_and_cookies_set_before_the_first_item_reach_the_head(
    wire: WireClient, kind: str, extension: str
) -> None:
    reply = wire.get(f"/{kind}/late_head.{extension}")
    assert (reply.status, reply.headers["x-late"]) == (201, "before the first item")
    assert reply.headers["set-cookie"].startswith("late=yes")
    assert b"1\n" in reply.rest()
