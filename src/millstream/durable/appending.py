"""The decision about an append: a state and a request in, a change or a refusal out. Pure.

    stream     producer                       answer
    closed     the claim that closed it       duplicate
    closed     an older epoch                 StaleEpoch
    closed     none, and nothing to append    duplicate: it is closed already
    closed     otherwise                      StreamClosed
    open       of a lease, and not its epoch  StaleEpoch
    open       an older epoch                 StaleEpoch
    open       a newer epoch                  accepted when its sequence begins at 0, else EpochBeginsAtZero
    open       a sequence that was accepted   duplicate
    open       the next sequence              accepted
    open       a later one                    SequenceGap

A producer nobody knows counts as one whose epoch is the claimed one and of which nothing was accepted.
Before the producer, the content type is asked; after it, the Stream-Seq.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from millstream.durable.refusals import (
    ContentTypeDiffers,
    EpochBeginsAtZero,
    SequenceGap,
    SequenceRegressed,
    StaleEpoch,
    StreamClosed,
)
from millstream.durable.state import Change, Producer, Record, State, media_type


class Append(Struct, frozen=True, kw_only=True, gc=False):
    """What somebody wants appended."""

    records: Sequence[bytes] = ()  # none of them empty
    content_type: str | None = None  # what the writer believes it to be; None: does not say
    producer: Producer | None = None
    seq: str | None = None
    close: bool = False
    failed: bool = False  # it is closed because its producer failed


class Appended(Struct, frozen=True, gc=False):
    """What became of an append."""

    state: State
    duplicate: bool = False  # it was accepted before: nothing was stored now
    producer: Producer | None = None  # the last claim accepted of this producer


def append(state: State, known: Producer | None, request: Append, now: float, token: int) -> Change:
    """Decide about an append to a living stream.

    Args:
        state: of the stream.
        known: what was accepted last of the request's producer.
        request: what is asked for.
        now: the time.
        token: of what is appended, unless that is under a lease, which has its own.

    Raises:
        LogRefused: see the table above.
    """
    if state.closed:
        return _to_a_closed_one(state, known, request)
    if request.records and request.content_type is not None:
        check_type(state, request.content_type)
    claim, tenure = request.producer, state.tenure
    if claim is not None and tenure is not None and claim.id == tenure.producer:
        if claim.epoch != tenure.epoch:  # also one whose taking over a restored database has forgotten
            raise StaleEpoch(tenure.epoch)
        token = tenure.token
    if claim is not None and is_duplicate(known, claim):
        return Change(Appended(state, duplicate=True, producer=known))
    if request.seq is not None and state.seq is not None and request.seq.encode() <= state.seq.encode():
        raise SequenceRegressed(state.seq, request.seq)
    return _accepted(state, request, now, token)


def _to_a_closed_one(state: State, known: Producer | None, request: Append) -> Change:
    claim = request.producer
    if claim is None:
        if request.records:
            raise StreamClosed(state)
        return Change(Appended(state, duplicate=True))
    if claim == state.closer:
        return Change(Appended(state, duplicate=True, producer=known))
    if known is not None and claim.epoch < known.epoch:
        raise StaleEpoch(known.epoch)
    raise StreamClosed(state)


def is_duplicate(known: Producer | None, claim: Producer) -> bool:
    """Whether a claim was accepted before; False when it is the next one.

    Raises:
        StaleEpoch: when the producer was fenced off.
        EpochBeginsAtZero: when a new epoch begins elsewhere.
        SequenceGap: when claims in between are missing.
    """
    last = NOTHING_ACCEPTED if known is None else known.seq
    if known is not None and claim.epoch != known.epoch:
        if claim.epoch < known.epoch:
            raise StaleEpoch(known.epoch)
        if claim.seq != 0:
            raise EpochBeginsAtZero(claim.seq)
        return False
    if claim.seq <= last:
        return True
    if claim.seq > last + 1:
        raise SequenceGap(last + 1, claim.seq)
    return False


def check_type(state: State, content_type: str) -> None:
    """Require that a content type is the stream's, whatever its parameters and capitals.

    Raises:
        ContentTypeDiffers: when it is another one.
    """
    if content_type != state.content_type and media_type(content_type) != media_type(state.content_type):
        raise ContentTypeDiffers(state.content_type, content_type)


def _accepted(state: State, request: Append, now: float, token: int) -> Change:
    records, tail = placed(request.records, state.tail)
    after = state.but(
        tail=tail,
        token=token if records else state.token,
        seq=request.seq if request.seq is not None else state.seq,
        expires=state.expiry(now),
        **(_closing(request) if request.close else {}),
    )
    answer = Appended(after, producer=request.producer)
    return Change(answer, states=(after,), records=records, producer=request.producer)


def _closing(request: Append) -> dict[str, object]:
    return {"closed": True, "failed": request.failed, "closer": request.producer, "tenure": None}


def placed(records: Sequence[bytes], position: int) -> tuple[list[Record], int]:
    """Records from a position on, and the position after them."""
    result = []
    for data in records:
        position += len(data)
        result.append(Record(position, data))
    return result, position


NOTHING_ACCEPTED: Final = -1
"""The sequence number before the first."""
