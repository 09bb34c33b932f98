"""Requests as no friend sends them: slow, broken off, half closed, malformed; under both parsers of uvicorn.

Whatever comes, nobody sees a traceback, others are served, and nothing lives on: the fixture
`nothing_lives_on` looks for open streams after each test, and these look for connections and producers.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire.conftest import PATIENCE

from millstream import Millstream, Settings, TGController, expose, stream
from millstream.testing import BodyTruncated, ProtocolViolation, Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

ITEMS = 6
COUNTED: Counter[str] = Counter()
_COUNTING = threading.Lock()


def count(what: str) -> None:
    with _COUNTING:
        COUNTED[what] += 1


class Root(TGController):
    @expose("ndjson")
    def sync_short(self) -> Iterator[int]:
        count("begun")
        try:
            for number in range(ITEMS):
                yield number
                stream.sleep(0.0005)
        finally:
            count("closed")

    @expose("ndjson")
    async def aio_short(self) -> AsyncIterator[int]:
        count("begun")
        try:
            for number in range(ITEMS):
                yield number
                await stream.sleep(0.0005)
        finally:
            count("closed")

    @expose("ndjson")
    def sync_idle(self) -> Iterator[int]:
        count("begun")
        try:
            yield 0
            stream.sleep(60)
        finally:
            count("closed")

    @expose("ndjson")
    async def aio_idle(self) -> AsyncIterator[int]:
        count("begun")
        try:
            yield 0
            await stream.sleep(60)
        finally:
            count("closed")

    @expose("json")
    def sync_form(self, field: str) -> dict[str, str]:
        return {"field": field}

    @expose("json")
    async def aio_form(self, field: str) -> dict[str, str]:
        return {"field": field}


app = Millstream(Root(), Settings(keep_alive=0.2))
hurried = Millstream(Root(), Settings(stall_timeout=0.2, min_rate=1000.0))


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(app, http=request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def every_producer_is_closed() -> Iterator[None]:
    COUNTED.clear()
    yield
    deadline = time.monotonic() + PATIENCE
    while COUNTED["closed"] < COUNTED["begun"]:
        assert time.monotonic() < deadline, COUNTED
        time.sleep(0.005)
    assert COUNTED["closed"] == COUNTED["begun"]


@pytest.fixture(autouse=True)
def others_are_served(server: Server) -> Iterator[None]:
    yield
    with connect(server.host, server.port, timeout=PATIENCE) as other:
        assert other.get("/sync_form?field=whole").rest() == b'{"field":"whole"}'
    assert "Traceback" not in server.log


def test_a_head_that_comes_byte_by_byte_is_answered(wire: WireClient, kind: str) -> None:
    for byte in f"GET /{kind}_form?field=slow HTTP/1.1\r\nhost: here\r\n\r\n".encode():
        wire.send_raw(bytes([byte]))
    assert wire.read_head().rest() == b'{"field":"slow"}'


def test_a_body_that_comes_byte_by_byte_is_answered(wire: WireClient, kind: str) -> None:
    body = b"field=slow"
    form = [("content-type", "application/x-www-form-urlencoded"), ("content-length", str(len(body)))]
    wire.send(f"/{kind}_form", form, method="POST")
    for byte in body:
        wire.send_raw(bytes([byte]))
    assert wire.read_head("POST").rest() == b'{"field":"slow"}'


def test_a_hundred_heads_and_bodies_that_never_end_hold_nobody_up(server: Server, kind: str) -> None:
    form = b"content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nfield="
    halves = [b"GET /", f"POST /{kind}_form HTTP/1.1\r\nhost: here\r\n".encode() + form]
    slow = [connect(server.host, server.port) for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            connection.send_raw(halves[number % 2])
        with connect(server.host, server.port, timeout=PATIENCE) as other:
            assert other.get(f"/{kind}_short").rest().count(b"\n") == ITEMS
    finally:
        for connection in slow:
            connection.reset()


def test_a_body_that_does_not_come_is_given_up(kind: str) -> None:
    form = [("content-type", "application/x-www-form-urlencoded"), ("content-length", "100")]
    with serve(hurried) as server, connect(server.host, server.port, timeout=PATIENCE) as slow:
        slow.send(f"/{kind}_form", form, method="POST")
        slow.send_raw(b"field=")
        assert slow.read_head("POST").status == 408


def test_a_body_that_comes_too_slowly_is_given_up(kind: str) -> None:
    form = [("content-type", "application/x-www-form-urlencoded"), ("content-length", "100000")]
    with serve(hurried) as server, connect(server.host, server.port, timeout=PATIENCE) as slow:
        slow.send(f"/{kind}_form", form, method="POST")
        slow.socket.settimeout(0.05)
        answer = b""
        while not answer:  # a byte now and then, as long as nothing is answered
            slow.socket.sendall(b"x")
            with suppress(TimeoutError):
                answer = slow.socket.recv(12)
    assert answer == b"HTTP/1.1 408"


def test_a_reset_at_any_byte_of_a_response_ends_its_producer(server: Server, kind: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as whole:
        whole.get(f"/{kind}_short").rest()
        length = len(whole.raw)
    for position in range(length + 1):
        with connect(server.host, server.port, timeout=PATIENCE) as leaver:
            leaver.send(
                f"/{kind}_short", [("connection", "close")]
            )  # items that leave together need less framing
            _read(leaver.socket, position)
            leaver.reset()
    assert COUNTED["begun"] > ITEMS  # a reset right after the request may come before its action


def test_a_client_that_closed_its_sending_side_is_answered_or_let_go(server: Server, kind: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as half:
        half.send(f"/{kind}_idle")
        assert half.read_head().next_chunk()
        half.socket.shutdown(socket.SHUT_WR)
        assert _to_the_end(half.socket) is not None
    assert COUNTED["begun"] == 1


@pytest.mark.parametrize("size", [1024, 16 * 1024, 64 * 1024])
def test_a_long_header_value_is_taken_or_refused_in_words(wire: WireClient, kind: str, size: int) -> None:
    wire.send(f"/{kind}_form?field=x", [("x-long", "v" * size)])
    assert wire.read_head().status in {200, 400, 431}


@pytest.mark.parametrize(
    "path", ["/%ff%fe", "/%00", "/%c3%28/sync_form", "/%e2%80%ae", "/%", "/%zz", "//", "/..%2f..%2fetc"]
)
def test_a_path_that_is_no_utf8_is_not_found(wire: WireClient, path: str) -> None:
    reply = wire.get(path)
    assert (reply.status, b"Traceback" in reply.rest()) == (404, False)


def test_a_path_of_raw_bytes_is_refused_or_not_found(wire: WireClient) -> None:
    wire.send_raw(b"GET /\xff\xfe\xc3\x28 HTTP/1.1\r\nhost: here\r\n\r\n")
    assert wire.read_head().status in {400, 404}


@pytest.mark.parametrize("value", ["%ff", "%C3%28", "%ED%A0%80", "%00"])
def test_an_argument_that_is_no_utf8_is_answered_in_words(wire: WireClient, kind: str, value: str) -> None:
    reply = wire.get(f"/{kind}_form?field={value}")
    assert reply.status in {200, 400, 422}
    assert b"Traceback" not in reply.rest()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=200))
def test_any_bytes_at_all_get_no_traceback(server: Server, garbage: bytes) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as stranger:
        stranger.send_raw(garbage)
        stranger.socket.shutdown(socket.SHUT_WR)
        answered = _to_the_end(stranger.socket)
    assert b"Traceback" not in answered


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_in_a_pipeline_that_is_cut_off_ends(server: Server, kind: str, version: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as leaver:
        leaver.send(f"/{kind}_idle", version=version)
        leaver.send(f"/{kind}_idle", version=version)
        assert leaver.read_head().next_chunk()
        leaver.reset()
    assert COUNTED["begun"] >= 1


def test_a_chunked_body_with_a_broken_size_is_refused(wire: WireClient, kind: str) -> None:
    form = [("content-type", "application/x-www-form-urlencoded"), ("transfer-encoding", "chunked")]
    wire.send(f"/{kind}_form", form, method="POST")
    wire.send_raw(b"zz\r\nfield=x\r\n0\r\n\r\n")
    try:
        status = wire.read_head("POST").status
    except (BodyTruncated, ProtocolViolation, ConnectionError):
        status = 0
    assert status in {0, 400}


def _read(connection: socket.socket, length: int) -> None:
    while length and (data := connection.recv(length)):
        length -= len(data)


def _to_the_end(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass
    return bytes(received)
