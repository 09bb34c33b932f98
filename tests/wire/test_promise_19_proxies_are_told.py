from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.wire.conftest import Probe, watched

from millstream import Millstream, Settings, TGController, expose, response
from millstream.testing import EventReader, TimedOut, WireClient, WireReply

pytestmark = pytest.mark.wire

QUIET = 0.05
SIGNS = {"ndjson": b"\n", "json": b"\n", "xml": b"\n", "sse": b": keep-alive\n"}


class Sync(TGController):
    @expose("ndjson")
    def stream(self) -> Iterator[int]:
        yield 1

    @expose("ndjson")
    def own(self) -> Iterator[int]:
        response.headers["Cache-Control"] = "max-age=60"
        response.headers["X-Accel-Buffering"] = "yes"
        yield 1

    @expose("ndjson", keep_alive=QUIET)
    @expose("json")
    @expose("sse")
    @expose("xml")
    @expose("csv")
    def silent(self) -> Iterator[dict[str, int]]:
        seen = watched()
        for step in (1, 2):
            seen.note("step", threading.get_ident())
            yield {"step": step}
            seen.pass_gate()


class Async(TGController):
    @expose("ndjson")
    async def stream(self) -> AsyncIterator[int]:
        yield 1

    @expose("ndjson")
    async def own(self) -> AsyncIterator[int]:
        response.headers["Cache-Control"] = "max-age=60"
        response.headers["X-Accel-Buffering"] = "yes"
        yield 1

    @expose("ndjson", keep_alive=QUIET)
    @expose("json")
    @expose("sse")
    @expose("xml")
    @expose("csv")
    async def silent(self) -> AsyncIterator[dict[str, int]]:
        seen = watched()
        for step in (1, 2):
            seen.note("step", threading.get_ident())
            yield {"step": step}
            await seen.passed_gate()


class Root(TGController):
    sync = Sync()
    aio = Async()

    @expose("json")
    def whole(self) -> dict[str, int]:
        return {"a": 1}


app = Millstream(Root())


def read_until(wire_reply: Iterator[bytes], wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        received += next(wire_reply)
    return received


def test_a_stream_asks_not_to_be_buffered_cached_or_changed(wire: WireClient, kind: str) -> None:
    headers = wire.get(f"/{kind}/stream").headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-store, no-transform"


def test_what_the_author_says_to_proxies_stands(wire: WireClient, kind: str) -> None:
    headers = wire.get(f"/{kind}/own").headers
    assert headers.getlist("x-accel-buffering") == ["yes"]
    assert headers.getlist("cache-control") == ["max-age=60"]


def test_a_whole_body_says_nothing_of_it(wire: WireClient) -> None:
    headers = wire.get("/whole").headers
    assert "x-accel-buffering" not in headers
    assert "cache-control" not in headers


@pytest.mark.parametrize("extension", SIGNS)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_silent_stream_gives_signs_of_life_that_mean_nothing(
    wire: WireClient, kind: str, coding: str, extension: str, probe: Probe
) -> None:
    sign = SIGNS[extension]
    reply = wire.get(f"/{kind}/silent.{extension}", [*probe.headers, ("accept-encoding", coding)])
    chunks = decoded(reply)
    received = read_until(chunks, b"1")
    received += read_until(chunks, sign) + read_until(chunks, sign)
    assert len(probe.values("step")) == 1
    probe.open()
    received += b"".join(chunks)
    assert reply.complete
    assert steps_in(received, extension) == [{"step": 1}, {"step": 2}]
    assert probe.wait_ended().items == 2
    assert len(set(probe.values("step"))) == 1  # the same thread, undisturbed


def test_signs_of_life_are_given_unless_somebody_says_otherwise() -> None:
    assert Settings().keep_alive == 15


def decoded(reply: WireReply) -> Iterator[bytes]:
    """The body as it arrives: what a chunk holds can be read before the next is there."""
    gzip = zlib.decompressobj(wbits=31) if reply.headers.get("content-encoding") == "gzip" else None
    for chunk in reply:
        yield gzip.decompress(chunk.data) if gzip is not None else chunk.data


def test_a_format_without_room_for_signs_stays_silent(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/silent.csv", probe.headers)
    read_until((chunk.data for chunk in reply), b"1")
    with pytest.raises(TimedOut):
        reply.next_chunk(timeout=4 * QUIET)
    probe.open()
    assert reply.rest().strip() == b"2"


def steps_in(body: bytes, extension: str) -> list[object]:
    match extension:
        case "json":
            found: list[object] = json.loads(body)
        case "xml":
            found = [{"step": int(step)} for step in re.findall(rb"<step>([0-9]+)</step>", body)]
        case "ndjson":
            found = [json.loads(line) for line in body.splitlines() if line]
        case _:
            found = [json.loads(event.data) for event in EventReader().feed(body) if event.event == "message"]
    return found
