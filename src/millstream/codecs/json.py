"""JSON (RFC 8259): a stream is an array that is written while it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from millstream.codecs.objects import ObjectCodec
from millstream.protocol.columns import Column
from millstream.protocol.dialects import JsonLines


class Json(ObjectCodec):
    """A JSON array, one item after the other; a document of its own when the action returned one object.

    The array is left open on purpose when the stream does not end well: whoever parses the body fails
    instead of taking half of it for the whole. There is no error record: it would have to be an item.
    """

    name: ClassVar[str] = "json"
    media_type: ClassVar[str] = "application/json"
    extensions: ClassVar[tuple[str, ...]] = ("json",)
    keep_alive: bytes = b"\n"  # white space between two tokens (RFC 8259 §2)

    def __init__(self, *, action: str, charset: str, fields: Sequence[str] | None = None) -> None:
        super().__init__(action=action, charset=charset, fields=fields)
        self._separator = b""

    def head(self) -> bytes:
        """The array opens."""
        return b"["

    def item(self, item: Any, /) -> bytes:
        """The comma goes before an item: nobody knows yet whether another follows."""
        data = self._separator + self.encode(item)
        self._separator = _COMMA
        return data

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Batches, with the comma between all their objects."""
        lines, one_by_one = self.lines(columns), super().rows(columns)

        def encode(batch: Sequence[Sequence[Any]]) -> bytes:
            data = lines(batch)
            if data is None:
                return one_by_one(batch)
            if not data:
                return b""
            opening, self._separator = self._separator, _COMMA
            return opening + data[:-1].replace(b"\n", _COMMA)  # inside texts a line feed is an escape

        return encode

    def dialect(self, columns: tuple[Column, ...], /) -> JsonLines:
        """Each object with a comma behind it."""
        self.distinct_names(columns)
        return JsonLines(end=_COMMA, cells=self.written_cells)

    def framed(self, written: bytes, /) -> bytes:
        """The comma behind the last object goes before the next."""
        if not written:
            return b""
        opening, self._separator = self._separator, _COMMA
        return opening + written[: -len(_COMMA)]

    def tail(self) -> bytes:
        """The array closes; said by nothing else."""
        return b"]"

    def document(self, item: Any, /) -> bytes:
        """The JSON text itself, without an array around it."""
        return self.encode(self.values.known(item))


_COMMA: Final = b",\n"
