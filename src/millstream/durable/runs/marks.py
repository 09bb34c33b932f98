"""Marks: the ids that make an event stream one a bare `EventSource` can come back to. Pure.

A run has one producer, so what it writes stands at known places, and each event can carry the place after
itself already in the log: every reader gets the same bytes. The author's own ids give way, since a client
repeats but one. All line ends become LF, which means the same (WHATWG HTML §9.2.6).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from millstream.durable.runs.names import event_id
from millstream.durable.state import offset_at


class Marks:
    """The marks of one run.

    Args:
        run: its id.
        offset_at: the offset of a place in its stream.
    """

    __slots__ = ("_after_cr", "_begun", "_offset_at", "_place", "_run")

    def __init__(self, run: str, offset_at: Callable[[int], str]) -> None:
        self._run = run
        self._offset_at = offset_at
        self._place = 0
        self._begun = b""  # an event whose end has not come yet
        self._after_cr = False

    def marked(self, data: bytes) -> bytes:
        """The events that have come to an end, each with its id, and the comments that stand before one."""
        if self._after_cr or b"\r" in data:
            data = self._in_lines(data)
        *events, begun = (self._begun + data).split(_END)
        marked = [self._marked(event) for event in events]
        comments = _COMMENTS.match(begun)[0]  # type: ignore[index]  # it matches nothing, too
        self._place += len(comments)
        self._begun = begun[len(comments) :]
        return b"".join([*marked, comments])

    def rest(self) -> bytes:
        """What never came to an end; data among it is an event to many clients, and so gets an id."""
        rest, self._begun = self._begun, b""
        return self._marked(rest.removesuffix(b"\n")) if _FIELDS.search(rest) else rest

    def _in_lines(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):  # a CR LF that came in two pieces
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return _LINE_END.sub(b"\n", data)

    def _marked(self, event: bytes) -> bytes:
        if not _FIELDS.search(event):  # no event: a client that is less strict than a browser would see one
            self._place += len(event) + len(_END)
            return event + _END
        self._place += len(event) + _length(self._run)
        return event + _line(self._run, self._offset_at(self._place))


def last(run: str, words: bytes) -> bytes:
    """The event that a failed run ends with, whose place is not known before; its id names the run's end."""
    if not words.endswith(_END):
        return words
    return b"%bid: %b\n\n" % (words.removesuffix(b"\n"), event_id(run, THE_END))


def _line(run: str, offset: str) -> bytes:
    return b"\nid: %b\n\n" % event_id(run, offset)


def _length(run: str) -> int:
    return len(_line(run, offset_at(0, "0" * 16)))


THE_END: Final = "end"
"""In place of an offset: the end of a run, wherever that is."""

_END: Final = b"\n\n"
_LINE_END: Final = re.compile(rb"\r\n|\r")
_COMMENTS: Final = re.compile(rb"(?::[^\n]*\n)*")
_FIELDS: Final = re.compile(rb"^(?:data|id)(?::|$)", re.MULTILINE)
"""An id by itself counts: a client repeats the last one."""
