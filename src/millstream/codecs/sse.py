"""Server-sent events (WHATWG HTML §9.2): what a browser's `EventSource` reads.

An item is an `Event`, a text (the event's data as it is), or any object (the data as JSON). The stream
ends with an `end` event, because `EventSource` takes every end for an accident and connects again unless
the page closes it; `error` and `goodbye` events tell the other ways out. Most pages do not close it, so
the id of the `end` event is reserved: a client that comes back with it has seen all, and is answered 204,
after which no `EventSource` comes again.

The options `end` and `error` are for protocols whose events are somebody else's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from millstream.codecs.objects import UNWRITABLE, ObjectCodec
from millstream.codecs.values import last_words
from millstream.errors import ConfigurationError, WrongItem
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


def _check_field(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"the {name} of an Event is {value!r}: it must be {expected}")
    if isinstance(value, str) and _FORGING.search(value):
        raise ValueError(
            f"the {name} of an Event is {value!r}: it must not contain CR, LF, NUL or lone surrogates"
        )


_FORGING: Final = re.compile("[\r\n\0\ud800-\udfff]")


def error_event(problem: Mapping[str, Any]) -> Event:
    """The event of a failure, unless the option `error` makes another."""
    return Event(problem, event="error")


COMPLETED: Final = Event({"reason": "completed"}, event="end")
"""The last event, unless the option `end` names another."""

END_ID: Final = "end"
"""The id of the last event, whichever it is; no other event can have it."""

_LOG: Final = logging.getLogger("millstream")


class Sse(ObjectCodec):
    """An event an item; the head hardly waits for the first, so that the client knows it is connected.

    Args:
        action: the action whose items these are.
        charset: not asked: an event stream is always UTF-8.
        retry: milliseconds after which clients come back when the process was shut down.
        end: the last event of a stream that ended well, or its data, such as `"[DONE]"`. With None there is
            no such event, and no id by which a client could be known to have seen all.
        error: makes the last event of a stream that failed, or its data, from the problem document
            (RFC 9457); one that was ended early has the member `reason`. None: such a stream is broken off
            without a word.
        error_ends: whether that event is the visible end of a body, which is then not broken off: for
            clients that drop what they were sent when their connection fails, and know the event.

    Raises:
        ConfigurationError: when `retry` is negative, `end` is no event, or has an id, `error` cannot be
            called, or there is none that could end the body.
    """

    name: ClassVar[str] = "sse"
    media_type: ClassVar[str] = "text/event-stream"
    extensions: ClassVar[tuple[str, ...]] = ("sse",)
    head_first: bool = True
    # A comment is a line, complete by itself (WHATWG HTML §9.2.6). An empty line behind it would be an event
    # without data to libraries that are less strict than a browser.
    keep_alive: bytes = b": keep-alive\n"

    def __init__(
        self,
        *,
        action: str,
        charset: str,  # noqa: ARG002  see above
        retry: int = 1000,
        end: Event | str | None = COMPLETED,
        error: Callable[[Mapping[str, Any]], Any] | None = error_event,
        error_ends: bool = False,
    ) -> None:
        super().__init__(action=action, charset="utf-8")
        if retry < 0:
            raise self._wrong("retry", retry, "it must not be negative")
        if end is not None and not isinstance(end, Event | str):
            raise self._wrong("end", end, "it must be an Event, text or None")
        if isinstance(end, Event) and end.id is not None:
            raise self._wrong("end", end, "it must have no id: the id of the last event is reserved")
        if error is not None and not callable(error):
            raise self._wrong("error", error, "it must be a function of the problem, or None")
        if error_ends and error is None:
            raise self._wrong("error_ends", error_ends, "there is no event that could end the body")
        self.failure_ends = error_ends
        self._retry = retry
        self._end = end
        self._error = error
        self._last_id: bytes | None = None
        self.end_id = None if end is None else END_ID

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """See `Codec`; the last event is tried, too."""
        super().check_options(options)
        try:
            cls(action="", charset="utf-8", **options).tail()
        except WrongItem as refused:
            raise cls._wrong("end", options.get("end"), refused.expected) from refused

    def head(self) -> bytes:
        """A comment: some servers and proxies hold a head back until the first byte of the body."""
        return b": open\n"

    def item(self, item: Any, /) -> bytes:
        """One event, whatever is in it."""
        if isinstance(item, Event):
            return self._fields(item) + self._data(item.data, item)
        return self._data(item, item)

    def tail(self) -> bytes:
        """The last event, on which a page closes its `EventSource`."""
        if self._end is None:
            return b""
        event = self._end if isinstance(self._end, Event) else Event(self._end)
        identity = b"" if self.end_id is None else b"id: %b\n" % self.end_id.encode()
        return identity + self._fields(event) + self._data(event.data, event)

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """An `error` event with the problem document (RFC 9457), or the author's own."""
        identity = b"id: %b\n" % END_ID.encode() if self.failure_ends and self.end_id else b""
        if self._error is error_event:
            return b"%bevent: error\ndata: %b\n\n" % (identity, last_words(problem))
        told = self._told(problem)
        return identity + told if told else b""

    def goodbye(self, reason: Reason, /) -> bytes:
        """A `goodbye` event; at a shutdown it says when to come back, and with which id."""
        if self._error is not error_event:
            return self._told({**_ENDED_EARLY, "reason": str(reason)})
        fields = b""
        if reason is Reason.SHUTDOWN:
            fields = b"retry: %d\n" % self._retry
            if self._last_id is not None:
                fields += b"id: %b\n" % self._last_id
        return b"event: goodbye\n%bdata: %b\n\n" % (fields, last_words({"reason": str(reason)}))

    def _told(self, problem: Mapping[str, Any]) -> bytes:
        """The author's own event of a failure."""
        if self._error is None:
            return b""
        try:
            return self.item(self._error(dict(problem)))
        except Exception:  # noqa: BLE001  the failure before this one is what ends the stream
            _LOG.exception("%s: the option 'error' of the codec %r failed", self.action, self.name)
            return b""

    def _fields(self, event: Event) -> bytes:
        """The lines before the data."""
        lines = b""
        if event.event:
            lines = b"event: %b\n" % event.event.encode()
        if event.id is not None:
            identity = str(event.id)
            if identity.strip(" \t") == self.end_id:  # as a header will have it
                raise self.refusal(event, f"its id {END_ID!r} is that of the last event: choose another")
            self._last_id = identity.encode()
            lines += b"id: %b\n" % self._last_id
        if event.retry is not None:
            lines += b"retry: %d\n" % event.retry
        return lines

    def _data(self, data: Any, item: Any) -> bytes:
        """The lines of the data and the empty one that ends the event."""
        try:
            if isinstance(data, str):
                payload = data.encode()
            else:  # what an event holds stays one event
                payload = self.encode(data) if data is item else self._json(data)
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error
        if _LF in payload or _CR in payload:
            payload = _LINE_END.sub(b"\ndata: ", payload)
        return b"data: %b\n\n" % payload

    @classmethod
    def _wrong(cls, option: str, value: object, why: str) -> ConfigurationError:
        return ConfigurationError(f"the option {option!r} of the codec {cls.name!r} is {value!r}: {why}")


_ENDED_EARLY: Final = {"type": "about:blank", "title": "The stream was ended early", "status": 503}
_LF: Final = 0x0A
_CR: Final = 0x0D
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")  # and nothing else: U+2028, form feeds and their like are text
