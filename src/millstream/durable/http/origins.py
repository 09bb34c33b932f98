"""What browsers are told of an endpoint, and which other origins may use it (CORS)."""

from __future__ import annotations

from typing import Final


def common_headers(allow_origin: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of every answer; `*` or one other origin may be let in."""
    headers = [(b"x-content-type-options", b"nosniff")]
    if allow_origin is None:
        return (*headers, (b"cross-origin-resource-policy", b"same-origin"))
    headers.append((b"cross-origin-resource-policy", b"cross-origin"))
    headers.append((b"access-control-allow-origin", allow_origin.encode("latin-1")))
    headers.append((b"access-control-expose-headers", ", ".join(EXPOSED).encode()))
    if allow_origin != "*":
        headers.append((b"vary", b"origin"))
    return tuple(headers)


EXPOSED: Final = (
    "Stream-Next-Offset",
    "Stream-Up-To-Date",
    "Stream-Closed",
    "Stream-Failed",
    "Stream-Cursor",
    "Stream-TTL",
    "Stream-Expires-At",
    "Stream-SSE-Data-Encoding",
    "Producer-Epoch",
    "Producer-Seq",
    "Producer-Expected-Seq",
    "Producer-Received-Seq",
    "ETag",
    "Location",
    "Content-Range",
)
"""Headers that pages of other origins may read."""

ACCEPTED: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "Producer-Id",
    "Producer-Epoch",
    "Producer-Seq",
    "Stream-Closed",
    "Stream-Expires-At",
    "Stream-Fork-Offset",
    "Stream-Fork-Sub-Offset",
    "Stream-Forked-From",
    "Stream-Seq",
    "Stream-TTL",
)
"""Headers that pages of other origins may send."""

PREFLIGHT: Final = (
    (b"allow", b"GET, POST, PUT, HEAD, DELETE, OPTIONS"),
    (b"access-control-allow-methods", b"GET, POST, PUT, HEAD, DELETE"),
    (b"access-control-allow-headers", ", ".join(ACCEPTED).encode()),
    (b"access-control-max-age", b"86400"),
)
"""The headers of an answer to OPTIONS: what could be asked, and with which headers."""
