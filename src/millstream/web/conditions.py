"""Conditional and range requests (RFC 9110 §13 and §14): what a client has already, and which part it wants.

Pure: headers in, decisions out. Of a garbled header only what can be understood counts, so a range that
cannot be read is no range, and a tag that cannot be read matches nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from starlette.datastructures import MutableHeaders

from millstream.errors import HTTPError
from millstream.protocol.ports import Head

NOTHING: Final = slice(0, 0)
"""The part that is sent to a client which has the body already."""


def part_wanted(head: Head, asked: Mapping[str, str], size: int | None) -> slice | None:
    """The bytes of a body that a request asks for, by its conditions and its `Range`.

    Args:
        head: of the whole body.
        asked: the headers of the request.
        size: of the body; None when it is not known, or only the whole can be had.

    Returns:
        None for all of it; `NOTHING` when the client has it already, which is a 304.

    Raises:
        HTTPError: 412 when a condition is not met, 416 when the body has no such bytes.
    """
    if head.status != _WHOLE:  # conditions are about what would be a success (RFC 9110 §13.2.1)
        return None
    etag, modified = head.headers.get("etag", ""), head.headers.get("last-modified", "")
    status = _unmet(asked, etag, modified, reads=head.method in _READING)
    if status == _FAILED:
        raise HTTPError(_FAILED, "the resource is not what the request takes it for")
    if status == _NOT_MODIFIED:
        return NOTHING
    if size is None or head.method != "GET" or not _is_same(asked.get("if-range"), etag, modified):
        return None
    return _part(asked.get("range", ""), size)


def part_head(head: Head, part: slice, size: int | None) -> Head:
    """The head of a part, the head of the whole being given."""
    headers = MutableHeaders(raw=list(head.headers.raw))
    if part == NOTHING:
        for name in {name for name in headers if name.startswith("content-")} - _STILL_TRUE:
            del headers[name]
        return Head(_NOT_MODIFIED, headers, head.method)
    headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    headers["content-length"] = str(part.stop - part.start)
    return Head(_PARTIAL, headers, head.method)


def _unmet(asked: Mapping[str, str], etag: str, modified: str, *, reads: bool) -> int | None:
    """The status when a condition is not met, in the order of RFC 9110 §13.2.2."""
    if "if-match" in asked:
        if not _matches(asked["if-match"], etag, strongly=True):
            return _FAILED
    elif _is_newer(modified, asked.get("if-unmodified-since", "")):
        return _FAILED
    if "if-none-match" in asked:
        if _matches(asked["if-none-match"], etag, strongly=False):
            return _NOT_MODIFIED if reads else _FAILED
    elif reads and _is_newer(modified, asked.get("if-modified-since", "")) is False:
        return _NOT_MODIFIED
    return None


def _part(wanted: str, size: int) -> slice | None:
    """The bytes a `Range` asks for.

    Several ranges at once are answered by the whole, as RFC 9110 §14.2 allows: hardly a client asks for
    them, and many small overlapping ones are an attack.

    Raises:
        HTTPError: 416 when there are no such bytes.
    """
    found = _RANGE.fullmatch(wanted)
    if found is None:
        return None
    first, last = (_number(text) for text in found.groups())
    if first is None and last:
        return slice(max(0, size - last), size) if size else None
    if first is not None and last is not None and last < first:
        return None  # no range at all (RFC 9110 §14.1.1)
    if first is None or first >= size:
        raise HTTPError(416, f"there are {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return slice(first, size if last is None else min(last + 1, size))


def _matches(header: str, etag: str, *, strongly: bool) -> bool:
    """RFC 9110 §8.8.3.2; the star matches whatever there is."""
    if header.strip() == "*":
        return True
    if not etag or (strongly and etag.startswith("W/")):
        return False
    tags = _TAGS.findall(header)
    return etag in tags if strongly else etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}


def _is_newer(modified: str, since: str) -> bool | None:
    """Whether something was changed since then; None when either time is not known."""
    changed, then = _seconds(modified), _seconds(since)
    return None if changed is None or then is None else changed > then


def _is_same(validator: str | None, etag: str, modified: str) -> bool:
    """`If-Range`: whether the client's other parts are of this very body, by a strong validator."""
    if validator is None:
        return True
    if _TAGS.fullmatch(validator):
        return validator == etag and not etag.startswith("W/")
    changed = _seconds(modified)
    # A time stamp has seconds only: one of this very second may yet become that of other bytes (§8.8.2.2).
    return validator == modified and changed is not None and changed < time.time() - 1


def _seconds(date: str) -> float | None:
    if not date:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number(text: str) -> int | None:
    """A number of bytes; a longer one is beyond every body just as well."""
    return int(text.lstrip("0")[:_MOST_DIGITS] or 0) if text else None


_WHOLE: Final = 200
_PARTIAL: Final = 206
_FAILED: Final = 412
_NOT_MODIFIED: Final = 304
_READING: Final = frozenset({"GET", "HEAD"})
_STILL_TRUE: Final = frozenset({"content-location", "content-language"})
_MOST_DIGITS: Final = 19
_RANGE: Final = re.compile(r"(?i:bytes)[ \t]*=[ \t]*(?!-[ \t]*$)([0-9]*)-([0-9]*)[ \t]*", re.ASCII)
_TAGS: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
