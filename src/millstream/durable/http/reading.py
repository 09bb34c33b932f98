"""GET: a page, or a poll that waits for one. The other ways stand in `following` and `downloads`.

Each way reads before it sends a head, so that every refusal is an honest status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.types import Receive, Send

from millstream.durable.http.cursors import cursor_after
from millstream.durable.http.downloads import download
from millstream.durable.http.events import Frame
from millstream.durable.http.following import follow
from millstream.durable.http.json_mode import body_of
from millstream.durable.http.replies import etag_of, matches, place, reply
from millstream.durable.http.requests import Asked
from millstream.durable.http.serving import Read, Service
from millstream.durable.offsets import NOW, START
from millstream.durable.pages import Page
from millstream.errors import HTTPError


async def answer(service: Service, asked: Asked, receive: Receive, send: Send) -> None:
    """Answer a GET.

    Raises:
        LogRefused: nothing was sent.
        HTTPError: as above.
        Truncated: a body could not end well.
    """
    query = asked.query()
    live = query.get("live", [""])[-1]
    if live not in _WAYS:
        raise HTTPError(400, f"live is {live!r}: it must be long-poll, sse or body")
    cursor = cursor_after(query.get("cursor", [""])[-1], service.clock())
    await _WAYS[live](service, Read(asked, _offset(asked, query, live), cursor), receive, send)


def _offset(asked: Asked, query: Mapping[str, Sequence[str]], live: str) -> str:
    """Where to begin. An `EventSource` that comes back says it in a header, which counts before its URL."""
    last = asked.header(b"last-event-id") if live == "sse" else None
    if last:
        return last
    match query.get("offset", ()):
        case ():
            if live in _OFFSET_NEEDED:
                raise HTTPError(400, f"live={live} needs an offset")
            return START
        case [offset]:
            return offset
        case _:
            raise HTTPError(400, "there is more than one offset")


async def _page(service: Service, read: Read, _: Receive, send: Send) -> None:
    page = await service.log.read(read.name, read.offset)
    if read.offset == NOW:
        await _send(service, send, page, page.next_offset, _joined(page), cache="no-store")
        return
    etag = etag_of(page)
    condition = read.asked.headers.get(b"if-none-match")
    if condition is None or not matches(condition, etag):
        await _send(service, send, page, page.next_offset, _joined(page), (b"etag", etag))
        return
    headers = [*service.common, (b"etag", etag), (b"cache-control", service.settings.cache.encode())]
    await reply(send, 304, [*headers, *place(page, page.next_offset)])


async def _long_poll(service: Service, read: Read, receive: Receive, send: Send) -> None:
    page = await service.log.read(read.name, read.offset)
    cursor = (b"stream-cursor", b"%d" % read.cursor)
    if page.messages:
        await _send(service, send, page, page.next_offset, _joined(page), (b"etag", etag_of(page)), cursor)
        return
    frame = None if page.closed else await _next_frame(service, page, receive)
    if frame is not None and frame.moved:
        etag = (b"etag", etag_of(frame.page, frame.end))
        await _send(service, send, frame.page, frame.next_offset, frame.body, etag, cursor)
        return
    page = page if frame is None else frame.page
    headers = [*service.common, (b"cache-control", b"no-store"), *place(page, page.next_offset)]
    await reply(send, 204, headers if page.closed else [*headers, cursor])


async def _next_frame(service: Service, page: Page, receive: Receive) -> Frame | None:
    """What comes after a page that is the last; None, if nothing does in time."""
    now = asyncio.get_running_loop().time
    deadline = now() + service.settings.long_poll
    async with service.following(page.state, page.next_offset, receive) as follower:
        while not follower.left:
            frames = follower.feed.frames_from(page.next_offset)
            if frames is None:
                more = Frame(await service.log.read(page.state.name, page.next_offset), 0)
                frames = [more] if more.moved or more.closed else []
            if frames:
                return frames[0]
            if follower.feed.error is not None:
                raise follower.feed.error
            if follower.feed.ended or now() >= deadline:
                break
            await follower.ear.wait_hinted(deadline - now())
    return None


def _joined(page: Page) -> bytes:
    return body_of(page.messages) if page.state.json else b"".join(page.messages)


async def _send(
    service: Service,
    send: Send,
    page: Page,
    next_offset: str,
    body: bytes,
    *more: tuple[bytes, bytes],
    cache: str | None = None,
) -> None:
    headers = [
        *service.common,
        (b"content-type", page.state.content_type.encode("latin-1")),
        (b"cache-control", (cache or service.settings.cache).encode()),
        *place(page, next_offset),
        *more,
    ]
    await reply(send, 200, headers, body)


Way = Callable[[Service, Read, Receive, Send], Awaitable[None]]
"""One way to read."""

_WAYS: Final[Mapping[str, Way]] = {"": _page, "long-poll": _long_poll, "sse": follow, "body": download}
"""By the value of `live`."""

_OFFSET_NEEDED: Final = frozenset({"long-poll", "sse"})
