"""Offsets: what a reader remembers of its place, opaque to it.

`0000000000000123_9f86d081884c7d65`: a position, then the token of the byte before it, or the incarnation
where that token is 0. They sort as their positions do. An offset is good as long as the stream has that byte
from that append; then all that is before it is the same, too, in a fork as in its source. Any other offset
means that the stream was deleted and made anew, or that its database was restored to an older state, and that
going on would skip, repeat or mix records.

Some offsets can be verified by the state alone, which knows the tokens at its tail and where it was forked;
for the others `reads` looks at the records.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import State, offset_at

START: Final = "-1"
"""The start of any stream."""

NOW: Final = "now"
"""The tail of any stream, whatever it is when it is asked for."""


class At(NamedTuple):
    """A position that is not verified: a client counts the bytes itself, or a producer reads its own."""

    position: int
    incarnation: str


Offset = str | At
"""A text that was given out, or a position."""


class Place(NamedTuple):
    """A position in a stream, and the token that the byte before it must have; none, if that is certain."""

    position: int
    token: str | None = None


def place_of(offset: Offset, state: State) -> Place:
    """The place that an offset names in a stream, as far as the state tells.

    Raises:
        BadOffset: when it is no offset.
        OffsetGone: when what it names was trimmed, is another stream's, or was lost.
    """
    if isinstance(offset, At):
        return _trusted(offset, state)
    if offset == START:
        return Place(state.start)
    if offset == NOW:
        return Place(state.tail)
    shape = _SHAPE.fullmatch(offset)
    if shape is None:
        raise BadOffset(offset, "it is none that was given out")
    position, token = int(shape[1]), shape[2]
    if position == 0 and token == NO_TOKEN:
        return Place(state.start)
    known = known_tokens(state, position)
    if not state.start <= position <= state.tail or (known and token not in known):
        raise OffsetGone(state.name, offset)
    return Place(position, None if known else token)


def position_of(offset: Offset, state: State) -> int:
    """The position that an offset names in a stream, as far as the state tells.

    Raises:
        LogRefused: as `place_of`.
    """
    return place_of(offset, state).position


def known_tokens(state: State, position: int) -> list[str]:
    """The tokens that stand for the byte before a position; none, if only the records tell.

    A fork has its source's token where it begins, and its own incarnation for a second one. The canonical
    token comes first.
    """
    known = [state.token_text] if position == state.tail else []
    if position == 0:
        known += [state.incarnation, *(piece.incarnation for piece in state.lineage)]
    follows = state.incarnation
    for piece in reversed(state.lineage):
        if position == piece.end:
            known.append(piece.token_text)
            if piece.incarnation != follows:
                known.append(follows)
        follows = piece.incarnation
    return known


def incarnations(state: State) -> set[str]:
    """All that a stream's records are stored under."""
    return {state.incarnation, *(piece.incarnation for piece in state.lineage)}


def _trusted(at: At, state: State) -> Place:
    if at.incarnation not in incarnations(state) or not state.start <= at.position <= state.tail:
        raise OffsetGone(state.name, offset_at(at.position, at.incarnation))
    return Place(at.position)


NO_TOKEN: Final = "0" * 16
"""With position 0 it names the start of any stream, which some clients write so; no stream has it."""

_SHAPE: Final = re.compile(r"([0-9]{16})_([0-9a-f]{16})")
