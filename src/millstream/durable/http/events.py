"""A page as server-sent events (WHATWG HTML §9.2): a `data` event, if there is data, then a `control` event.

Text and JSON travel as they are, anything else as base64. The data event has the next offset for its id,
so that a plain `EventSource` resumes exactly: what it saw last is where it goes on.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from millstream.durable.http.json_mode import body_of
from millstream.durable.pages import Page
from millstream.durable.state import media_type

KEEP_ALIVE: Final = b":\n\n"
"""A comment: a sign of life."""


class Frame:
    """One page as two events: encoded once, for all its readers.

    Args:
        page: what it shows.
        cursor: the interval of this time, which most readers get.
        offset: at which the page was read.

    Attributes:
        offset: the same.
        next_offset: where to read on.
        start: the position it follows.
        end: the position after it.
        closed: whether it is the last.
        body: what a reader without events is given.
    """

    __slots__ = (
        "_cursor",
        "_data",
        "_page",
        "body",
        "closed",
        "end",
        "event",
        "next_offset",
        "offset",
        "start",
    )

    def __init__(self, page: Page, cursor: int, offset: str = "") -> None:
        state = page.state
        data = body_of(page.messages) if state.json else b"".join(page.messages)
        held = 0 if page.closed or not is_text(state.content_type) else unfinished(data)
        self._page = page
        self._cursor = cursor
        self.start = page.start
        self.end = page.end - held
        self.offset = offset
        self.next_offset = page.offset_at(self.end)
        self.closed = page.closed
        self.body = data[: len(data) - held] if held else data
        self._data = self._data_event() if self.moved else b""
        self.event = self._data + self._control(cursor)

    @property
    def moved(self) -> bool:
        """Whether there is data in it."""
        return self.end > self.start

    @property
    def page(self) -> Page:
        """What it was made of."""
        return self._page

    def event_for(self, cursor: int) -> bytes:
        """The events for a reader whose cursor has gone ahead of the time."""
        return self.event if cursor <= self._cursor else self._data + self._control(cursor)

    def _data_event(self) -> bytes:
        state = self._page.state
        plain = state.json or is_text(state.content_type)
        data = lines(self.body) if plain else base64.b64encode(self.body)
        return b"event: data\ndata:%b\nid: %b\n\n" % (data, self.next_offset.encode())

    def _control(self, cursor: int) -> bytes:
        """JSON by hand: nothing in it needs escaping."""
        fields = f'"streamNextOffset":"{self.next_offset}"'
        if not self.closed:
            fields += f',"streamCursor":"{cursor}"'
        if self._page.up_to_date:
            fields += ',"upToDate":true'
        if self.closed:
            fields += ',"streamClosed":true'
        if self.closed and self._page.state.failed:
            fields += ',"streamFailed":true'
        return f"event: control\ndata:{{{fields}}}\n\n".encode()


def is_text(content_type: str) -> bool:
    """Whether a stream's bytes can travel in events as they are, JSON aside."""
    return media_type(content_type).startswith("text/")


def lines(data: bytes) -> bytes:
    """Data as lines of an event, after the first `data:`.

    Every kind of line end begins a new line, which none but an event's own fields could do otherwise; a
    blank at a line's beginning is doubled, for a reader takes one away.
    """
    if _CR in data:
        data = _LINE_END.sub(b"\n", data)
    if _BLANK in data:
        data = _FIRST_BLANK.sub(b"  ", data)
    return data.replace(b"\n", b"\ndata:") if _LF in data else data


def unfinished(data: bytes) -> int:
    """How many bytes at the end of a text are the beginning of a character whose rest is still to come."""
    for back in range(1, min(_LONGEST, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # noqa: PLR2004  no continuation byte (RFC 3629 §3)
            needed = next((length for first, length in _LENGTHS if byte >= first), 1)
            return back if needed > back else 0
    return 0


_LONGEST: Final = 4  # bytes of a character
_LENGTHS: Final = ((0xF8, 1), (0xF0, 4), (0xE0, 3), (0xC0, 2))
"""How long a character is that begins with such a byte or a greater one; one byte, if it is no beginning."""
_LF: Final = b"\n"
_CR: Final = b"\r"
_BLANK: Final = b" "
_LINE_END: Final = re.compile(rb"\r\n|\r")
_FIRST_BLANK: Final = re.compile(rb"^ ", re.MULTILINE)
