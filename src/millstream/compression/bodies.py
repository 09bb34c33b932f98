"""Which bodies are compressed: those that are whole, not compressed yet, and long enough to gain by it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from millstream.protocol.ports import Head

SHORTEST: Final = 860
"""Bytes; what is shorter travels in one packet with its head, whatever is done to it."""


def may_be_coded(head: Head) -> bool:
    """Whether a coding can be applied at all: not to a part of a body (RFC 9110 §14), nor twice."""
    said = dict(head.headers.raw)
    return head.describes_body and head.status != _PARTIAL and _CODED_OR_PART.isdisjoint(said)


@lru_cache(maxsize=256)
def is_compressible(content_type: str) -> bool:
    """Whether bodies of a type shrink; a type that nobody named may hold anything, archives above all."""
    return bool(content_type) and not (
        content_type in _COMPRESSED or (_MEDIA.match(content_type) and content_type not in _PLAIN_PICTURES)
    )


def is_short(head: Head) -> bool:
    """Whether a body is known to be too short; of a stream nobody knows."""
    length = head.headers.get("content-length", "")
    return length.isdecimal() and int(length) < SHORTEST


_PARTIAL: Final = 206
_CODED_OR_PART: Final = frozenset({b"content-range", b"content-encoding"})
_MEDIA: Final = re.compile(
    # Whole kinds, families of packages, and the suffixes of RFC 6838 §4.2.8.
    r"image/|video/|audio/|application/vnd\.(openxmlformats-officedocument|oasis\.opendocument)\."
    r"|.*\+(zip|gzip|zstd)$"
)
_PLAIN_PICTURES: Final = frozenset({"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon"})
_COMPRESSED: Final = frozenset(
    {
        "application/octet-stream",
        "application/gzip",
        "application/java-archive",
        "application/pdf",
        "application/vnd.apache.parquet",
        "application/vnd.rar",
        "application/x-7z-compressed",
        "application/x-brotli",
        "application/x-bzip2",
        "application/x-gzip",
        "application/x-parquet",
        "application/x-rar-compressed",
        "application/x-xz",
        "application/zip",
        "application/zstd",
        "font/woff",
        "font/woff2",
    }
)
