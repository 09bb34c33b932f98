"""Text and bytes as they are: the format of an action that writes its body by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from millstream.codecs.base import Codec, charset_label, text_encoder
from millstream.web.mediatypes import parameter_of


class Raw(Codec):
    """`str` in the charset of the stream, buffers as they are.

    Attributes:
        said: returns the content type that the action has set for its response by now; asked at the first
            text, whose charset it may name.
    """

    name: ClassVar[str] = "raw"
    media_type: ClassVar[str] = "application/octet-stream"  # where neither author nor action says more
    takes: ClassVar[str] = "str, bytes, bytearray or memoryview"

    def __init__(self, *, action: str, charset: str) -> None:
        super().__init__(action=action, charset=charset)
        self._text_charset = charset
        self.said: Callable[[], str | None] | None = None

    def typed(self, content_type: str) -> str:
        """As of any codec, once there is text: of bytes, only their author knows the charset."""
        has_text = "_encode" in vars(self)
        return super().typed(content_type) if has_text else content_type

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

    def _encode(self, text: str) -> bytes:
        """Encode the first text; then this stream's own encoder takes the place of this method."""
        said, self.said = self.said, None
        content_type = None if said is None else said()
        charset = None if content_type is None else parameter_of(content_type, "charset")
        if charset is not None:
            self._text_charset, self.charset = charset, charset_label(charset)
        self._encode = text_encoder(self._text_charset)  # type: ignore[assignment,method-assign]
        return self._encode(text)
