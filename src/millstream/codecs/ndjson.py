"""NDJSON: one JSON text a line, so that a reader can act on each before the next is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from millstream.codecs.objects import ObjectCodec
from millstream.codecs.values import last_words
from millstream.protocol.columns import Column
from millstream.protocol.dialects import JsonLines
from millstream.protocol.events import Reason


class Ndjson(ObjectCodec):
    """A line an item; the last one is `{"error": …}` of a failed stream, `{"goodbye": …}` of one we ended."""

    name: ClassVar[str] = "ndjson"
    media_type: ClassVar[str] = "application/x-ndjson"
    extensions: ClassVar[tuple[str, ...]] = ("ndjson", "jsonl")
    keep_alive: bytes = b"\n"

    def item(self, item: Any, /) -> bytes:
        """One line, whatever is in it."""
        line = self.encode(item)
        if _LF in line:  # only out of a `msgspec.Raw`, and only as white space between tokens
            line = line.replace(b"\n", b" ")
        return line + b"\n"

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Batches, a line a row."""
        lines, one_by_one = self.lines(columns), super().rows(columns)

        def encode(batch: Sequence[Sequence[Any]]) -> bytes:
            data = lines(batch)
            return one_by_one(batch) if data is None else data

        return encode

    def dialect(self, columns: tuple[Column, ...], /) -> JsonLines:
        """The lines themselves."""
        self.distinct_names(columns)
        return JsonLines(cells=self.written_cells)

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """The problem document (RFC 9457) as the member `error`."""
        return b'{"error":%b}\n' % last_words(problem)

    def goodbye(self, reason: Reason, /) -> bytes:
        """The reason, in the member `goodbye`."""
        return b'{"goodbye":%b}\n' % last_words({"reason": str(reason)})


_LF = 0x0A
