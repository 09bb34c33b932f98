"""A raw HTTP/1.1 client that sees what is on the wire: heads, chunks as framed, and how a body ends.

::

    with connect(server.host, server.port) as wire:
        reply = wire.get("/countdown")
        first = reply.next_chunk()  # one chunk of the chunked coding, with the time it came
        assert reply.rest()
        assert reply.complete

Nothing is read before it is asked for: a client that does not ask is a client that does not read.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from types import TracebackType
from typing import Final, Self

from starlette.datastructures import Headers

from millstream.testing.failures import BodyTruncated, ProtocolViolation, TimedOut
from millstream.testing.inlet import Inlet
from millstream.testing.rules import BODILESS
from millstream.testing.waiting import TIMEOUT

Pairs = Sequence[tuple[str, str]]


@unique
class Framing(Enum):
    """What tells where a body ends (RFC 9112 §6.3)."""

    CHUNKED = "chunked"
    LENGTH = "content-length"
    CLOSE = "close"  # nothing but the connection's end: a broken body looks like a whole one
    NONE = "none"  # there is no body


@dataclass(frozen=True, slots=True)
class WireChunk:
    """One chunk of a chunked body; of any other body, what one read gave."""

    data: bytes
    at: float  # `time.monotonic()` when its last byte was read from the socket


class WireReply:
    """A reply whose head was read."""

    def __init__(self, inlet: Inlet, where: str, head: str, *, method: str, timeout: float) -> None:
        self._inlet = inlet
        self._where = where
        self._timeout = timeout
        line, *fields = head.split("\r\n")
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise ProtocolViolation(where, f"{line!r} is no status line (RFC 9112 §4)")
        self.version, self.status, self.reason = found[1], int(found[2]), found[3]
        self.headers = Headers(raw=[self._field(field) for field in fields])
        self._missing = 0  # bytes, where the framing is a length
        self.framing = self._framing(method)
        self._over = self.framing is Framing.NONE or (self.framing is Framing.LENGTH and not self._missing)

    @property
    def complete(self) -> bool:
        """Whether the end of the body was seen; never, where only the connection's end would tell."""
        return self._over and self.framing is not Framing.CLOSE

    def next_chunk(self, timeout: float | None = None) -> WireChunk | None:
        """The next chunk, exactly as framed; None is the end of the body.

        Raises:
            BodyTruncated: when the connection ends before.
            ProtocolViolation: when the framing is broken.
            TimedOut: when neither comes.
        """
        if self._over:
            return None
        limit = self._timeout if timeout is None else timeout
        data = self._chunk(limit) if self.framing is Framing.CHUNKED else self._some(limit)
        return None if data is None else WireChunk(data, self._inlet.at)

    def __iter__(self) -> Iterator[WireChunk]:
        return iter(self.next_chunk, None)

    def rest(self, timeout: float | None = None) -> bytes:
        """Everything up to the end of the body; `timeout` is for each chunk.

        Raises:
            BodyTruncated: as `next_chunk`; its `received` is what came before.
        """
        data = bytearray()
        try:
            while (chunk := self.next_chunk(timeout)) is not None:
                data += chunk.data
        except BodyTruncated as truncated:
            truncated.received = bytes(data) + truncated.received
            raise
        return bytes(data)

    def _chunk(self, timeout: float) -> bytes | None:
        """One chunk of RFC 9112 §7.1."""
        line = self._inlet.until(b"\r\n", self._where, "the next chunk", timeout)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise ProtocolViolation(self._where, f"{line!r} is no chunk size (RFC 9112 §7.1)")
        length = int(size[1], 16)
        if not length:
            while self._inlet.until(b"\r\n", self._where, "the end of the trailers", timeout):
                pass
            self._over = True
            return None
        data = self._inlet.exactly(length + 2, self._where, f"the end of a chunk of {length} bytes", timeout)
        if not data.endswith(b"\r\n"):
            raise ProtocolViolation(self._where, f"a chunk of {length} bytes is longer than that")
        return data[:-2]

    def _some(self, timeout: float) -> bytes | None:
        most = self._missing if self.framing is Framing.LENGTH else None
        data = self._inlet.some(most, self._where, "more of the body", timeout)
        if self.framing is Framing.LENGTH:
            self._missing -= len(data)
            self._over = not self._missing
            if not data:
                raise BodyTruncated(self._where, f"the connection ended {self._missing} bytes too early")
        elif not data:
            self._over = True
        return data or None

    def _framing(self, method: str) -> Framing:
        codings, lengths = self.headers.getlist("transfer-encoding"), self.headers.getlist("content-length")
        if codings and lengths:
            raise ProtocolViolation(self._where, "transfer-encoding and content-length (RFC 9112 §6.3)")
        if method == "HEAD" or self.status in BODILESS:
            return Framing.NONE
        if codings:
            if codings != ["chunked"]:
                raise ProtocolViolation(self._where, f"the transfer coding is {codings}, not chunked")
            return Framing.CHUNKED
        if lengths:
            if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
                raise ProtocolViolation(
                    self._where, f"the content-length {lengths} is no single whole number"
                )
            self._missing = int(lengths[0])
            return Framing.LENGTH
        return Framing.CLOSE

    def _field(self, line: str) -> tuple[bytes, bytes]:
        name, colon, value = line.partition(":")
        if not (name and colon) or name != name.strip():
            raise ProtocolViolation(self._where, f"{line!r} is no field line (RFC 9112 §5)")
        return name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1")


class WireClient:
    """One connection, for one request after another; made by `connect`.

    `socket` is the connection itself, for whatever this class does not do; `inlet.raw` what was received.
    """

    def __init__(self, connection: socket.socket, *, timeout: float) -> None:
        self.socket = connection
        self.inlet = Inlet(connection)
        self._timeout = timeout
        self._where = "the connection"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def raw(self) -> bytes:
        """Every byte received on this connection until now."""
        return bytes(self.inlet.raw)

    def get(
        self, path: str, headers: Pairs = (), *, method: str = "GET", body: bytes = b"", version: str = "1.1"
    ) -> WireReply:
        """Send a request and read the head of its reply.

        Raises:
            BodyTruncated: when the connection ends before the head does.
        """
        self.send(path, headers, method=method, body=body, version=version)
        return self.read_head(method)

    def send(
        self, path: str, headers: Pairs = (), *, method: str = "GET", body: bytes = b"", version: str = "1.1"
    ) -> None:
        """Send a request and read nothing. `host` is added, and `content-length` to a body."""
        host, port = self.socket.getpeername()[:2]
        fields = [("host", f"{host}:{port}"), *headers]
        if body:
            fields.append(("content-length", str(len(body))))
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields), "", ""]
        self._where = f"{method} {path}"
        self.send_raw("\r\n".join(lines).encode("latin-1") + body)

    def send_raw(self, data: bytes) -> None:
        """Send these bytes, whatever they are.

        Raises:
            TimedOut: when the server does not take them.
        """
        self.socket.settimeout(self._timeout)
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise TimedOut(self._where, what="the server to read", seconds=self._timeout) from None

    def read_head(self, method: str = "GET") -> WireReply:
        """Read the head of the reply to a request of this method; interim ones (1xx) are passed over.

        Raises:
            BodyTruncated: when the connection ends before the head does.
            ProtocolViolation: when it is no head.
        """
        while True:
            head = self.inlet.until(b"\r\n\r\n", self._where, "the head", self._timeout).decode("latin-1")
            reply = WireReply(self.inlet, self._where, head, method=method, timeout=self._timeout)
            if reply.status >= _FIRST_FINAL:
                return reply

    def close(self) -> None:
        """End the connection politely."""
        self.socket.close()

    def reset(self) -> None:
        """Break the connection off: the server is told that it was reset, not that it ended."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def connect(
    host: str, port: int, *, timeout: float = TIMEOUT, receive_buffer: int | None = None
) -> WireClient:
    """Open a connection.

    Args:
        host: where to.
        port: where to.
        timeout: seconds for each wait on it.
        receive_buffer: bytes the kernel keeps for a client that does not read; a small one (it is doubled
            and has a floor of some 2 KiB) makes the server feel that soon.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    connection = socket.socket(family, kind, protocol)
    try:
        if receive_buffer is not None:  # before connecting: the window is agreed on then
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(timeout)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return WireClient(connection, timeout=timeout)


_STATUS_LINE: Final = re.compile(r"HTTP/(\d\.\d) (\d{3}) (.*)")
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;.*)?")
_FIRST_FINAL: Final = 200
