"""Compression of bodies as they pass, streamed or whole, for the clients that ask for it.

Each write leaves as one that can be decoded at once; nothing is held back but the state of the compressor,
which is made with the first byte. A body that is broken off lacks the end of its coding as well, so that a
decoder reports what the wire tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from millstream.compression.bodies import is_compressible, is_short, may_be_coded
from millstream.compression.choice import chosen
from millstream.compression.codings import Compressor, installed
from millstream.config import Settings
from millstream.protocol.ports import ChunkTransform, Head


class Compression:
    """What one application, or one action of it, compresses.

    Args:
        settings: of which `compression` says whether at all.
    """

    __slots__ = ("_offered",)

    def __init__(self, settings: Settings) -> None:
        self._offered = installed() if settings.compression else ()

    def of(self, head: Head, accept_encoding: str | None) -> ChunkTransform | None:
        """What codes a body for a client's `Accept-Encoding`, or None; the last of all transforms.

        Args:
            head: the body's, which comes to say how it is coded.
            accept_encoding: the client's field; None where it sent none.
        """
        if not self._offered:
            return None
        if not may_be_coded(head):
            if head.status == _PARTIAL and is_compressible(head.content_type):
                _vary(head)
            return None
        gains = is_compressible(head.content_type)
        if gains:
            _vary(head)
        choice = chosen(accept_encoding, self._offered)
        if choice.coding is None or not (choice.refuses_identity or (gains and not is_short(head))):
            return None
        if not gains:
            _vary(head)
        _describe(head, choice.coding.name)
        return _Coded(choice.coding.start) if head.has_body else None


class _Coded:
    """One body passing by."""

    __slots__ = ("_compressor", "_start")

    def __init__(self, start: Callable[[], Compressor]) -> None:
        self._start = start
        self._compressor: Compressor | None = None

    def chunk(self, data: bytes, /) -> bytes:
        """See `ChunkTransform`."""
        if not data:
            return b""
        if self._compressor is None:
            self._compressor = self._start()
        return self._compressor.write(data)

    def end(self) -> bytes:
        """See `ChunkTransform`."""
        return (self._compressor or self._start()).finish()


def _vary(head: Head) -> None:
    said = head.headers.get("vary")
    if said is None:
        head.headers.append("vary", _ACCEPT_ENCODING)
    elif {name.strip().lower() for name in said.split(",")}.isdisjoint(("accept-encoding", "*")):
        head.headers.add_vary_header(_ACCEPT_ENCODING)


def _describe(head: Head, coding: str) -> None:
    """Say what is sent, and nothing of the bytes that are not: HEAD is told the same (RFC 9110 §9.3.2)."""
    headers = head.headers
    headers["content-encoding"] = coding
    for name in _OF_THE_PLAIN_BODY:
        if name in headers:
            del headers[name]
    etag = headers.get("etag", "")
    if etag.startswith('"'):  # a strong one promises the same bytes (RFC 9110 §8.8.1)
        headers["etag"] = f"W/{etag}"


_PARTIAL: Final = 206
_ACCEPT_ENCODING: Final = "Accept-Encoding"
_OF_THE_PLAIN_BODY: Final = (
    "content-length",
    "accept-ranges",
    "content-digest",
    "repr-digest",
    "content-md5",
)
