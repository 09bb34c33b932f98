"""Text, a line an item: for logs, lists, and whoever reads with `curl`, `grep` or a loop over lines.

An item is one line and nothing else, so that whoever counts lines has counted items and no item can pass
for two. A line end at the end of an item is its own and is not doubled (`yield from file` works); one
inside is refused. An author who means several lines yields them one by one, or writes `raw`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from millstream.codecs.base import Codec, text_encoder
from millstream.protocol.columns import Column


class Text(Codec):
    """A line of text an item, ended by LF."""

    name: ClassVar[str] = "text"
    media_type: ClassVar[str] = "text/plain"
    extensions: ClassVar[tuple[str, ...]] = ("txt",)
    takes: ClassVar[str] = "str, one line each"

    def __init__(self, *, action: str, charset: str) -> None:
        super().__init__(action=action, charset=charset)
        self._encode = text_encoder(charset)

    def declare(self, columns: tuple[Column, ...], /) -> None:
        """Lines are no rows.

        Raises:
            WrongItem: always, where there are columns.
        """
        if columns:
            raise self.refusal(columns, "it has columns")

    def item(self, item: Any, /) -> bytes:
        """One line, whatever is in it."""
        if not isinstance(item, str):
            item = self._text_of(item)
        line = item.removesuffix("\n").removesuffix("\r")
        if "\n" in line or "\r" in line:
            raise self.refusal(item, "it has a line end inside")
        try:
            return self._encode(line + "\n")
        except ValueError as error:  # not in the charset
            raise self.refusal(item, error) from error

    def _text_of(self, item: Any) -> str:
        """The text that an adapter makes of an object.

        Raises:
            WrongItem: when it is no text.
        """
        adapter = self.values.adapters[type(item)]
        text = adapter.read(item) if adapter.is_own else None
        if not isinstance(text, str):
            raise self.refusal(item)
        return text
