"""What a log knows of a stream, and what one commit changes of it: the facts that engines store.

A **position** is the number of bytes before it, from the beginning of the stream, deleted and trimmed
ones included; a record is known by the position of its end. So a byte range needs no index, a gap cannot
hide (each record begins where the one before it ended), and a fork may begin in the middle of a record
without copying it.

An **incarnation** is one life of a name: a stream that is deleted and created again gets a new one, and
everything is stored under it. A fork's **lineage** says which incarnation holds which stretch of it.

A **token** belongs to one append: a random number, stored with its records. A database that was restored,
or that failed over, may have lost the last appends, and others may have their positions now. These have other
tokens. So a position and the token of the byte before it name one content of all that is before it. The
records that a stream is created with, and all that its first producer appends under a lease, have the token
0, which stands for the incarnation: that is a random number, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

JSON: Final = "application/json"


class Producer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who appends: what a request claims, and what was accepted last of that producer."""

    id: str
    epoch: int
    seq: int


class Piece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stretch of a stream that was written by others: everything before `end`, less the pieces before it.

    Of a fork, an ancestor's; of a run that was taken over, an earlier producer's, under the same incarnation.
    """

    incarnation: str
    end: int
    token: str = ""  # of the byte before `end`, as it stands in an offset; the incarnation, if empty

    @property
    def token_text(self) -> str:
        """The token as it stands in an offset."""
        return self.token or self.incarnation


class Tenure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The lease of the one producer of a run, as it stands in the stream's state.

    No wall clock decides about it: the holder raises `beat`, and who sees the same beat for `seconds` on
    a clock of its own knows that the holder is dead. A clock that jumps can so end no run.
    """

    producer: str  # its producer id; the epoch that counts is the producer's own
    epoch: int
    seconds: float
    beat: int = 0
    will: bytes = b""  # the record that is written when the holder dies
    token: int = 0  # of all that is appended under this lease: known before, for an event to carry its offset


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All there is to know of a stream but its records and its producers. New fields come last.

    `array_like`: encoded with every append, and shorter so. `gc=False`, as all facts here: made for every
    append, and what it refers to never refers back.
    """

    name: str
    incarnation: str
    content_type: str
    tail: int = 0  # the position after the last byte
    start: int = 0  # the first position that is kept
    closed: bool = False
    failed: bool = False  # closed by a producer that failed or died
    ttl: int | None = None  # seconds it lives unread and unwritten
    expires: float | None = None  # when it ends: a Unix time
    seq: str | None = None  # the last Stream-Seq
    closer: Producer | None = None  # the claim that closed it
    lineage: tuple[Piece, ...] = ()  # oldest first; its own records follow
    parent: str | None = None  # the name it was forked from
    forks: int = 0  # living streams that were forked from it
    deleted: bool = False  # kept for its forks alone
    tenure: Tenure | None = None
    stopping: bool = False  # somebody asked its producer to stop
    token: int = 0  # of the last byte

    @property
    def next_offset(self) -> str:
        """The offset after the last byte."""
        if self.token and not self.lineage:  # made for every append
            return f"{self.tail:016d}_{self.token:016x}"
        return offset_at(self.tail, self.token_text)

    @property
    def token_text(self) -> str:
        """The token of the last byte as it stands in an offset: another's, until there is one of its own."""
        if self.lineage and self.lineage[-1].end == self.tail:
            return self.lineage[-1].token_text
        return text_of(self.token, self.incarnation)

    @property
    def json(self) -> bool:
        """Whether its records are JSON messages, which are never cut."""
        return media_type(self.content_type) == JSON

    @property
    def own_start(self) -> int:
        """The position at which its own records begin."""
        return self.lineage[-1].end if self.lineage else 0

    @property
    def due(self) -> float | None:
        """When it may be swept away; never while a producer holds it."""
        return None if self.tenure is not None or self.deleted else self.expires

    def expired(self, now: float) -> bool:
        """Whether it has outlived its time."""
        due = self.due
        return due is not None and now >= due

    def expiry(self, now: float) -> float | None:
        """When it ends, if it is used now; a clock that has jumped back shortens no life."""
        return self.expires if self.ttl is None else max(now + self.ttl, self.expires or 0.0)

    def but(self, **changes: Any) -> State:
        """This state with some fields changed; Any, because each field has its own type."""
        return replace(self, **changes)

    def encode(self) -> bytes:
        """For engines that store it as one value."""
        return _ENCODER.encode(self)


class Record(NamedTuple):
    """Some bytes and the position after them. A tuple: made by the million."""

    end: int
    data: bytes
    token: int = 0  # of a record that was read; a new one has that of its stream's new state

    @property
    def start(self) -> int:
        """The position of its first byte."""
        return self.end - len(self.data)


class Stored(NamedTuple):
    """Some records that follow each other, and the token of the one before them, if that is stored."""

    before: int | None
    records: Sequence[Record]


class Change(msgspec.Struct, frozen=True):
    """What one commit stores, all of it or nothing; and what the one who asked is told.

    A struct, as what is made of every append: it takes a fifth of the time of a frozen dataclass.
    """

    answer: Any = None  # each decision has an answer of its own type
    removed: tuple[State, ...] = ()  # first: these go, with all records and producers of their incarnation
    states: tuple[State, ...] = ()  # then these are put, each under its name
    records: Sequence[Record] = ()  # appended to the incarnation of the first of `states`, with its token
    producer: Producer | None = None  # put, for the incarnation of the first of `states`
    trim: bool = False  # the first of `states` needs none of its own records that end before `start`

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.states or self.removed)


def offset_at(position: int, token: str) -> str:
    """The offset of a position: sorts as the position does."""
    return f"{position:016d}_{token}"


def text_of(token: int, incarnation: str) -> str:
    """A token as it stands in an offset."""
    return f"{token:016x}" if token else incarnation


def media_type(content_type: str) -> str:
    """A content type without its parameters, in small letters (RFC 9110 §8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def decode_state(data: bytes) -> State:
    """What `State.encode` made.

    Raises:
        msgspec.DecodeError: when it is something else.
    """
    return _DECODER.decode(data)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(State)
