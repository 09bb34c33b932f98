"""Uploads: a body is read while it arrives, and answered while it is read."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.engine.conftest import Unit
from tests.wire.conftest import Probe, watched

from millstream import Millstream, Reason, TGController, expose, request, stream
from millstream.errors import ControllerError
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import Join
from millstream.testing import BodyTruncated, WireClient

pytestmark = pytest.mark.wire

TEXT = ("content-type", "text/csv; charset=latin-1")
CHUNKED = ("transfer-encoding", "chunked")


class Sync(TGController):
    @expose("ndjson")
    def rows(self) -> Iterator[Any]:
        watched()
        yield from csv.DictReader(request.lines())

    @expose()
    def size(self) -> str:
        return str(sum(len(piece) for piece in request.stream()))

    @expose("ndjson", max_body=None)
    def sizes(self) -> Iterator[int]:
        seen = watched()
        try:
            for piece in request.stream():
                seen.count += len(piece)
                yield len(piece)
                if seen.names.count("at gate") < 1:
                    seen.pass_gate()
        finally:
            seen.note("closed")

    @expose("ndjson", max_body=10)
    def short(self) -> Iterator[int]:
        for piece in request.stream():
            yield len(piece)

    @expose("ndjson", stall_timeout=0.1)
    def hurried(self) -> Iterator[int]:
        watched()
        for piece in request.stream():
            yield len(piece)

    @expose("ndjson")
    def twice(self) -> Iterator[Any]:
        for _ in range(2):
            try:
                yield sum(len(piece) for piece in request.stream())
            except ControllerError as refused:
                yield str(refused)

    @expose("ndjson")
    def stopped(self) -> Iterator[int]:
        seen = watched()
        seen.note("stream", stream._current_obj())  # type: ignore[attr-defined]  # the proxy's own
        for piece in request.stream():
            yield len(piece)


class Async(TGController):
    @expose("ndjson")
    async def rows(self) -> AsyncIterator[Any]:
        watched()
        names: list[str] = []
        async for line in request.lines():
            cells = line.rstrip("\r\n").split(",")
            if names:
                yield dict(zip(names, cells, strict=True))
            names = names or cells

    @expose()
    async def size(self) -> str:
        return str(sum([len(piece) async for piece in request.stream()]))

    @expose("ndjson", max_body=None)
    async def sizes(self) -> AsyncIterator[int]:
        seen = watched()
        try:
            async for piece in request.stream():
                seen.count += len(piece)
                yield len(piece)
                if seen.names.count("at gate") < 1:
                    await seen.passed_gate()
        finally:
            seen.note("closed")

    @expose("ndjson", max_body=10)
    async def short(self) -> AsyncIterator[int]:
        async for piece in request.stream():
            yield len(piece)

    @expose("ndjson", stall_timeout=0.1)
    async def hurried(self) -> AsyncIterator[int]:
        watched()
        async for piece in request.stream():
            yield len(piece)

    @expose("ndjson")
    async def twice(self) -> AsyncIterator[Any]:
        for _ in range(2):
            try:
                yield sum([len(piece) async for piece in request.stream()])
            except ControllerError as refused:
                yield str(refused)

    @expose("ndjson")
    async def stopped(self) -> AsyncIterator[int]:
        seen = watched()
        seen.note("stream", stream._current_obj())  # type: ignore[attr-defined]  # the proxy's own
        async for piece in request.stream():
            yield len(piece)

    @expose()
    async def blocking(self) -> str:
        return str(list(request.stream()))


class Root(TGController):
    sync = Sync()
    aio = Async()


class Book:
    """A participant every stream writes to."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def begin(self, join: Join) -> None:
        join(Unit("book", self.log))


book = Book()
app = Millstream(Root(), participants=[book])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def begin(wire: WireClient, path: str, probe: Probe, *headers: tuple[str, str]) -> None:
    """Send the head of an upload."""
    wire.send(path, [CHUNKED, *headers, *probe.headers], method="POST")


def test_each_row_is_answered_before_the_next_is_sent(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/rows", probe, TEXT)
    wire.send_raw(chunk(b"name,n\r\nS\xfc"))
    wire.send_raw(chunk(b"d,1\r\n"))
    reply = wire.read_head()
    for number in range(1, 4):
        answered = reply.next_chunk()
        assert answered is not None
        assert json.loads(answered.data) == {"name": "Süd", "n": str(number)}
        wire.send_raw(chunk(b"S\xfcd,%d\r\n" % (number + 1)))
    wire.send_raw(chunk(b""))
    assert json.loads(reply.rest()) == {"name": "Süd", "n": "4"}
    assert probe.wait_ended().state is State.DELIVERED


def test_an_action_may_read_the_body_before_it_answers(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/size", probe)
    for _ in range(20):
        wire.send_raw(chunk(b"x" * 50_000))
    wire.send_raw(chunk(b""))
    assert wire.read_head().rest() == b"1000000"


def test_an_empty_body_has_no_pieces(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/size", method="POST").rest() == b"0"


def test_a_client_is_received_no_further_than_it_is_read(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/sizes", probe)
    wire.send_raw(chunk(b"x"))
    reply = wire.read_head()
    probe.wait("at gate")
    wire.socket.setblocking(False)
    sent = 0
    try:
        while sent < 100_000_000:
            sent += wire.socket.send(chunk(b"x" * 60_000))
    except BlockingIOError:
        pass
    assert sent < 20_000_000
    assert probe.count == 1
    probe.open()
    wire.reset()
    assert reply.status == 200
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_client_that_leaves_half_way_rolls_back(wire: WireClient, kind: str, probe: Probe) -> None:
    book.log.clear()
    begin(wire, f"/{kind}/sizes", probe)
    wire.send_raw(chunk(b"x"))
    probe.open()
    wire.read_head()
    wire.close()
    probe.wait("closed")
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    settled = [each for each in book.log if each not in {"book.rest", "book.close"}]
    assert settled == ["book.abort"]


def test_a_stream_that_waits_for_its_client_can_be_stopped(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/stopped", probe)
    wire.send_raw(chunk(b"x"))
    reply = wire.read_head()
    assert probe.wait("stream").stop()
    with pytest.raises(BodyTruncated):
        reply.rest()
    assert probe.wait_ended().reason is Reason.STOPPED


def test_a_byte_that_is_no_text_is_named(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/rows", probe.headers, method="POST", body=b"a\n1\n\xff\n")
    assert (reply.status, json.loads(reply.rest())["detail"]) == (
        400,
        "the body is not in utf-8: byte 4 is 0xff",
    )


def test_a_charset_nobody_knows_is_told(wire: WireClient, kind: str, probe: Probe) -> None:
    headers = [("content-type", "text/csv; charset=nonsense"), *probe.headers]
    assert wire.get(f"/{kind}/rows", headers, method="POST", body=b"a\n").status == 415


def test_a_body_comes_once(wire: WireClient, kind: str) -> None:
    lines = wire.get(f"/{kind}/twice", method="POST", body=b"four").rest().splitlines()
    assert json.loads(lines[0]) == 4
    assert "streamed already" in json.loads(lines[1])


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json"])
def test_what_was_parsed_can_be_streamed_as_often_as_one_likes(
    wire: WireClient, kind: str, content_type: str
) -> None:
    headers = [("content-type", content_type)]
    lines = wire.get(f"/{kind}/twice", headers, method="POST", body=b'{"a":1}').rest().splitlines()
    assert lines == [b"7", b"7"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_longer_than_its_action_takes_is_refused(
    wire: WireClient, kind: str, *, declared: bool, probe: Probe
) -> None:
    if declared:
        wire.send(f"/{kind}/short", method="POST", body=b"x" * 11)
    else:
        begin(wire, f"/{kind}/short", probe)
        wire.send_raw(chunk(b"x" * 11))
    assert wire.read_head().status == 413


def test_a_body_that_does_not_come_is_not_waited_for(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/hurried", probe)
    assert wire.read_head().status == 408
    assert probe.wait_ended().reason is Reason.FAILED


def test_a_body_that_stops_coming_breaks_its_answer_off(wire: WireClient, kind: str, probe: Probe) -> None:
    begin(wire, f"/{kind}/hurried", probe)
    wire.send_raw(chunk(b"x"))
    reply = wire.read_head()
    assert reply.status == 200
    with pytest.raises(BodyTruncated):
        reply.rest()


def test_blocking_the_loop_is_refused(wire: WireClient) -> None:
    assert wire.get("/aio/blocking", method="POST", body=b"x").status == 500
