"""Server-sent events: everything from an offset on, then everything that comes, as it comes.

A follower that keeps up is given the very bytes that all others are given. One that does not is not waited
for: it holds its place, and reads the log itself until it is where the feed is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Send

from millstream.durable.http.cursors import interval_at
from millstream.durable.http.events import KEEP_ALIVE, Frame, is_text
from millstream.durable.http.feeds import KEPT
from millstream.durable.http.replies import place, reply
from millstream.durable.http.serving import Follower, Read, Service
from millstream.durable.refusals import LogRefused
from millstream.durable.state import State


async def follow(service: Service, read: Read, receive: Receive, send: Send) -> None:
    """Answer with events, for as long as one connection is to last.

    Raises:
        LogRefused: nothing was sent.
        HTTPError: as above.
    """
    try:
        await _follow(service, read, receive, send)
    except service.passing as passing:  # never after a head
        if b"last-event-id" not in read.asked.headers:
            raise
        # To an EventSource that comes back any other status would be the last word (WHATWG HTML §9.2.3).
        if isinstance(passing, service.log.failures):
            service.log.outage.note(passing)
        await send({"type": "http.response.start", "status": 200, "headers": [*service.common, *_HEAD]})
        await send({"type": "http.response.body", "body": AGAIN})


async def _follow(service: Service, read: Read, receive: Receive, send: Send) -> None:
    page = await service.log.read(read.name, read.offset, most=KEPT)
    if page.closed and not page.messages and b"last-event-id" in read.asked.headers:
        # An EventSource takes every end for an accident, and only this for an answer (WHATWG HTML §9.2.3).
        await reply(send, 204, [*service.common, *place(page, page.next_offset)])
        return
    frame = Frame(page, read.cursor)
    begin = frame.next_offset if page.up_to_date else page.state.next_offset
    async with service.following(page.state, begin, receive) as follower:
        await send({"type": "http.response.start", "status": 200, "headers": _head(service, page.state)})
        await follower.write(send, frame.event)
        if not frame.closed:
            # The stream is gone, or its log: whoever comes back is told so.
            with suppress(LogRefused, *service.log.failures):
                await _Following(service, read, follower, frame.next_offset).run(send)
    await send({"type": "http.response.body", "body": b""})


class _Following:
    """One follower's place in one stream."""

    __slots__ = ("_closed", "_cursor", "_follower", "_offset", "_read", "_service")

    def __init__(self, service: Service, read: Read, follower: Follower, offset: str) -> None:
        self._service = service
        self._read = read
        self._follower = follower
        self._offset = offset
        self._closed = False
        current = interval_at(service.clock())
        self._cursor = read.cursor if read.cursor > current else None  # its own, or everybody's

    async def run(self, send: Send) -> None:
        """Send what comes, until it is the last, or nobody reads it, or it is time to come back."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._service.settings.reconnect
        follower = self._follower
        while not follower.left and now() < deadline:
            events = await self._news()
            if events:
                await follower.write(send, events)
                if self._closed:
                    return
                continue
            if follower.feed.ended:
                return
            await follower.ear.wait_hinted(self._patience(deadline - now()))
            if follower.feed.offset == self._offset and not follower.feed.ended:
                await follower.write(send, KEEP_ALIVE)

    def _patience(self, left: float) -> float | None:
        """How long to sleep: until time is over, unless the feed's beat comes before and spares a timer."""
        return left if left < self._service.settings.beat else None

    async def _news(self) -> bytes:
        """The events after this place, which goes on."""
        feed = self._follower.feed
        events = feed.events_from(self._offset, self._cursor)
        if events is not None:
            self._offset, self._closed = feed.offset, feed.closed
            return events
        page = await self._service.log.read(self._read.name, self._offset, most=KEPT)
        frame = Frame(page, self._read.cursor)
        self._offset, self._closed = frame.next_offset, frame.closed
        return frame.event if frame.moved or frame.closed else b""


def _head(service: Service, state: State) -> Sequence[tuple[bytes, bytes]]:
    encoded = state.json or is_text(state.content_type)
    return [*service.common, *_HEAD, *(() if encoded else ((b"stream-sse-data-encoding", b"base64"),))]


AGAIN: Final = b"retry: 3000\n"
"""Come back in so many milliseconds. The line counts by itself (WHATWG HTML §9.2.6); an empty one behind it
would be an event without data to clients that are less strict than a browser."""

_HEAD: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"private, no-store, no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
