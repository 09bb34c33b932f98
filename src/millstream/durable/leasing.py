"""The decisions about the one producer of a run: claim, renew, take over, reap, stop. Pure.

"Once" is a claim by create-if-absent and an epoch: whoever creates the stream has the lease, and appends
under the lease's producer id. Taking over and reaping raise that producer's epoch in the same commit, so
that an append of the one before is refused inside the log however late it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from millstream.durable.appending import placed
from millstream.durable.refusals import LeaseLost
from millstream.durable.state import Change, Producer, State, Tenure


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the producer of a run; its holder appends with `claim(0)`, `claim(1)` and so on."""

    state: State  # as it was when the lease was given
    tenure: Tenure

    @property
    def name(self) -> str:
        """The stream's."""
        return self.state.name

    def claim(self, seq: int) -> Producer:
        """The producer of the append with this number, counted from 0 in each lease."""
        return Producer(self.tenure.producer, self.tenure.epoch, seq)


def renew(state: State | None, lease: Lease) -> Change:
    """Raise the beat; the answer is the state, in which `stopping` may have been set.

    Raises:
        LeaseLost: when it is no longer the holder's.
    """
    tenure = _held(state, lease.state.incarnation)
    if state is None or tenure is None or tenure.epoch != lease.tenure.epoch:
        raise LeaseLost(lease.name)
    after = state.but(tenure=_beating(tenure, epoch=tenure.epoch))
    return Change(after, states=(after,))


def take_over(state: State | None, seen: State) -> Change:
    """Give the lease of a holder that was seen dead to another one; the answer is the `Lease`.

    Raises:
        LeaseLost: when the holder gave a sign of life since, or somebody else was faster.
    """
    state, tenure = _unmoved(state, seen)
    successor = _beating(tenure, epoch=tenure.epoch + 1)
    after = state.but(tenure=successor)
    fence = Producer(successor.producer, successor.epoch, -1)
    return Change(Lease(after, successor), states=(after,), producer=fence)


def reap(state: State | None, seen: State, now: float) -> Change:
    """Close, as failed, a stream whose holder was seen dead: its will becomes the last record.

    Raises:
        LeaseLost: when the holder gave a sign of life since, or the stream is closed.
    """
    state, tenure = _unmoved(state, seen)
    records, tail = placed([tenure.will] if tenure.will else [], state.tail)
    after = state.but(
        tail=tail,
        closed=True,
        failed=True,
        tenure=None,
        expires=state.expiry(now),
    )
    fence = Producer(tenure.producer, tenure.epoch + 1, -1)
    return Change(after, states=(after,), records=records, producer=fence)


def stop(state: State) -> Change:
    """Ask the producer to stop; a closed stream has nobody to ask."""
    if state.closed or state.stopping:
        return Change(state)
    after = state.but(stopping=True)
    return Change(after, states=(after,))


def _unmoved(state: State | None, seen: State) -> tuple[State, Tenure]:
    tenure = _held(state, seen.incarnation)
    if state is None or tenure is None or tenure != seen.tenure:
        raise LeaseLost(seen.name)
    return state, tenure


def _held(state: State | None, incarnation: str) -> Tenure | None:
    return state.tenure if state is not None and state.incarnation == incarnation else None


def _beating(tenure: Tenure, *, epoch: int) -> Tenure:
    return Tenure(tenure.producer, epoch, tenure.seconds, tenure.beat + 1, tenure.will)
