"""Server-sent events as a browser reads them (HTML Living Standard §9.2.6), independent of our own codec."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event that a browser would have dispatched."""

    data: str
    event: str = "message"
    id: str = ""  # the last id seen, in this event or an earlier one


class EventReader:
    """An incremental parser: bytes in, events out.

    A browser would reconnect with `last_id`, after `retry` milliseconds (None while the server named none).
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_return = False  # a line ended with CR: an LF that follows belongs to it
        self._data: list[str] = []
        self._event = ""

    def feed(self, chunk: bytes) -> list[ReceivedEvent]:
        """Take in the next bytes and return the events they complete."""
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._after_return and text[0] == "\n":
            text = text[1:]
        self._after_return = (text[-1] == "\r") if text else False
        *lines, self._line = (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: str) -> ReceivedEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)
            case _:
                pass  # a comment, or a field nobody knows
        return None

    def _dispatch(self) -> ReceivedEvent | None:
        data, event = self._data, self._event
        self._data, self._event = [], ""
        return ReceivedEvent("\n".join(data), event or "message", self.last_id) if data else None
