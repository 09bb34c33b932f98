"""The decisions about names: create, fork, delete, expire, trim. States in, a change or a refusal out. Pure.

A name is free, held by a living stream, or held by one that is deleted (or expired) but has forks. Such a
one answers nobody, keeps its name, and goes when its last fork goes, as may then its own parent: the whole
family is changed in one commit. A name whose stream expired without forks counts as free; what is left of
it goes with whatever happens to the name next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from millstream.durable.appending import check_type, placed
from millstream.durable.refusals import BadKey, BadOffset, NameTaken, NoSuchStream, StreamGone
from millstream.durable.state import Change, Piece, State, Tenure, media_type

LONGEST_KEY: Final = 1024
"""Bytes of UTF-8: less than half of what PostgreSQL can index, which can least."""

OCTETS: Final = "application/octet-stream"
_FIELD: Final = re.compile("[\t -~\x80-\xff]+")  # RFC 9110 §5.5

States = Mapping[str, State | None]
"""States by name; None: no stream of that name is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a stream is to be. A fork takes over from its source what is None.

    Raises:
        ValueError: when the content type could not be sent as one.
    """

    content_type: str | None = None
    ttl: int | None = None  # seconds; never with `expires_at`
    expires_at: float | None = None  # a Unix time

    def __post_init__(self) -> None:
        if self.content_type is not None and not _FIELD.fullmatch(self.content_type):
            raise ValueError(f"the content type {self.content_type!r} cannot stand in a header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A stream somebody wants to have."""

    name: str
    config: Config
    records: Sequence[bytes] = ()
    closed: bool = False
    tenure: Tenure | None = None  # for who wants to be its producer
    failed_before: float | None = None  # a stream that failed before this Unix time gives its name free
    source: str = ""  # the name of the stream it is forked from
    position: int = 0  # where in the source the fork begins
    token: str = ""  # of the byte before that, as it stands in an offset


@dataclass(frozen=True, slots=True)
class Created:
    """What became of it."""

    state: State
    fresh: bool  # False: there was such a stream already


class IncompleteFamily(Exception):
    """A decision concerns a stream that was not loaded with the others; no error to anybody."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def require_key(what: str, key: str) -> None:
    """Require that every database can store a text as a key.

    Raises:
        BadKey: when one of them could not.
    """
    if len(key) <= LONGEST_KEY and key.isascii():
        return
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise BadKey(what, "it has half of a surrogate pair") from None
    if size > LONGEST_KEY:
        raise BadKey(what, f"it has {size} bytes, and {LONGEST_KEY} are the most")


def living(states: States, name: str, now: float) -> State:
    """The stream of that name.

    Raises:
        NoSuchStream: when there is none.
        StreamGone: when only its forks live.
    """
    state = states[name]
    if state is None:
        raise NoSuchStream(name)
    expired = state.expired(now)
    if state.deleted or (expired and state.forks):
        raise StreamGone(name)
    if expired:
        raise NoSuchStream(name)
    return state


def create(states: States, request: Create, incarnation: str, now: float) -> Change:
    """Decide about a stream that is no fork.

    Raises:
        NameTaken: when there is another one.
    """
    held = _holder(states, request.name, now)
    if held is not None and not _gives_way(held, request):
        if request.tenure is None:  # who wants to produce is told that somebody does, whatever has changed
            _require_same(held, request)
        return Change(Created(held, fresh=False))
    config = request.config
    new = State(
        name=request.name,
        incarnation=incarnation,
        content_type=config.content_type or OCTETS,
        tenure=request.tenure,
        ttl=config.ttl,
        expires=_ends(config, now),
    )
    return _founded(states, new, request)


def fork(states: States, request: Create, incarnation: str, now: float) -> Change:
    """Decide about a stream that shares what another has before a position.

    Raises:
        NoSuchStream: when there is no source.
        NameTaken: when the target is another stream, or the source is deleted.
        ContentTypeDiffers: when it is not the source's.
        BadOffset: when the source has no such position.
    """
    held, position = _holder(states, request.name, now), request.position
    if held is not None and held.parent is not None:
        _require_same_fork(held, request)
        return Change(Created(held, fresh=False))
    try:
        origin = living(states, request.source, now)
    except StreamGone:
        raise NameTaken(request.source, "that is deleted and cannot be forked") from None
    if request.config.content_type is not None:
        check_type(origin, request.config.content_type)
    if held is not None:
        raise NameTaken(request.name, "that is no fork of that source at that offset")
    if not origin.start <= position <= origin.tail:
        raise BadOffset(str(position), "the source has no such position")
    config = _inherited(request.config, origin)
    new = State(
        name=request.name,
        incarnation=incarnation,
        content_type=origin.content_type,
        tail=position,
        start=origin.start,
        lineage=_lineage(origin, position, request.token),
        parent=origin.name,
        ttl=config.ttl,
        expires=_ends(config, now),
    )
    return _founded(states, new, request, origin.but(forks=origin.forks + 1))


def delete(states: States, name: str, now: float) -> Change:
    """Decide about a stream that somebody wants to be gone.

    Raises:
        NoSuchStream: when there is none.
        StreamGone: when it is deleted already.
    """
    state = living(states, name, now)
    removed, put = _without(states, state)
    return Change(state, removed=removed, states=put)


def expire(states: States, name: str, now: float) -> Change:
    """Decide about a stream whose time may have come; the answer is whether it had."""
    state = states[name]
    if state is None or not state.expired(now):
        return Change(answer=False)
    removed, put = _without(states, state)
    return Change(answer=True, removed=removed, states=put)


def trim(state: State, position: int) -> Change:
    """Forget what is before a position, except what forks still need."""
    if position <= state.start:
        return Change(state)
    after = state.but(start=position)
    return Change(after, states=(after,), trim=not state.forks)


def _holder(states: States, name: str, now: float) -> State | None:
    """Who holds a name for good: None when it is free.

    Raises:
        NameTaken: when a deleted stream with forks does.
    """
    try:
        return living(states, name, now)
    except NoSuchStream:
        return None
    except StreamGone:
        raise NameTaken(name, "that is deleted but has forks") from None


def _gives_way(held: State, request: Create) -> bool:
    """Whether a stream failed before somebody wanted to produce it; nothing has put off its end since."""
    if request.failed_before is None or not held.failed or held.forks:
        return False
    return held.ttl is None or held.expires is None or held.expires - held.ttl < request.failed_before


def _require_same(held: State, request: Create) -> None:
    if held.parent is not None:
        raise NameTaken(held.name, "that is a fork")
    _require_same_type(held, request.config.content_type or OCTETS)
    _require_same_end(held, request.config)
    _require_same_closure(held, request)


def _require_same_fork(held: State, request: Create) -> None:
    """What the request leaves open was taken over from the source then; asking again would not tell."""
    config = request.config
    if held.parent != request.source or held.own_start != request.position:
        raise NameTaken(held.name, "that was forked elsewhere")
    if config.content_type is not None:
        _require_same_type(held, config.content_type)
    if config.ttl is not None or config.expires_at is not None:
        _require_same_end(held, config)
    _require_same_closure(held, request)


def _require_same_type(held: State, content_type: str) -> None:
    if media_type(content_type) != media_type(held.content_type):
        raise NameTaken(held.name, f"of the content type {held.content_type}")


def _require_same_end(held: State, config: Config) -> None:
    if config.ttl != held.ttl or (held.ttl is None and config.expires_at != held.expires):
        raise NameTaken(held.name, "that lives for another time")


def _require_same_closure(held: State, request: Create) -> None:
    if request.closed != held.closed:
        raise NameTaken(held.name, "that is closed" if held.closed else "that is open")


def _ends(config: Config, now: float) -> float | None:
    return config.expires_at if config.ttl is None else now + config.ttl


def _inherited(config: Config, origin: State) -> Config:
    if config.ttl is not None or config.expires_at is not None:
        return config
    return Config(ttl=origin.ttl, expires_at=None if origin.ttl is not None else origin.expires)


def _lineage(origin: State, position: int, token: str) -> tuple[Piece, ...]:
    """Who holds what of a fork. Who holds nothing of it stays named: its offsets are valid here too."""
    inherited = (
        piece if piece.end <= position else Piece(piece.incarnation, position, token)
        for piece in origin.lineage
    )
    return (*inherited, Piece(origin.incarnation, position, token))


def _founded(states: States, new: State, request: Create, *parents: State) -> Change:
    """A new stream with its first records, in place of whatever expired or failed under its name."""
    records, tail = placed(request.records, new.tail)
    new = new.but(tail=tail, closed=request.closed)
    kept = {parent.name: parent for parent in parents}
    left = states[new.name]
    removed: tuple[State, ...] = ()
    if left is not None:
        removed, put = _without({**states, **kept}, left)
        kept.update({state.name: state for state in put})
    return Change(Created(new, fresh=True), removed=removed, states=(new, *kept.values()), records=records)


def _without(states: States, state: State) -> tuple[tuple[State, ...], tuple[State, ...]]:
    """What goes and what is put when a stream ends: itself, and each deleted ancestor only it kept.

    Raises:
        IncompleteFamily: when an ancestor was not loaded.
    """
    if state.forks:
        return (), (state.but(deleted=True, tenure=None),)
    removed = [state]
    while (name := removed[-1].parent) is not None:
        if name not in states:
            raise IncompleteFamily(name)
        parent = states[name]
        if parent is None:
            break
        parent = parent.but(forks=parent.forks - 1)
        if parent.forks or not parent.deleted:
            return tuple(removed), (parent,)
        removed.append(parent)
    return tuple(removed), ()
