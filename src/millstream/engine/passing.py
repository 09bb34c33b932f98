"""What bodies and items pass on their way: the application's hooks, chosen once a response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millstream.protocol.ports import ChunkTransform, Head, ItemHook, Transform


class Chain:
    """Several transforms, one after the other."""

    __slots__ = ("_links",)

    def __init__(self, links: Sequence[ChunkTransform]) -> None:
        self._links = links

    def chunk(self, data: bytes, /) -> bytes:
        """See `ChunkTransform`."""
        for link in self._links:
            data = link.chunk(data)
        return data

    def end(self) -> bytes:
        """See `ChunkTransform`: what one link held back still passes the links behind it."""
        rest = b""
        for link in self._links:
            rest = (link.chunk(rest) if rest else b"") + link.end()
        return rest


def passing_for(head: Head, transforms: Sequence[Transform]) -> ChunkTransform | None:
    """The transforms that want to see a body, as one; None when none does."""
    links = [link for transform in transforms if (link := transform(head)) is not None]
    return Chain(links) if len(links) > 1 else next(iter(links), None)


def hooked(encode: Callable[[Any], bytes], hooks: Sequence[ItemHook]) -> Callable[[Any], bytes]:
    """The codec's `item` behind the hooks on items."""
    if not hooks:
        return encode

    def encode_hooked(item: Any) -> bytes:
        for hook in hooks:
            item = hook(item)
        return encode(item)

    return encode_hooked
