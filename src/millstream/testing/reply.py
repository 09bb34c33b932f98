"""What a client is given: a whole reply, or one that is read while it is produced."""

# ruff: noqa: ASYNC109  these waits end with a sentence on what did not come, asyncio.timeout's with none

from __future__ import annotations

import json
from collections import deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.message import Message
from typing import Any, Self

from starlette.datastructures import Headers

from millstream.testing.events import EventReader, ReceivedEvent
from millstream.testing.exchange import Exchange
from millstream.testing.failures import BodyTruncated, Misused
from millstream.testing.rules import Start
from millstream.testing.waiting import within


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was read to its end."""

    status: int
    headers: Headers  # case-insensitive; `getlist` for a name that comes more than once
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return _described(self.headers).get_content_type() if "content-type" in self.headers else ""

    @property
    def text(self) -> str:
        """The body, decoded with the charset it declares, or UTF-8.

        Raises:
            UnicodeDecodeError: when it is not what it declares.
        """
        return self.body.decode(_described(self.headers).get_content_charset("utf-8"))

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: when it is none.
        """
        return json.loads(self.body)


class StreamReply:
    """A reply that is read while it is produced.

    Choose one way of reading: chunks, lines, events, or the rest at once. Until something is read the
    application may be ahead by `window` bytes and no further: not reading is what a slow client does.

    Every wait ends after `timeout` seconds with a `TimedOut` that says what did not come.
    """

    def __init__(self, exchange: Exchange, *, timeout: float) -> None:
        self._events = EventReader()
        self._exchange = exchange
        self._timeout = timeout
        self._window = exchange.window
        self._stalled = False
        self._chunks_read = 0
        self._line = b""  # read, but not yet a whole line
        self._ready: deque[ReceivedEvent] = deque()

    @property
    def status(self) -> int:
        """The status.

        Raises:
            Misused: before the head is there.
        """
        return self._head.status

    @property
    def headers(self) -> Headers:
        """The headers, case-insensitive; `getlist` for a name that comes more than once.

        Raises:
            Misused: before the head is there.
        """
        return self._head.headers

    @property
    def events(self) -> EventReader:
        """The parser behind `next_event`; knows the `last_id` and `retry` a browser would reconnect with."""
        return self._events

    @property
    def unread(self) -> int:
        """Bytes the application is ahead."""
        return self._exchange.unread

    @property
    def ended(self) -> bool:
        """Whether the application's call has returned or raised."""
        return self._exchange.ended

    async def wait_head(self, timeout: float | None = None) -> Self:
        """Wait for status and headers; only needed after `await_head=False`.

        Raises:
            BodyTruncated: when the application broke off before its head.
        """
        async with self._within(timeout, "the head"):
            await self._exchange.take_head()
        return self

    async def next_chunk(self, timeout: float | None = None) -> bytes | None:
        """The next piece of the body as the application sent it, never empty; None is the clean end.

        Raises:
            BodyTruncated: when the application's call ended without it.
        """
        if self._line:
            line, self._line = self._line, b""
            return line
        async with self._within(timeout, "the next chunk"):
            return await self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.next_chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def next_line(self, timeout: float | None = None) -> str | None:
        """The next line, decoded, without its line feed; an NDJSON keep-alive is ""; None is the clean end.

        Raises:
            BodyTruncated: as `next_chunk`.
        """
        async with self._within(timeout, "the next line"):
            while b"\n" not in self._line:
                chunk = await self._take()
                if chunk is None:
                    line, self._line = self._line, b""
                    return line.decode() if line else None
                self._line += chunk
        line, _, self._line = self._line.partition(b"\n")
        return line.decode()

    async def next_event(self, timeout: float | None = None) -> ReceivedEvent | None:
        """The next server-sent event that a browser would dispatch; None is the clean end.

        Raises:
            BodyTruncated: as `next_chunk`.
        """
        async with self._within(timeout, "the next event"):
            while not self._ready:
                chunk = await self._take()
                if chunk is None:
                    return None
                self._ready += self._events.feed(chunk)
        return self._ready.popleft()

    async def rest(self, timeout: float | None = None) -> bytes:
        """Everything up to the clean end.

        Raises:
            BodyTruncated: as `next_chunk`; its `received` is what came before.
        """
        chunks = [self._line]
        self._line = b""
        try:
            async with self._within(timeout, "the end of the body"):
                while (chunk := await self._take()) is not None:
                    chunks.append(chunk)
        except BodyTruncated as truncated:
            truncated.received = b"".join(chunks)
            raise
        return b"".join(chunks)

    def stall(self, window: int | None = None) -> None:
        """Stop reading: the application's `send()` blocks once this many bytes are unread.

        Args:
            window: the stream's own when left out; 0 blocks the very next `send()`.
        """
        self._stalled = True
        self._exchange.set_window(self._window if window is None else window)

    def resume(self) -> None:
        """Read on after a stall."""
        self._stalled = False
        self._exchange.set_window(self._window)

    async def wait_blocked(self, timeout: float | None = None) -> None:
        """Wait until the application is held up in `send()` because nobody reads.

        Raises:
            Misused: when its call has ended instead.
        """
        async with self._within(timeout, "the application to be blocked in send()"):
            await self._exchange.wait_blocked()

    async def disconnect(self, *, wait: bool = False, timeout: float | None = None) -> None:
        """Leave: the application's `receive()` gives `http.disconnect`, its `send()` reaches nobody.

        Args:
            wait: for the application's call to end.
            timeout: of that wait.
        """
        self._exchange.leave()
        if wait:
            await self.wait_ended(timeout)

    async def wait_ended(self, timeout: float | None = None) -> None:
        """Wait until the application's call has returned or raised."""
        async with self._within(timeout, "the application's call to end"):
            await self._exchange.wait_ended()

    async def _take(self) -> bytes | None:
        if self._stalled:
            raise Misused(f"{self._exchange.where}: this client is stalled, resume() before reading on")
        chunk = await self._exchange.take()
        self._chunks_read += chunk is not None
        return chunk

    @property
    def _head(self) -> Start:
        if self._exchange.head is None:
            raise Misused(f"{self._exchange.where}: there is no head yet, await wait_head() first")
        return self._exchange.head

    def _within(self, seconds: float | None, what: str) -> AbstractAsyncContextManager[None]:
        limit = self._timeout if seconds is None else seconds
        return within(limit, self._exchange.where, what, self._meanwhile)

    def _meanwhile(self) -> str:
        return (
            f"{self._chunks_read} chunks were read, {self.unread} bytes wait, "
            f"and the application stands at {self._exchange.stands_at}"
        )


def _described(headers: Headers) -> Message:
    described = Message()
    described["content-type"] = headers.get("content-type", "")
    return described
