"""Offsets: what a reader remembers of its place, opaque to it.

`0000000000000123_9f86d081884c7d65`: a position, then the incarnation it belongs to. They sort as their
positions do. The incarnation of a fork's ancestor is accepted for what the fork has of it; any other one
means that the stream was deleted and made anew, and that going on would skip or repeat records.
"""

from __future__ import annotations

import re
from typing import Final

from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import State

START: Final = "-1"
"""The start of any stream."""

NOW: Final = "now"
"""The tail of any stream, whatever it is when it is asked for."""


def position_of(offset: str, state: State) -> int:
    """The position that an offset names in a stream.

    Raises:
        BadOffset: when it is no offset.
        OffsetGone: when what it names was trimmed, is another stream's, or was lost.
    """
    if offset == START:
        return state.start
    if offset == NOW:
        return state.tail
    shape = _SHAPE.fullmatch(offset)
    if shape is None:
        raise BadOffset(offset, "it is none that was given out")
    position, incarnation = int(shape[1]), shape[2]
    if position == 0 and incarnation == NO_INCARNATION:
        return state.start
    if not state.start <= position <= _held(state, incarnation):
        raise OffsetGone(state.name, offset)
    return position


def _held(state: State, incarnation: str) -> int:
    """How far the stream has what that incarnation has; -1 when it knows nothing of it."""
    if incarnation == state.incarnation:
        return state.tail
    for piece in state.lineage:
        if piece.incarnation == incarnation:
            return piece.end
    return -1


NO_INCARNATION: Final = "0" * 16
"""With position 0 it names the start of any stream, which some clients write so; no stream has it."""

_SHAPE: Final = re.compile(r"([0-9]{16})_([0-9a-f]{16})")
