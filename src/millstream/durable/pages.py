"""Reading, as far as it is thinking: which records a stretch needs, and what is handed over of them. Pure.

A stretch of a fork lies in several incarnations, and may begin or end in the middle of a record. Each
record must begin where the one before it ended; when one does not, records vanished between looking at
the state and reading (the stream was deleted, or trimmed), and the reader is told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millstream.durable.offsets import known_tokens
from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import Record, State, Stored, offset_at


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some of the positions that one incarnation holds."""

    incarnation: str
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages that follow each other, and where they stand in the stream as it was then."""

    state: State
    start: int
    end: int
    messages: Sequence[bytes]
    tokens: Sequence[tuple[int, str]] = ()  # ends of some records, in order, and the tokens of what is before

    @property
    def next_offset(self) -> str:
        """Where to read on."""
        return self.offset_at(self.end)

    def offset_at(self, position: int) -> str:
        """The offset of the page's end, or of one of the last few positions in it."""
        known = known_tokens(self.state, position)
        if known:
            return offset_at(position, known[0])
        token = next((token for end, token in self.tokens if end >= position), self.state.incarnation)
        return offset_at(position, token)

    @property
    def up_to_date(self) -> bool:
        """Whether there was no more."""
        return self.end == self.state.tail

    @property
    def closed(self) -> bool:
        """Whether there will never be more."""
        return self.state.closed and self.up_to_date


def token_before(position: int, stored: Stored) -> int | None:
    """The token of the byte before a position, after which records were read; None, if it is not there."""
    if stored.records and stored.records[0].start < position:
        return stored.records[0].token
    return stored.before


def stretches(state: State, position: int) -> Iterator[Stretch]:
    """Where what follows a position is stored, in order."""
    for piece in state.lineage:
        if position < piece.end:
            yield Stretch(piece.incarnation, position, piece.end)
            position = piece.end
    if position < state.tail:
        yield Stretch(state.incarnation, position, state.tail)


def cut(state: State, stretch: Stretch, records: Sequence[Record], most: int) -> list[bytes]:
    """The messages of a stretch, of at most so many bytes; a JSON message is whole however long it is.

    Raises:
        BadOffset: when a JSON message would be cut at its beginning.
        OffsetGone: when records are missing.
    """
    messages = [record.data for record in records]
    position, limit = stretch.after, min(stretch.upto, stretch.after + most)
    if messages and records[-1].end <= limit and records[-1].end - position == sum(map(len, messages)):
        return messages  # none is missing, none is to be cut: nearly always
    messages = []
    for record in records:
        start = record.start
        if start > position:
            break
        if state.json:
            if start < position:
                raise BadOffset(offset_at(position, state.incarnation), "it is in the middle of a message")
            if messages and record.end > limit:
                return messages
            messages.append(record.data)
        elif start == position and record.end <= limit:
            messages.append(record.data)
        else:
            messages.append(record.data[position - start : limit - start])
        position = record.end
        if position >= limit:
            return messages
    if position == stretch.after:
        raise OffsetGone(state.name, offset_at(position, state.incarnation))
    return messages
