"""What bodies and items pass on their way: the application's hooks, and the length that a head declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from millstream.errors import WrongLength
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


class DeclaredLength:
    """The length of a body that its head declares: a client with so many bytes has the whole body.

    The last of these bytes is held back until `end`, which is called after the commit; a head that declares
    no bytes has to be held back by the caller. A body of another length is refused as soon as it is known to
    be one, and before the commit.

    Args:
        action: whose body it is.
        declared: the bytes it has to have.
        by: what declares them.
    """

    __slots__ = ("_action", "_by", "_came", "_declared", "_held", "is_of_body")

    def __init__(self, action: str, declared: int, by: str) -> None:
        self._action = action
        self._declared = declared
        self._by = by
        self._came = 0
        self._held = b""
        self.is_of_body = by == _LENGTH  # if not, the response has no body, nor what a format puts around one

    def chunk(self, data: bytes, /) -> bytes:
        """See `ChunkTransform`.

        Raises:
            WrongLength: when more came than was declared.
        """
        self.require_room(len(data))
        self._came += len(data)
        if data and self._came == self._declared:
            data, self._held = data[:-1], data[-1:]
        return data

    def end(self) -> bytes:
        """See `ChunkTransform`."""
        return self._held

    @property
    def is_nothing(self) -> bool:
        """Whether a client has the whole body with the head."""
        return not self._declared

    def require_room(self, more: int) -> None:
        """See whether so many bytes may follow.

        Raises:
            WrongLength: when the body would become too long.
        """
        if self._came + more > self._declared:
            raise self._wrong(self._came + more)

    def require_met(self, more: int) -> None:
        """See whether the body is as long as declared, with the bytes that end it.

        Raises:
            WrongLength: when it is not.
        """
        if self._came + more != self._declared:
            raise self._wrong(self._came + more)

    def _wrong(self, size: int) -> WrongLength:
        return WrongLength(action=self._action, declared=self._declared, by=self._by, size=size)


def declared_length(head: Head, action: str) -> DeclaredLength | None:
    """The length that a head declares; None when the end of the body says how long it is."""
    if not head.describes_body:
        return DeclaredLength(action, 0, f"the status {head.status}")
    said = head.headers.get("content-length")
    return None if said is None else DeclaredLength(action, int(said), _LENGTH)


def passing_for(head: Head, transforms: Sequence[Transform]) -> ChunkTransform | None:
    """The transforms that want to see a body, as one; None when none does.

    A body that passes one may be longer or shorter after it: the head does not declare its length any more.
    """
    links = [link for transform in transforms if (link := transform(head)) is not None]
    if links and "content-length" in head.headers:
        del head.headers["content-length"]
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


_LENGTH: Final = "Content-Length"
