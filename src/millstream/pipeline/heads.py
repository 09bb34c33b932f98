"""Heads: the author's status and headers, completed with what the house adds where the author is silent."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders

from millstream.errors import HTTPError
from millstream.protocol.ports import Head
from millstream.web.response import Response

# Buffering proxies, caches and compressors are told to let a stream pass (promise 19).
_FOR_STREAMS: Final = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}


def stream_head(response: Response, content_type: str, method: str, *, negotiated: bool) -> Head:
    """The head of a stream; from here on the author cannot change it."""
    head = _head(response, response.status, content_type, method, negotiated=negotiated)
    for name, value in _FOR_STREAMS.items():
        head.headers.setdefault(name, value)
    return head


def whole_head(
    response: Response,
    status: int | None,
    content_type: str | None,
    length: int,
    method: str,
    *,
    negotiated: bool,
) -> Head:
    """The head of a body that is known; a status that leads elsewhere goes before the author's own."""
    silent = response.status == _DEFAULT_STATUS
    chosen = status if status is not None and (silent or status >= _FIRST_ELSEWHERE) else response.status
    head = _head(response, chosen, content_type, method, negotiated=negotiated)
    if head.describes_body:
        head.headers["content-length"] = str(length)
    return head


def problem_head(error: HTTPError, content_type: str, length: int, method: str) -> Head:
    """The head of a problem document; nothing the author said of a success is said of it."""
    head = Head(error.status, MutableHeaders(headers=error.headers), method)
    if head.describes_body:
        head.headers["content-type"] = content_type
        head.headers["content-length"] = str(length)
    head.headers.add_vary_header("Accept")
    return head


def _head(
    response: Response, status: int, content_type: str | None, method: str, *, negotiated: bool
) -> Head:
    headers = MutableHeaders(raw=list(response.raw_headers))
    if content_type is not None:
        headers.setdefault("content-type", content_type)
    if negotiated:
        headers.add_vary_header("Accept")
    response.sent()
    return Head(status, headers, method)


_DEFAULT_STATUS: Final = 200
_FIRST_ELSEWHERE: Final = 300
