"""Reading from an engine: a page of a stream, however many incarnations hold it; and where a fork begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from millstream.durable.engine import Engine
from millstream.durable.offsets import At, Offset, Place, incarnations, known_tokens, place_of
from millstream.durable.pages import Page, Stretch, cut, stretches, token_before
from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import State, Stored, offset_at, text_of

PAGE: Final = 1024 * 1024
"""The most bytes a page has, unless a single JSON message is longer."""


async def page_of(engine: Engine, state: State, place: Place, most: int) -> Page:
    """What follows a place, as much as a page may have, but nothing the state does not know of yet.

    Raises:
        BadOffset: when the place is within a JSON message.
        OffsetGone: when records are missing, or the byte before the place is not the one it was.
    """
    messages: list[bytes] = []
    tokens: list[tuple[int, str]] = []
    start = position = place.position
    left = most
    for stretch in stretches(state, position):
        stored = await engine.records(stretch.incarnation, stretch.after, stretch.upto, left)
        if (
            position == start and place.token is not None and stored.records
        ):  # missing ones are noticed anyway
            _verified(state, place, stretch, stored)
        found = cut(state, stretch, stored.records, left)
        tokens += _tokens(stretch, stored)
        size = sum(map(len, found))
        messages += found
        position += size
        left -= size
        if left <= 0 or position < stretch.upto:
            break
    return Page(state, start, position, messages, tokens)


async def located(engine: Engine, state: State, offset: Offset) -> Place:
    """The place of an offset, which the stream has, and the token of the byte before it.

    Raises:
        BadOffset: when it is no offset.
        OffsetGone: when what it names is not to be had.
    """
    place = place_of(offset, state)
    known = known_tokens(state, place.position)
    if known:
        return Place(place.position, known[0])
    stretch = next(stretches(state, place.position))
    stored = await engine.records(stretch.incarnation, stretch.after, stretch.upto, 1)
    return Place(place.position, _verified(state, place, stretch, stored))


async def fork_place(engine: Engine, source: State, offset: Offset, sub_offset: int) -> Place:
    """The place at which a fork of a stream begins.

    Raises:
        BadOffset: when the offset is none of the stream's, or less than the sub-offset follows it.
    """
    try:
        begin = await located(engine, source, offset)
    except OffsetGone:
        raise BadOffset(str(offset), "the source has no such position") from None
    if not sub_offset:
        return begin
    page = await page_of(engine, source, Place(begin.position), PAGE if source.json else sub_offset)
    parts = page.messages[: sub_offset if source.json else 1]
    size = sum(map(len, parts))
    if (len(parts) if source.json else size) < sub_offset:
        raise BadOffset(str(offset), f"less than {sub_offset} follows it")
    position = begin.position + (size if source.json else sub_offset)
    return await located(engine, source, At(position, source.incarnation))


def _tokens(stretch: Stretch, stored: Stored) -> Iterator[tuple[int, str]]:
    """The last few ends of records, and their tokens: a character of text may lie in four records."""
    if stored.before is not None:
        yield stretch.after, text_of(stored.before, stretch.incarnation)
    for end, _, token in stored.records[-4:]:
        yield end, text_of(token, stretch.incarnation)


def _verified(state: State, place: Place, stretch: Stretch, stored: Stored) -> str:
    """The token of the byte before a place, which is the one that is asked for, if one is.

    The record before the first one that is kept may be gone: an earlier version did not keep it.
    """
    token = token_before(place.position, stored)
    if token is not None:
        found = {text_of(token, stretch.incarnation)}
    else:
        found = incarnations(state) if place.position == state.start else set()
    if place.token is None:
        return min(found, default=state.incarnation)
    if place.token not in found:
        raise OffsetGone(state.name, offset_at(place.position, place.token))
    return place.token
