"""What the protocol answers: statuses and headers, and how they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.types import Send

from millstream.durable.pages import Page
from millstream.durable.refusals import (
    BadKey,
    BadOffset,
    ContentTypeDiffers,
    EpochBeginsAtZero,
    LeaseLost,
    LogRefused,
    NameTaken,
    NoSuchStream,
    OffsetGone,
    SequenceGap,
    SequenceRegressed,
    StaleEpoch,
    StreamClosed,
    StreamGone,
)
from millstream.durable.state import Producer, State
from millstream.errors import HTTPError

Pairs = Sequence[tuple[bytes, bytes]]
"""Headers, their names in small letters."""

PRIVATE: Final = "private, no-store"
"""How what is read may be cached, unless the author says otherwise."""

PUBLIC: Final = "public, max-age=60, stale-while-revalidate=300"
"""For streams anybody may read: what was read once never changes."""


async def reply(
    send: Send, status: int, headers: Pairs, body: bytes = b"", *, bodiless: bool = False
) -> None:
    """Send a whole answer; `bodiless` for one to HEAD, whose length is not known either."""
    if status not in _BODILESS and not bodiless:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else body})


def standing(state: State) -> list[tuple[bytes, bytes]]:
    """The headers that tell of a stream's end."""
    headers = [(b"stream-next-offset", state.next_offset.encode())]
    if state.closed:
        headers.append(_CLOSED)
    if state.failed:
        headers.append(_FAILED)
    return headers


def described(state: State) -> list[tuple[bytes, bytes]]:
    """The headers that tell all about a stream."""
    headers = [(b"content-type", state.content_type.encode("latin-1")), *standing(state)]
    if state.ttl is not None:
        headers.append((b"stream-ttl", b"%d" % state.ttl))
    elif state.expires is not None:
        until = datetime.fromtimestamp(state.expires, UTC).isoformat(timespec="milliseconds")
        headers.append((b"stream-expires-at", until.replace("+00:00", "Z").encode()))
    return headers


def place(page: Page, next_offset: str) -> list[tuple[bytes, bytes]]:
    """The headers that tell where a page stands."""
    headers = [(b"stream-next-offset", next_offset.encode())]
    if page.up_to_date:
        headers.append((b"stream-up-to-date", b"true"))
    if page.closed:
        headers.append(_CLOSED)
        if page.state.failed:
            headers.append(_FAILED)
    return headers


def acceptance(producer: Producer | None) -> list[tuple[bytes, bytes]]:
    """The headers that tell a producer how far it was believed."""
    if producer is None:
        return []
    return [(b"producer-epoch", b"%d" % producer.epoch), (b"producer-seq", b"%d" % producer.seq)]


def etag_of(page: Page, end: int | None = None) -> bytes:
    """A strong validator: which life of the stream, from where to where, and whether that is its end."""
    last = ":closed" if page.closed else ""
    offset = page.offset_at(page.end if end is None else end)
    return f'"{page.start}:{offset}{last}"'.encode()


def matches(condition: bytes, etag: bytes) -> bool:
    """Whether If-None-Match holds it (RFC 9110 §13.1.2): weak comparison."""
    return condition.strip() == b"*" or etag in (
        candidate.strip().removeprefix(b"W/") for candidate in condition.split(b",")
    )


def refusal(error: LogRefused | HTTPError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an answer that is a refusal."""
    if isinstance(error, HTTPError):
        status = error.status
        more = [(name.lower().encode(), value.encode("latin-1")) for name, value in error.headers.items()]
        detail = error.detail
    else:
        status, more, detail = STATUS[type(error)], _told(error), str(error)
    problem = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"), *more]
    return status, headers, msgspec.json.encode(problem)


def _told(error: LogRefused) -> list[tuple[bytes, bytes]]:
    match error:
        case StreamClosed(state=state):
            return standing(state)
        case StaleEpoch(current=current):
            return [(b"producer-epoch", b"%d" % current)]
        case SequenceGap(expected=expected, received=received):
            return [
                (b"producer-expected-seq", b"%d" % expected),
                (b"producer-received-seq", b"%d" % received),
            ]
        case _:
            return []


STATUS: Final[Mapping[type[LogRefused], int]] = {
    NoSuchStream: 404,
    StreamGone: 410,
    OffsetGone: 410,
    BadOffset: 400,
    BadKey: 400,
    NameTaken: 409,
    StreamClosed: 409,
    ContentTypeDiffers: 409,
    SequenceRegressed: 409,
    StaleEpoch: 403,
    EpochBeginsAtZero: 400,
    SequenceGap: 409,
    LeaseLost: 409,
}
"""What each refusal is in HTTP."""

_CLOSED: Final = (b"stream-closed", b"true")
_FAILED: Final = (b"stream-failed", b"true")
_BODILESS: Final = frozenset({204, 304})
