"""Bodies inside a body: what a member of an archive or a part of a message may consist of.

Bytes and text, the path of a file, an open file, or any iterable of bytes and text, asynchronous ones too.
All are pulled in chunks; whoever pulls also closes them, an open file included.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from os import PathLike
from pathlib import Path
from typing import IO, Any, Final

from millstream.protocol.ports import Nested

BLOCK: Final = 64 * 1024
"""Bytes that are read or encoded at once: about a millisecond of compression."""

Buffer = bytes | bytearray | memoryview
Body = str | Buffer | PathLike[str] | IO[Any] | Iterable[Any] | AsyncIterable[Any]
"""What an author gives; iterables yield `str` and buffers."""

IN_WORDS: Final = "str, bytes, a path, an open file, or an iterable of str and bytes"


def producer_of(body: object) -> Iterable[Any] | AsyncIterable[Any] | None:
    """What yields the chunks of a body; None when it is none."""
    if isinstance(body, str | Buffer):
        return (body,)
    if isinstance(body, Mapping):  # its keys would be taken for text
        return None
    if isinstance(body, PathLike):
        return FileBlocks(lambda: Path(body).open("rb"))
    if callable(getattr(body, "read", None)) and isinstance(body, Iterable):  # by blocks, not by lines
        return FileBlocks(lambda: body, body)
    return body if isinstance(body, Iterable | AsyncIterable) else None


class FileBlocks:
    """A file, block by block; it is opened by whoever begins to pull."""

    def __init__(self, opened: Callable[[], Any], file: Any = None) -> None:
        self._opened = opened
        self._file = file

    def __iter__(self) -> Iterator[Any]:
        self._file = self._opened()
        while block := self._file.read(BLOCK):
            yield block

    def close(self) -> None:
        """Close the file, if it was ever open."""
        if self._file is not None:
            self._file.close()


def slices(data: Buffer) -> Iterator[Buffer]:
    """Cut what is long, so that no step takes long."""
    view = memoryview(data)
    if not view.c_contiguous or view.itemsize != 1 or view.ndim != 1:
        view = memoryview(view.tobytes())
    for start in range(0, len(view), BLOCK):
        yield view[start : start + BLOCK]


def buffer_of(chunk: object, encode: Callable[[str], bytes]) -> Buffer | None:
    """One chunk of a body as bytes; None when it is none.

    Raises:
        ValueError: when text is not in the charset.
    """
    if isinstance(chunk, str):
        return encode(chunk)
    return chunk if isinstance(chunk, Buffer) else None


def whole(nested: Nested) -> bytes | None:
    """All of it at once, for whoever asks for that; None when it is asynchronous."""
    producer = nested.producer
    if not isinstance(producer, Iterable):
        return None
    closes: Any = producer if hasattr(producer, "close") else None
    with closing(closes) if closes is not None else nullcontext():
        pieces = [nested.head()]
        for chunk in producer:
            pieces += nested.pieces(chunk)
    return b"".join([*pieces, nested.tail()])
