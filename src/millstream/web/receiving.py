"""Receiving: a request's body comes in time, is no longer than allowed, and is kept once it was read.

A body that is read for its fields is received whole: while it is short in memory, then in a temporary file.
So it can be read again, as often as somebody wants it, and a slow client holds little of our memory.
"""

from __future__ import annotations

import asyncio
import codecs
import threading
from collections.abc import Awaitable, Callable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from millstream.errors import HTTPError, Overloaded

Offload = Callable[..., Awaitable[Any]]
"""`await offload(function, *args)`: runs a function that takes a while on some thread."""

IN_MEMORY: Final = 64 * 1024
"""Bytes of one body that are held in memory."""

PIECE: Final = 64 * 1024
"""Bytes of it that are read from its file at a time."""


def in_time(receive: Receive, stall: float | None, rate: float | None = None) -> Receive:
    """Give up on a client that sends nothing, or too little to be waited for.

    Args:
        receive: the next message of the body.
        stall: seconds that each piece may take to come, however much came before it.
        rate: bytes a second that must have come altogether, once `stall` is over.

    Raises:
        HTTPError: 408, from the `receive` that is returned.
    """
    if stall is None:
        return receive
    begun: float | None = None  # until the first read: this may be made on a thread, which has no loop
    arrived = 0

    async def received() -> Message:
        nonlocal begun, arrived
        now = asyncio.get_running_loop().time()
        begun = now if begun is None else begun
        come_by = now if rate is None else min(now, begun + arrived / rate)
        try:
            async with asyncio.timeout_at(come_by + stall):
                message = await receive()
        except TimeoutError:
            raise HTTPError(408, "the rest of the request's body did not come in time") from None
        arrived += len(message.get("body", b""))
        return message

    return received


def charset_of(name: str) -> str | None:
    """The name by which Python knows a charset; None for what is no charset of texts that people send."""
    try:
        "".encode(name)  # some names are no charsets, but other things Python can do to bytes
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return None if known in _NOT_FOR_TEXTS else known


def too_long(most: int) -> HTTPError:
    """The error about a body that is longer than allowed."""
    return HTTPError(413, f"the body is longer than the {most} bytes this application takes")


class Kept:
    """A body that was received whole, to be read as often as anybody likes.

    Args:
        offload: runs what the disk may keep waiting.

    Attributes:
        size: its bytes.
    """

    __slots__ = ("_file", "_lock", "_memory", "_offload", "size")

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._memory = bytearray()  # what is not in the file
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()  # the file has one position, and readers on several threads
        self.size = 0

    async def take_all(self, receive: Receive, most: int | None) -> None:
        """Receive the body.

        Raises:
            HTTPError: 413, when it is longer than `most` bytes; and whatever `receive` raises.
            ClientDisconnect: when the client does not send it to the end.
        """
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            self._memory += (piece := message.get("body", b""))
            self.size += len(piece)
            if most is not None and self.size > most:
                raise too_long(most)
            if len(self._memory) > IN_MEMORY or (self._file is not None and not more):
                await self._write()

    async def _write(self) -> None:
        try:
            await self._offload(self._written)
        except OSError as refused:
            raise Overloaded("there is no room for the request's body") from refused

    def _written(self) -> None:
        if self._file is None:
            self._file = TemporaryFile("w+b", buffering=0)  # noqa: SIM115  closed with the request
        start, size = 0, len(self._memory)
        while start < size:
            start += self._file.write(self._memory[start:])
        self._memory.clear()

    def at(self, start: int, size: int) -> bytes:
        """So many bytes from a place on, or less at the end; for any thread that may wait for the disk."""
        if self._file is None:
            return bytes(self._memory[start : start + size])
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece; as `at`."""
        for start in range(0, self.size, PIECE):
            yield self.at(start, PIECE)

    async def read(self, start: int) -> bytes:
        """The piece at a place, empty at the end."""
        return self.at(start, PIECE) if self._file is None else await self._offload(self.at, start, PIECE)

    def again(self, receive: Receive | None = None) -> Receive:
        """The body as messages, as if it arrived.

        Args:
            receive: asked afterwards, when it can say nothing any more but that the client has left.
        """
        start = 0
        ended = False

        async def received() -> Message:
            nonlocal start, ended
            if ended and receive is not None:
                return await receive()
            piece = await self.read(start)
            start += len(piece)
            ended = start >= self.size
            return {"type": "http.request", "body": piece, "more_body": not ended}

        return received

    def close(self) -> None:
        """Forget it."""
        self._memory.clear()
        if self._file is not None:
            self._file.close()


_NOT_FOR_TEXTS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""Codecs of names and of source text. Some take time with the square of the length."""
