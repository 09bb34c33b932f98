"""Text and bytes as they are: the format of an action that writes its body by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from millstream.codecs.base import Codec, text_encoder


class Raw(Codec):
    """`str` in the charset of the stream, buffers as they are."""

    name: ClassVar[str] = "raw"
    media_type: ClassVar[str] = "application/octet-stream"  # where neither author nor action says more
    takes: ClassVar[str] = "str, bytes, bytearray or memoryview"

    def __init__(self, *, action: str, charset: str) -> None:
        super().__init__(action=action, charset=charset)
        self._encode = text_encoder(charset)

    def item(self, item: Any, /) -> bytes:
        """Bytes pass as they are, text is encoded."""
        if type(item) is bytes:
            return item
        try:
            if isinstance(item, str):
                return self._encode(item)
            if isinstance(item, bytes | bytearray | memoryview):
                return bytes(item)  # a copy: the producer may fill its buffer anew before this one is sent
        except ValueError as error:  # not in the charset; a memoryview that was released
            raise self.refusal(item, error) from error
        raise self.refusal(item)
