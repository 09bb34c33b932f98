"""Facts about streams, frozen: why one ended, what it did, what it says of its progress."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

from millstream.protocol.lifecycle import State


@unique
class Reason(Enum):
    """Why a stream ended; every end has exactly one."""

    COMPLETED = "completed"  # the producer finished and the transaction committed
    FAILED = "failed"  # the producer, the codec or the commit raised
    CLIENT_GONE = "client-gone"  # the client left
    STOPPED = "stopped"  # somebody asked for it: `stream.stop()`
    TIMED_OUT = "timed-out"  # `lifetime` or `idle_timeout` is over
    STALLED = "stalled"  # the client stopped reading, or reads slower than `min_rate`
    SHUTDOWN = "shutdown"  # the process ends
    REVOKED = "revoked"  # the client may no longer see it

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long job is: what `stream.progress()` notes and returns, ready to be yielded."""

    done: float
    total: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one stream has done until now; after its end, what it did."""

    id: str
    route: str  # the action, as `RootController.countdown`
    client: str  # the client's address, "" when the server does not tell
    state: State
    reason: Reason | None  # None while it lives
    items: int  # handed to the server
    bytes: int  # of the body, handed to the server
    first_byte: float | None  # seconds from the request to the head; None before it
    duration: float  # seconds from the request until now or the end
    progress: Progress | None

    @property
    def delivered(self) -> bool:
        """Whether the end was handed over while the client was there to see it."""
        return self.state is State.DELIVERED
