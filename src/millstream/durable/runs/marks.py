"""Marks: the ids that make an event stream one a bare `EventSource` can come back to. Pure.

A run has one producer, so what it writes stands at known places, and each event can carry the place after
itself already in the log: every reader gets the same bytes. The author's own ids give way, since a client
repeats but one.
"""

from __future__ import annotations

import re
from typing import Final

from millstream.durable.runs.names import event_id
from millstream.durable.state import offset_at


class Marks:
    """The marks of one run.

    Args:
        run: its id.
        incarnation: of its stream.
    """

    __slots__ = ("_begun", "_incarnation", "_place", "_run")

    def __init__(self, run: str, incarnation: str) -> None:
        self._run = run
        self._incarnation = incarnation
        self._place = 0
        self._begun = b""  # an event whose end has not come yet

    def marked(self, data: bytes) -> bytes:
        """The events that have come to an end, each with its id, and the comments that stand before one."""
        *events, begun = (self._begun + data).split(_END)
        marked = [self._marked(event) for event in events]
        comments = _COMMENTS.match(begun)[0]  # type: ignore[index]  # it matches nothing, too
        self._place += len(comments)
        self._begun = begun[len(comments) :]
        return b"".join([*marked, comments])

    def rest(self) -> bytes:
        """What never came to an end."""
        rest, self._begun = self._begun, b""
        self._place += len(rest)
        return rest

    def _marked(self, event: bytes) -> bytes:
        if not _FIELDS.search(event):  # no event: a client that is less strict than a browser would see one
            self._place += len(event) + len(_END)
            return event + _END
        self._place += len(event) + _length(self._run)
        return event + _line(self._run, self._place, self._incarnation)


def mark_at(run: str, place: int, incarnation: str) -> bytes:
    """A mark by itself: moves who reads it to a place, and is no event (WHATWG HTML §9.2.6)."""
    return _line(run, place, incarnation).removeprefix(b"\n")


def _line(run: str, place: int, incarnation: str) -> bytes:
    return b"\nid: %b\n\n" % event_id(run, offset_at(place, incarnation))


def _length(run: str) -> int:
    return len(_line(run, 0, "0" * 16))


_END: Final = b"\n\n"
_COMMENTS: Final = re.compile(rb"(?::[^\n]*\n)*")
_FIELDS: Final = re.compile(rb"^(?:data|id)(?::|$)", re.MULTILINE)
"""An id by itself counts: a client repeats the last one."""
