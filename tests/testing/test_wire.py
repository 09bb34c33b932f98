from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from millstream.testing.failures import BodyTruncated, ProtocolViolation, TimedOut
from millstream.testing.wire import Framing, WireClient, connect

pytestmark = pytest.mark.wire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\n\r\n"

Script = Callable[[socket.socket], None]


@contextmanager
def scripted(
    *steps: bytes | Script, timeout: float = 2.0, receive_buffer: int | None = None
) -> Iterator[WireClient]:
    """A server of bytes: reads one request, then plays the steps, then ends the connection."""

    def play() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for step in steps:
                connection.sendall(step) if isinstance(step, bytes) else step(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=play)
        server.start()
        with connect(*listener.getsockname(), timeout=timeout, receive_buffer=receive_buffer) as wire:
            yield wire
        server.join(5)


def held(go: threading.Event) -> Script:
    def hold(_: socket.socket) -> None:
        assert go.wait(5)

    return hold


def read_request(connection: socket.socket) -> None:
    connection.recv(65536)


def test_a_head_is_read_and_chunks_come_as_they_are_framed() -> None:
    with scripted(CHUNKED, b"3\r\nabc\r\n1;ext=1\r\nd\r\n0\r\nTrailer: x\r\n\r\n") as wire:
        reply = wire.get("/")
        assert (reply.version, reply.status, reply.reason) == ("1.1", 200, "OK")
        assert reply.headers.getlist("x-a") == ["1", "2"]
        assert [chunk.data for chunk in reply] == [b"abc", b"d"]
        assert reply.complete
        assert reply.next_chunk() is None
        assert wire.raw.endswith(b"Trailer: x\r\n\r\n")


def test_each_chunk_knows_when_it_came() -> None:
    go = threading.Event()
    with scripted(CHUNKED, b"1\r\na\r\n", held(go), b"1\r\nb\r\n0\r\n\r\n") as wire:
        reply = wire.get("/")
        first = reply.next_chunk()
        released = time.monotonic()
        go.set()
        second = reply.next_chunk()
        assert first is not None
        assert second is not None
        assert first.at < released < second.at


@pytest.mark.parametrize(
    ("body", "received"),
    [
        (b"", b""),
        (b"1\r\na\r\n", b"a"),
        (b"1\r\na\r\n5\r\nbc", b"abc"),
        (b"1\r\na\r\n0\r\n", b"a"),
        (b"1\r\na\r\n3", b"a3"),
    ],
)
def test_a_chunked_body_without_its_end_is_truncated(body: bytes, received: bytes) -> None:
    with scripted(CHUNKED, body) as wire:
        reply = wire.get("/feed")
        with pytest.raises(BodyTruncated, match="GET /feed: the body broke off") as caught:
            reply.rest()
        assert caught.value.received == received
        assert not reply.complete


@pytest.mark.parametrize("body", [b"x\r\n", b"-1\r\n", b"\r\n", b"1\r\nabc", b"1 2\r\nx"])
def test_broken_framing_is_a_violation(body: bytes) -> None:
    with scripted(CHUNKED, body) as wire, pytest.raises(ProtocolViolation):
        wire.get("/").rest()


def test_a_body_with_a_length_ends_with_it_and_the_connection_goes_on() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    with scripted(head + b"ab", read_request, head + b"c") as wire:
        assert wire.get("/").rest() == b"ab"
        reply = wire.get("/")
        with pytest.raises(BodyTruncated, match="1 bytes too early"):
            reply.rest()
        assert not reply.complete


def test_without_framing_the_connection_is_the_body_and_nothing_is_complete() -> None:
    with scripted(b"HTTP/1.0 200 OK\r\n\r\nabc") as wire:
        reply = wire.get("/", version="1.0")
        assert reply.rest() == b"abc"
        assert (reply.framing, reply.complete) == (Framing.CLOSE, False)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_replies_have_no_body(method: str, status: int) -> None:
    with scripted(b"HTTP/1.1 %d \r\ncontent-length: 9\r\n\r\n" % status) as wire:
        reply = wire.get("/", method=method)
        assert (reply.rest(), reply.complete) == (b"", True)


def test_interim_replies_are_passed_over() -> None:
    with scripted(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as wire:
        assert wire.get("/").status == 200


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"HTTP/1.1 OK", "no status line"),
        (b"SSH-2.0", "no status line"),
        (b"HTTP/1.1 200 OK\r\nno colon", "no field line"),
        (b"HTTP/1.1 200 OK\r\nx : y", "no field line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1", "no single whole number"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: +1", "no single whole number"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked", "6.3"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip", "not chunked"),
    ],
)
def test_a_head_that_is_none_is_a_violation(head: bytes, complaint: str) -> None:
    with scripted(head + b"\r\n\r\n") as wire, pytest.raises(ProtocolViolation, match=complaint):
        wire.get("/")


def test_a_connection_that_ends_before_the_head_is_a_truncation() -> None:
    with scripted(b"HTTP/1.1 2") as wire, pytest.raises(BodyTruncated, match="ended before the head"):
        wire.get("/")


def test_a_broken_connection_is_a_truncation() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    broken = pytest.raises(BodyTruncated, match=r"GET /: the body broke off: .*reset")
    with scripted(CHUNKED + b"1\r\na\r\n", reset) as wire, broken:
        wire.get("/").rest()


def test_silence_is_timed_out_and_named() -> None:
    go = threading.Event()
    with scripted(CHUNKED, held(go)) as wire:
        reply = wire.get("/")
        with pytest.raises(TimedOut, match=r"GET /: waited 0\.05 s for the next chunk; the last of 63 bytes"):
            reply.next_chunk(timeout=0.05)
        go.set()


def test_a_request_is_sent_as_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, connect(*listener.getsockname()) as wire:
        wire.send("/p", [("x-a", "1")], method="POST", body=b"abc", version="1.0")
        wire.send_raw(b"raw")
        wire.close()
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as received:
            host = b"host: 127.0.0.1:%d\r\n" % listener.getsockname()[1]
            fields = host + b"x-a: 1\r\ncontent-length: 3\r\n"
            assert received.read() == b"POST /p HTTP/1.0\r\n" + fields + b"\r\nabcraw"


def test_a_reset_is_told_from_an_end() -> None:
    errors: list[Exception] = []
    go = threading.Event()

    def read_until_broken(connection: socket.socket) -> None:
        go.set()
        try:
            connection.recv(1)
        except OSError as error:
            errors.append(error)

    with scripted(read_until_broken) as wire:
        wire.send("/")
        assert go.wait(5)
        wire.reset()
    assert isinstance(errors[0], ConnectionResetError)


def test_a_client_that_does_not_read_holds_the_server_up() -> None:
    blocked = threading.Event()

    def fill(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        try:
            while True:
                connection.sendall(bytes(65536))
        except TimeoutError:
            blocked.set()

    with scripted(fill, receive_buffer=4096) as wire:
        wire.send("/")
        assert blocked.wait(5)
        assert wire.raw == b""


def test_a_server_that_does_not_read_is_timed_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connect(*listener.getsockname(), timeout=0.1) as wire,
        pytest.raises(TimedOut, match="the server to read"),
    ):
        wire.send_raw(bytes(100_000_000))
