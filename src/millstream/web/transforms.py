"""Transforms that come with the house: HTML injected into a page while it passes."""

from __future__ import annotations

from typing import Final

from millstream.protocol.ports import ChunkTransform, Head, Transform


def inject_html(snippet: str, *, before: str = "</body>") -> Transform:
    """A transform that puts HTML into every `text/html` body, streamed or whole, and touches no other.

    Args:
        snippet: the HTML, encoded as the page is.
        before: the tag it is put before, in any case; where a page has none, it comes at the end.
    """

    def make(head: Head) -> ChunkTransform | None:
        if head.content_type != "text/html" or "content-encoding" in head.headers:
            return None
        if "content-length" in head.headers:
            del head.headers["content-length"]
        parameter = head.headers["content-type"].lower().partition("charset=")[2]
        charset = parameter.partition(";")[0].strip('" ') or "utf-8"
        return _Injection(snippet.encode(charset, "xmlcharrefreplace"), before.encode(charset).lower())

    return make


class _Injection:
    """One page passing by. It holds back only bytes that may be the beginning of the tag it looks for."""

    def __init__(self, snippet: bytes, tag: bytes) -> None:
        self._snippet = snippet
        self._tag = tag
        self._held = b""
        self._done = False

    def chunk(self, data: bytes, /) -> bytes:
        """See `ChunkTransform`."""
        if self._done:
            return data
        data, self._held = self._held + data, b""
        found = data.lower().find(self._tag)
        if found >= 0:
            self._done = True
            return data[:found] + self._snippet + data[found:]
        kept = self._beginning_of_tag(data)
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept]

    def end(self) -> bytes:
        """See `ChunkTransform`."""
        rest = self._held if self._done else self._held + self._snippet
        self._done, self._held = True, b""
        return rest

    def _beginning_of_tag(self, data: bytes) -> int:
        end = data[-_LONGEST_TAG:].lower()
        lengths = range(min(len(self._tag) - 1, len(end)), 0, -1)
        return next((length for length in lengths if end.endswith(self._tag[:length])), 0)


_LONGEST_TAG: Final = 256
