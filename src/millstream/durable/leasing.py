"""The decisions about the one producer of a run: claim, renew, take over, reap, stop. Pure.

"Once" is a claim by create-if-absent and an epoch: whoever creates the stream has the lease, and appends
under the lease's producer id. Taking over and reaping raise that producer's epoch in the same commit, so
that an append of the one before is refused inside the log however late it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from millstream.durable.appending import placed
from millstream.durable.refusals import LeaseLost
from millstream.durable.state import Change, Piece, Producer, State, Tenure, offset_at, text_of


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the producer of a run; its holder appends with `claim(0)`, `claim(1)` and so on."""

    state: State  # as it was when the lease was given
    tenure: Tenure

    @property
    def name(self) -> str:
        """The stream's."""
        return self.state.name

    def offset_at(self, place: int) -> str:
        """The offset of a place in the run, before its bytes are appended, too."""
        pieces = (piece for piece in self.state.lineage if place <= piece.end)
        own = text_of(self.tenure.token, self.state.incarnation)
        return offset_at(place, next((piece.token_text for piece in pieces), own))

    def claim(self, seq: int) -> Producer:
        """The producer of the append with this number, counted from 0 in each lease."""
        return Producer(self.tenure.producer, self.tenure.epoch, seq)


def own_token(state: State) -> str:
    """The token of what a run's last producer appends, or appended, as it stands in an offset."""
    if state.tenure is not None:
        return text_of(state.tenure.token, state.incarnation)
    return state.token_text


def covered(state: State, token: str) -> int:
    """How far a run is what it was when this was its own token; -1 when it never was."""
    if token == own_token(state):
        return state.tail
    return next((piece.end for piece in reversed(state.lineage) if piece.token_text == token), -1)


def renew(state: State | None, lease: Lease) -> Change:
    """Raise the beat; the answer is the state, in which `stopping` may have been set.

    Raises:
        LeaseLost: when it is no longer the holder's.
    """
    tenure = _held(state, lease.state.incarnation)
    if state is None or tenure is None or tenure.epoch != lease.tenure.epoch:
        raise LeaseLost(lease.name)
    after = state.but(tenure=_beating(tenure, epoch=tenure.epoch, token=tenure.token))
    return Change(after, states=(after,))


def take_over(state: State | None, seen: State, token: int) -> Change:
    """Give the lease of a holder that was seen dead to another one; the answer is the `Lease`.

    The other one's appends have their own token: the database may have lost what the dead one wrote last.

    Raises:
        LeaseLost: when the holder gave a sign of life since, or somebody else was faster.
    """
    state, tenure = _unmoved(state, seen)
    successor = _beating(tenure, epoch=tenure.epoch + 1, token=token)
    after = state.but(tenure=successor, lineage=_with_all(state))
    fence = Producer(successor.producer, successor.epoch, -1)
    return Change(Lease(after, successor), states=(after,), producer=fence)


def reap(state: State | None, seen: State, now: float, token: int) -> Change:
    """Close, as failed, a stream whose holder was seen dead: its will, with this token, is the last record.

    Raises:
        LeaseLost: when the holder gave a sign of life since, or the stream is closed.
    """
    state, tenure = _unmoved(state, seen)
    records, tail = placed([tenure.will] if tenure.will else [], state.tail)
    after = state.but(
        tail=tail,
        token=token if records else state.token,
        lineage=_with_all(state),
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


def _beating(tenure: Tenure, *, epoch: int, token: int) -> Tenure:
    return Tenure(tenure.producer, epoch, tenure.seconds, tenure.beat + 1, tenure.will, token)


def _with_all(state: State) -> tuple[Piece, ...]:
    """A lineage in which everything until now is somebody else's."""
    return (*state.lineage, Piece(state.incarnation, state.tail, state.token_text))
