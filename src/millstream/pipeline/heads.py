"""Heads: the author's status and headers, completed with what the house adds where the author is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from starlette.datastructures import MutableHeaders

from millstream.errors import HTTPError
from millstream.protocol.ports import Head
from millstream.web.fields import require_sendable
from millstream.web.response import Response

Raw = Sequence[tuple[bytes, bytes]]
"""Headers as ASGI has them."""

# Buffering proxies, caches and compressors are told to let a stream pass (promise 19).
_FOR_STREAMS: Final = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}


class Described(NamedTuple):
    """What the house says of a body where its author is silent."""

    content_type: str | None
    negotiated: bool = False  # another client could have got another format here
    disposition: str | None = None  # RFC 6266, for what is to be saved under a name


def stream_head(response: Response, described: Described, method: str) -> Head:
    """The head of a stream; from here on the author cannot change it."""
    status = response.status
    if response.raw_headers:
        headers = _for_stream(response.raw_headers, status, described)
    else:
        headers = MutableHeaders(raw=list(_where_silent(status, described)))
    response.sent()
    return framed(Head(status, headers, method))


def whole_head(
    response: Response, described: Described, length: int, method: str, *, status: int | None = None
) -> Head:
    """The head of a body that is known; a status that leads elsewhere goes before the author's own."""
    silent = response.status == _DEFAULT_STATUS
    chosen = status if status is not None and (silent or status >= _FIRST_ELSEWHERE) else response.status
    head = _head(response, chosen, described, method)
    if head.describes_body:
        head.headers["content-length"] = str(length)
    return head


def file_head(response: Response, described: Described, facts: Mapping[str, str], method: str) -> Head:
    """The head of a file: unlike a stream's, its body may be kept, and asked for by pieces."""
    head = _head(response, response.status, described, method)
    for name, value in facts.items():
        head.headers.setdefault(name, value)
    return framed(head)


def problem_head(error: HTTPError, content_type: str, length: int, method: str) -> Head:
    """The head of a problem document; nothing the author said of a success is said of it."""
    head = framed(Head(error.status, MutableHeaders(headers=error.headers), method))
    if head.describes_body:
        head.headers["content-type"] = content_type
        head.headers["content-length"] = str(length)
        head.headers.setdefault(*_NO_SNIFFING)
    head.headers.add_vary_header("Accept")
    return head


def _head(response: Response, status: int, described: Described, method: str) -> Head:
    headers = _completed(response.raw_headers, status, described)
    response.sent()
    return framed(Head(status, headers, method))


def framed(head: Head) -> Head:
    """A head whose status has no body declares no length (RFC 9110 §8.6): some servers would wait for it."""
    if not head.describes_body and "content-length" in head.headers:
        del head.headers["content-length"]
    return head


@lru_cache(maxsize=256)
def _where_silent(status: int, described: Described) -> Raw:
    """What a stream's head is where its author says nothing, which is nearly always."""
    return _for_stream((), status, described).raw


def _for_stream(said: Raw, status: int, described: Described) -> MutableHeaders:
    headers = _completed(said, status, described)
    for name, value in _FOR_STREAMS.items():
        headers.setdefault(name, value)
    return headers


def _completed(said: Raw, status: int, described: Described) -> MutableHeaders:
    require_sendable(said)
    headers = MutableHeaders(raw=list(said))
    if described.content_type is not None:
        headers.setdefault("content-type", described.content_type)
    if described.disposition is not None and status < _FIRST_ELSEWHERE:
        headers.setdefault("content-disposition", described.disposition)
    if described.negotiated:
        headers.add_vary_header("Accept")
    if "content-type" in headers:
        headers.setdefault(*_NO_SNIFFING)
    return headers


_NO_SNIFFING: Final = ("x-content-type-options", "nosniff")
"""A browser takes a body for what its type says, and not for a page that a client wrote into an export."""

_DEFAULT_STATUS: Final = 200
_FIRST_ELSEWHERE: Final = 300
