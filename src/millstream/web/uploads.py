"""Uploads: the request's body while it arrives, piece by piece or line by line.

One object serves both kinds of code: `async for` awaits the next piece, `for` waits for it on the request's
own thread. Nothing is kept, so a body of any length is read in flat memory, and a reader that is slow makes
its client wait.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from millstream.errors import ControllerError, HTTPError
from millstream.web.receiving import charset_of, too_long

LONGEST_LINE: Final = 1024 * 1024
"""Characters of a line; a longer one is no line but a way to fill our memory."""

Wait = Callable[[Coroutine[Any, Any, bytes]], bytes]
"""Waits for a coroutine of the request's event loop, in code that runs on the request's thread."""


class Upload:
    """A body as it arrives.

    Raises:
        ClientDisconnect: from every read after the client has left before the body's end.
        HTTPError: 413 when more arrives than is allowed.
    """

    __slots__ = ("_most", "_receive", "_wait", "arrived", "ended")

    def __init__(self, receive: Receive, wait: Wait, *, most: int | None) -> None:
        self._receive = receive
        self._wait = wait
        self._most = most
        self.arrived = 0  # bytes
        self.ended = False

    async def read(self) -> bytes:
        """The next piece, empty at the end."""
        while not self.ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self.arrived += len(piece)
            if self._most is not None and self.arrived > self._most:
                raise too_long(self._most)
            if piece:
                return piece
        return b""

    def read_here(self) -> bytes:
        """The same for synchronous code."""
        return b"" if self.ended else self._wait(self.read())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if piece := self.read_here():
            return piece
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self.read():
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing is held that would have to be given back; Starlette's own readers call this."""


class Lines:
    """The lines of a text as it arrives, each with its line feed, as the `csv` module wants them.

    Args:
        upload: the body.
        charset: of its text; a byte order mark of UTF-8 is no part of the first line.

    Raises:
        HTTPError: 415 for a charset nobody knows, 400 for a byte that is none of its text, 413 for a line
            without end.
    """

    __slots__ = ("_charset", "_decoder", "_ended", "_rest", "_upload", "_waiting")

    def __init__(self, upload: Upload, charset: str) -> None:
        self._upload = upload
        self._waiting: deque[str] = deque()
        self._rest = ""  # the beginning of a line
        self._ended = False
        known = charset_of(charset)
        if known is None:
            raise HTTPError(415, f"{charset!r} is no charset that is known here")
        self._charset = known
        with_mark = "utf-8-sig" if self._charset == "utf-8" else self._charset
        self._decoder = codecs.getincrementaldecoder(with_mark)()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._waiting:
            if self._ended:
                raise StopIteration
            self._take(self._upload.read_here())
        return self._waiting.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._take(await self._upload.read())
        return self._waiting.popleft()

    def _take(self, piece: bytes) -> None:
        """Take in a piece; an empty one ends the text."""
        self._ended = not piece
        *lines, rest = (self._rest + self._decoded(piece)).split("\n")
        self._waiting.extend([f"{line}\n" for line in lines])
        if self._ended and rest:
            self._waiting.append(rest)
        if len(rest) > LONGEST_LINE:
            raise HTTPError(413, f"a line is longer than the {LONGEST_LINE} characters that are taken")
        self._rest = rest

    def _decoded(self, piece: bytes) -> str:
        held = len(self._decoder.getstate()[0])  # of a character that came in two pieces
        try:
            return self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as wrong:
            position = self._upload.arrived - len(piece) - held + wrong.start
            found = wrong.object[wrong.start]
            raise HTTPError(
                400, f"the body is not in {self._charset}: byte {position} is 0x{found:02x}"
            ) from wrong


def cannot_wait(reading: Coroutine[Any, Any, bytes]) -> bytes:
    """Stand in where no thread belongs to the request.

    Raises:
        ControllerError: always.
    """
    reading.close()
    raise ControllerError("this request has no thread that could wait for its body: write `async for`")
