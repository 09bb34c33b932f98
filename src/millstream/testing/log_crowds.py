"""What a log promises to many at once: order, wake-ups, refusals and cancellations.

A check's name is its promise.
"""

# ruff: noqa: D103  as above

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from millstream.durable.appending import Appended
from millstream.durable.refusals import (
    NoSuchStream,
    StreamClosed,
)
from millstream.durable.state import State
from millstream.testing.log_streams import (
    PATIENCE,
    TEXT,
    Streams,
    all_of,
    in_time,
    require,
)


async def many_at_once_are_as_one_after_the_other(streams: Streams) -> None:
    name = await streams.new()
    await all_of(*(streams.append(name, b"%03d;" % number) for number in range(100)))
    found = b"".join(await streams.all(name)).split(b";")[:-1]
    require(sorted(found) == [b"%03d" % n for n in range(100)], f"of 100 appends at once, {found!r} was read")
    same = await all_of(*(streams.claim(name, 0, b"once") for _ in range(30)))
    require(sum(not one.duplicate for one in same) == 1, "the same claim at once was accepted more than once")
    target = f"{name}/race"
    made = await all_of(*(streams.log.create(target, TEXT, [b"%d" % number]) for number in range(30)))
    require(sum(one.fresh for one in made) == 1, "a race created more than one stream")
    leases = await all_of(*(streams.log.claim(f"{name}/lease", TEXT) for _ in range(100)))
    require(sum(lease is not None for lease in leases) == 1, "a race gave more than one lease")


async def a_refusal_does_not_touch_its_neighbours(streams: Streams) -> None:
    name, closed = await streams.new(), await streams.new()
    await streams.append(closed, close=True)
    asked = []
    for number in range(20):
        asked += [streams.claim(name, number, b"%02d" % number), streams.append(closed, b"no")]
    results = await asyncio.gather(*asked, return_exceptions=True)
    require(all(isinstance(one, Appended) for one in results[::2]), "a refusal made others fail")
    require(all(isinstance(one, StreamClosed) for one in results[1::2]), "a refusal was lost among others")
    await streams.expect(name, *(b"%02d" % number for number in range(20)))


async def who_is_cancelled_stored_all_or_nothing(streams: Streams) -> None:
    name = await streams.new()
    for seq in range(20):
        asked = asyncio.ensure_future(streams.claim(name, seq, b"<", b"%d" % seq, b">"))
        for _ in range(seq % 4):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await streams.claim(name, seq, b"<", b"%d" % seq, b">")
    found = b"".join(await streams.all(name))
    require(found == b"".join(b"<%d>" % seq for seq in range(20)), f"after cancellations, {found!r} was read")


async def no_waiter_sleeps_through_an_append(streams: Streams) -> None:
    name = await streams.new()
    offset, read = (await streams.log.describe(name)).next_offset, 0
    writer = asyncio.ensure_future(_write(streams, name, 50))
    async with in_time("a waiter slept through an append"):
        while not (await streams.log.wait_more(name, offset, PATIENCE)).closed or read < 50:  # noqa: PLR2004  as many as were written
            page = await streams.log.read(name, offset)
            offset, read = page.next_offset, read + len(page.messages)
        await writer
    start = time.monotonic()
    other = await streams.new()
    await streams.log.wait_more(other, "now", 0.05)
    require(time.monotonic() - start < PATIENCE, "a waiter did not give up in time")


async def _write(streams: Streams, name: str, count: int) -> None:
    for number in range(count):
        await streams.append(name, b"x", close=number == count - 1)
        await asyncio.sleep(0)


async def waiters_are_told_of_every_end(streams: Streams) -> None:
    closing, deleted, stopped = [await streams.new() for _ in range(3)]
    waiters = [
        asyncio.ensure_future(streams.log.wait_more(closing, "now", PATIENCE)),
        asyncio.ensure_future(streams.log.wait_more(deleted, "now", PATIENCE)),
        asyncio.ensure_future(streams.log.wait_until(stopped, lambda state: state.stopping, PATIENCE)),
    ]
    await asyncio.sleep(0.01)  # lets them wait; were they not there yet, the check would pass as well
    await streams.append(closing, close=True)
    await streams.log.delete(deleted)
    await streams.log.stop(stopped)
    async with in_time("a waiter was not told of an end"):
        ends = await asyncio.gather(*waiters, return_exceptions=True)
    require(isinstance(ends[0], State) and ends[0].closed, f"closing was told as {ends[0]!r}")
    require(isinstance(ends[1], NoSuchStream), f"deletion was told as {ends[1]!r}")
    require(isinstance(ends[2], State) and ends[2].stopping, f"the wish to stop was told as {ends[2]!r}")


CHECKS: Final[Sequence[Callable[[Streams], Awaitable[None]]]] = (
    many_at_once_are_as_one_after_the_other,
    a_refusal_does_not_touch_its_neighbours,
    who_is_cancelled_stored_all_or_nothing,
    no_waiter_sleeps_through_an_append,
    waiters_are_told_of_every_end,
)
"""Each wants a log of its own."""
