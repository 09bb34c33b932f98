"""What a log refuses, and why: one class an answer, raised before anything was stored.

::

    LogRefused
    ├── NoSuchStream            no stream has that name, or it has expired
    ├── StreamGone              it was deleted, and lives on only for its forks
    ├── OffsetGone              the position was trimmed, or belongs to an earlier stream of the same name
    ├── BadOffset               the offset is no offset, or names no position a fork can begin at
    ├── BadKey                  a name or a producer id is no text, or longer than every database can index
    ├── NameTaken               there is a stream of that name, and it is another one
    ├── StreamClosed            nothing more can be appended; carries the final state
    ├── ContentTypeDiffers      the records are not of the stream's type
    ├── SequenceRegressed       a Stream-Seq did not grow
    ├── StaleEpoch              a younger producer or the reaper has fenced this one off
    ├── EpochBeginsAtZero       a new epoch's first sequence number is not 0
    ├── SequenceGap             a producer's records in between are missing
    └── LeaseLost               a lease was reaped, taken over, or its stream is closed or gone
"""

from __future__ import annotations

from millstream.durable.state import State
from millstream.errors import MillstreamError


class LogRefused(MillstreamError):
    """The root: the log is as it was before."""


class NoSuchStream(LogRefused):
    """No stream has this name, or it has expired."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no stream {self.name!r}"


class StreamGone(LogRefused):
    """The stream was deleted; its records are kept for its forks alone."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the stream {self.name!r} was deleted"


class OffsetGone(LogRefused):
    """What was at this offset cannot be read any more; going on elsewhere would skip records silently."""

    def __init__(self, name: str, offset: str) -> None:
        super().__init__(name, offset)
        self.name = name
        self.offset = offset

    def __str__(self) -> str:
        return f"the offset {self.offset!r} is gone: begin again at the start of the stream"


class BadOffset(LogRefused):
    """A text that is no offset, or an offset at which nothing begins."""

    def __init__(self, offset: str, why: str) -> None:
        super().__init__(offset, why)
        self.offset = offset
        self.why = why

    def __str__(self) -> str:
        return f"the offset {self.offset!r} cannot be used: {self.why}"


class BadKey(LogRefused):
    """A name, or a producer id, cannot be stored as one by every database."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"{self.what} cannot be used: {self.why}"


class NameTaken(LogRefused):
    """The name belongs to a stream with another configuration, or to a deleted one that has forks."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(name, what)
        self.name = name
        self.what = what

    def __str__(self) -> str:
        return f"the name {self.name!r} is taken by a stream {self.what}"


class StreamClosed(LogRefused):
    """The stream is closed for ever; `state` is its last one."""

    def __init__(self, state: State) -> None:
        super().__init__(state.name)
        self.state = state

    def __str__(self) -> str:
        return f"the stream {self.state.name!r} is closed"


class ContentTypeDiffers(LogRefused):
    """The records are of another type than the stream."""

    def __init__(self, expected: str, found: str | None) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"the stream's content type is {self.expected}, not {self.found}"


class SequenceRegressed(LogRefused):
    """A Stream-Seq is not greater, byte by byte, than the last one."""

    def __init__(self, last: str, found: str) -> None:
        super().__init__(last, found)
        self.last = last
        self.found = found

    def __str__(self) -> str:
        return f"the sequence {self.found!r} does not come after {self.last!r}"


class StaleEpoch(LogRefused):
    """The producer was fenced off; `current` is the epoch that counts now."""

    def __init__(self, current: int) -> None:
        super().__init__(current)
        self.current = current

    def __str__(self) -> str:
        return f"this producer was fenced off: the epoch is {self.current} now"


class EpochBeginsAtZero(LogRefused):
    """A new epoch began with another sequence number than 0."""

    def __init__(self, found: int) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return f"a new epoch begins with the sequence number 0, not {self.found}"


class SequenceGap(LogRefused):
    """Records of this producer that come before these are missing."""

    def __init__(self, expected: int, received: int) -> None:
        super().__init__(expected, received)
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        return f"the next sequence number of this producer is {self.expected}, not {self.received}"


class LeaseLost(LogRefused):
    """Whoever holds the lease must stop: it is not the producer any more."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the lease of the stream {self.name!r} is lost: another producer or the reaper has it"
