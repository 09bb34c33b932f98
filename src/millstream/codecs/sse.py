"""Server-sent events (WHATWG HTML §9.2): what a browser's `EventSource` reads.

An item is an `Event`, a text (the event's data as it is), or any object (the data as JSON). The stream
ends with an `end` event, because `EventSource` takes every end for an accident and connects again unless
the page closes it; `error` and `goodbye` events tell the other ways out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from millstream.codecs.objects import ObjectCodec
from millstream.codecs.values import last_words
from millstream.errors import ConfigurationError
from millstream.protocol.events import Reason


class Event(msgspec.Struct, frozen=True):
    """One event.

    Raises:
        TypeError: when `event`, `id` or `retry` is of the wrong type.
        ValueError: when `event` or `id` contains CR, LF or NUL, which would forge or void a field, or a
            lone surrogate; when `retry` is negative.
    """

    data: Any  # text is sent as it is, anything else as JSON
    event: str | None = None  # the name that listeners listen to; "message" when there is none
    id: str | int | UUID | None = None  # what a client that comes back says it has seen last
    retry: int | None = None  # milliseconds after which a client comes back

    def __post_init__(self) -> None:
        if self.event is not None:
            _check_field("event", self.event, str)
        if self.id is not None:
            _check_field("id", self.id, str, int, UUID)
        if self.retry is not None:
            _check_field("retry", self.retry, int)
            if self.retry < 0:
                raise ValueError(f"the retry of an Event is {self.retry}: it must not be negative")


class Sse(ObjectCodec):
    """An event an item; the head hardly waits for the first, so that the client knows it is connected.

    Args:
        action: the action whose items these are.
        charset: not asked: an event stream is always UTF-8.
        retry: milliseconds after which clients come back when the process was shut down.

    Raises:
        ConfigurationError: when `retry` is negative.
    """

    name: ClassVar[str] = "sse"
    media_type: ClassVar[str] = "text/event-stream"
    extensions: ClassVar[tuple[str, ...]] = ("sse",)
    head_first: bool = True
    # A comment is a line, complete by itself (WHATWG HTML §9.2.6). An empty line behind it would be an event
    # without data to libraries that are less strict than a browser.
    keep_alive: bytes = b": keep-alive\n"

    def __init__(self, *, action: str, charset: str, retry: int = 1000) -> None:  # noqa: ARG002  see above
        super().__init__(action=action, charset="utf-8")
        if retry < 0:
            raise ConfigurationError(
                f"the option 'retry' of the codec 'sse' is {retry}: it must not be negative"
            )
        self._retry = retry
        self._last_id: bytes | None = None

    def head(self) -> bytes:
        """A comment: some servers and proxies hold a head back until the first byte of the body."""
        return b": open\n"

    def item(self, item: Any, /) -> bytes:
        """One event, whatever is in it."""
        if isinstance(item, Event):
            return self._fields(item) + self._data(item.data, item)
        return self._data(item, item)

    def tail(self) -> bytes:
        """The `end` event, on which a page closes its `EventSource`."""
        return b'event: end\ndata: {"reason":"completed"}\n\n'

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """An `error` event with the problem document (RFC 9457)."""
        return b"event: error\ndata: %b\n\n" % last_words(problem)

    def goodbye(self, reason: Reason, /) -> bytes:
        """A `goodbye` event; at a shutdown it says when to come back, and with which id."""
        fields = b""
        if reason is Reason.SHUTDOWN:
            fields = b"retry: %d\n" % self._retry
            if self._last_id is not None:
                fields += b"id: %b\n" % self._last_id
        return b"event: goodbye\n%bdata: %b\n\n" % (fields, last_words({"reason": str(reason)}))

    def _fields(self, event: Event) -> bytes:
        """The lines before the data."""
        lines = b""
        if event.event:
            lines = b"event: %b\n" % event.event.encode()
        if event.id is not None:
            self._last_id = str(event.id).encode()
            lines += b"id: %b\n" % self._last_id
        if event.retry is not None:
            lines += b"retry: %d\n" % event.retry
        return lines

    def _data(self, data: Any, item: Any) -> bytes:
        """The lines of the data and the empty one that ends the event."""
        try:
            payload = data.encode() if isinstance(data, str) else self.encode(data)
        except UnicodeEncodeError as error:
            raise self.refusal(item, error) from error
        if _LF in payload or _CR in payload:
            payload = _LINE_END.sub(b"\ndata: ", payload)
        return b"data: %b\n\n" % payload


def _check_field(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"the {name} of an Event is {value!r}: it must be {expected}")
    if isinstance(value, str) and _FORGING.search(value):
        raise ValueError(
            f"the {name} of an Event is {value!r}: it must not contain CR, LF, NUL or lone surrogates"
        )


_LF: Final = 0x0A
_CR: Final = 0x0D
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")  # and nothing else: U+2028, form feeds and their like are text
_FORGING: Final = re.compile("[\r\n\0\ud800-\udfff]")
