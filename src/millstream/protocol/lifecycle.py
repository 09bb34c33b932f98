"""The life of a response, as a table.

Every response is a stream; one that is known whole is a stream that was exhausted before its head left.

Two orders matter and give the table its shape:

* The head leaves after the first item is there. Until then (`WAITING`) a failure is an honest error
  status; from then on (`FLOWING`) it can only be a visible truncation.
* The transaction settles after the last item and *before* the end of the body (`SETTLING`, then
  `ENDING`). A client that saw the end may rely on the commit, because nothing that ends a body can
  be sent from a state that is not reached through `COMMITTED`.

Once settling began nothing can stop it: an interruption is too late, and a client that leaves meanwhile
only makes the end unseen. A client whose leaving is allowed (`detach`, `grace`) leaves its producer
behind in `UNWATCHED`, which settles in `SETTLING_UNWATCHED` and never sends anything again.

Back-pressure is no state: a paused stream may do exactly what a running one may, only later.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from millstream.errors import LifecycleError


@unique
class State(Enum):
    """Where a stream stands."""

    WAITING = "waiting"  # no byte has left; the first item is awaited
    FLOWING = "flowing"  # the head has left, items follow
    UNWATCHED = "unwatched"  # the client left and was allowed to; the producer runs on
    SETTLING = "settling"  # the last item was produced; the transaction is being committed
    SETTLING_UNWATCHED = "settling unwatched"  # the same, with nobody left to see the end
    ENDING = "ending"  # committed; the end of the body is on its way
    DELIVERED = "delivered"  # committed, and the end was handed to a server whose client was there
    UNSEEN = "unseen"  # committed, but nobody saw the end
    ABANDONED = "abandoned"  # interrupted; rolled back
    FAILED = "failed"  # something broke; rolled back

    __hash__ = object.__hash__  # by identity: Enum's own is Python code, and the table is asked all the time


@unique
class Event(Enum):
    """What can happen to a stream."""

    HEAD_SENT = "head sent"  # the first item (or its time-out) took the head with it
    EXHAUSTED = "exhausted"  # the producer has no more items
    COMMITTED = "committed"  # every participant committed
    END_SENT = "end sent"  # the last byte was handed over
    BROKE = "broke"  # producer, codec or a participant's vote raised
    CLIENT_GONE = "client gone"  # the client left, and its leaving cancels
    CLIENT_DETACHED = "client detached"  # the client left, and its leaving is allowed
    REPEATED = "repeated"  # a participant asked to answer the request once more from the start
    HALTED = "halted"  # stopped, timed out, stalled, shut down or revoked

    __hash__ = object.__hash__  # as above


FINAL: Final = frozenset({State.DELIVERED, State.UNSEEN, State.ABANDONED, State.FAILED})
"""States nothing leads out of."""

COMMITTED: Final = frozenset({State.ENDING, State.DELIVERED, State.UNSEEN})
"""States in which the transaction is known to be committed."""


def told(state: State, event: Event) -> State:
    """Where an event leads to.

    Raises:
        LifecycleError: when the state does not know it.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise LifecycleError(state.name, event.name) from None


# Final states take in what may still arrive late from outside (a client's leaving, a halt) and stay.
_LATE: Final = (Event.CLIENT_GONE, Event.CLIENT_DETACHED, Event.HALTED)

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.WAITING: {
        Event.HEAD_SENT: State.FLOWING,
        Event.EXHAUSTED: State.SETTLING,
        Event.REPEATED: State.WAITING,
        Event.BROKE: State.FAILED,
        Event.CLIENT_GONE: State.ABANDONED,
        Event.CLIENT_DETACHED: State.UNWATCHED,
        Event.HALTED: State.ABANDONED,
    },
    State.FLOWING: {
        Event.EXHAUSTED: State.SETTLING,
        Event.BROKE: State.FAILED,
        Event.CLIENT_GONE: State.ABANDONED,
        Event.CLIENT_DETACHED: State.UNWATCHED,
        Event.HALTED: State.ABANDONED,
    },
    State.UNWATCHED: {
        Event.EXHAUSTED: State.SETTLING_UNWATCHED,
        Event.BROKE: State.FAILED,
        Event.CLIENT_GONE: State.ABANDONED,
        Event.CLIENT_DETACHED: State.UNWATCHED,
        Event.HALTED: State.ABANDONED,
    },
    State.SETTLING: {
        Event.COMMITTED: State.ENDING,
        Event.REPEATED: State.WAITING,
        Event.BROKE: State.FAILED,
        Event.CLIENT_GONE: State.SETTLING_UNWATCHED,
        Event.CLIENT_DETACHED: State.SETTLING_UNWATCHED,
        Event.HALTED: State.SETTLING,
    },
    State.SETTLING_UNWATCHED: {
        Event.COMMITTED: State.UNSEEN,
        Event.BROKE: State.FAILED,
        Event.CLIENT_GONE: State.SETTLING_UNWATCHED,
        Event.CLIENT_DETACHED: State.SETTLING_UNWATCHED,
        Event.HALTED: State.SETTLING_UNWATCHED,
    },
    State.ENDING: {
        Event.END_SENT: State.DELIVERED,
        Event.BROKE: State.UNSEEN,
        Event.CLIENT_GONE: State.UNSEEN,
        Event.CLIENT_DETACHED: State.UNSEEN,
        Event.HALTED: State.UNSEEN,
    },
    **{state: dict.fromkeys(_LATE, state) for state in FINAL},
}
