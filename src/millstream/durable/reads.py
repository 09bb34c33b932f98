"""Reading from an engine: a page of a stream, however many incarnations hold it; and where a fork begins."""

from __future__ import annotations

from typing import Final

from millstream.durable.engine import Engine
from millstream.durable.offsets import position_of
from millstream.durable.pages import Page, cut, stretches
from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import State

PAGE: Final = 1024 * 1024
"""The most bytes a page has, unless a single JSON message is longer."""


async def page_of(engine: Engine, state: State, position: int, most: int) -> Page:
    """What follows a position, as much as a page may have, but nothing the state does not know of yet.

    Raises:
        BadOffset: when the position is within a JSON message.
        OffsetGone: when records are missing.
    """
    messages: list[bytes] = []
    start, left = position, most
    for stretch in stretches(state, position):
        records = await engine.records(stretch.incarnation, stretch.after, stretch.upto, left)
        found = cut(state, stretch, records, left)
        size = sum(map(len, found))
        messages += found
        position += size
        left -= size
        if left <= 0 or position < stretch.upto:
            break
    return Page(state, start, position, messages)


async def fork_position(engine: Engine, source: State, offset: str, sub_offset: int) -> int:
    """The position at which a fork of a stream begins.

    Raises:
        BadOffset: when the offset is none of the stream's, or less than the sub-offset follows it.
    """
    try:
        position = position_of(offset, source)
    except OffsetGone:
        raise BadOffset(offset, "the source has no such position") from None
    if not sub_offset:
        return position
    page = await page_of(engine, source, position, PAGE if source.json else sub_offset)
    parts = page.messages[: sub_offset if source.json else 1]
    size = sum(map(len, parts))
    if (len(parts) if source.json else size) < sub_offset:
        raise BadOffset(offset, f"less than {sub_offset} follows it")
    return position + (size if source.json else sub_offset)
