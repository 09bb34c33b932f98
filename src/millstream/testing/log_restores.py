"""What a log promises when its storage has an older state again: after a crash, a failover, or a restore.

What was acknowledged since is lost then, and that is the storage's to answer for. The log's promise is that
nobody is given other bytes in its place without being told.

A check's name is its promise.
"""

# ruff: noqa: D103  as above

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, TypeVar
from uuid import uuid4

from millstream.durable.naming import Config
from millstream.durable.refusals import BadOffset, LogRefused, OffsetGone, SequenceGap, StaleEpoch
from millstream.durable.state import JSON, Producer, State
from millstream.testing.log_streams import (
    PATIENCE,
    TEXT,
    MakeEngine,
    Streams,
    given,
    process,
    refused,
    require,
)

Restore = Callable[[], Awaitable[None]]
"""Gives the storage its older state back, under the engines that are open."""

Save = Callable[[], Awaitable[Restore]]
"""Keeps the state that the storage has now."""

T = TypeVar("T")


async def an_offset_of_what_was_lost_is_gone_for_ever(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        name = await one.new()
        kept = (await one.append(name, b"AAAA")).state.next_offset
        restore = await _saved(save, one, other)
        await one.append(name, b"BB")
        lost = [(await one.log.describe(name)).next_offset]
        lost.append((await one.append(name, b"BB")).state.next_offset)
        await _restored(restore, one, other)
        await _refuse_each(one, other, name, lost)
        for record in (b"c", b"c", b"dd", b"dddd"):
            await other.append(name, record)
            await _refuse_each(one, other, name, lost)
        for node in (one, other, await process(nodes, engine)):
            await node.expect(name, b"AAAA", b"c", b"c", b"dd", b"dddd")
            require(b"".join(await node.all(name, kept)) == b"ccdddddd", "what was kept lost its offset")


async def each_offset_names_one_content(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        for config in (TEXT, Config(content_type=JSON)):
            name = await one.new(config=config)
            await one.append(name, b"1", b"2")
            restore = await _saved(save, one, other)
            before = await _contents(one, name, [b"333", b"444"])
            await _restored(restore, one, other)
            after = await _contents(other, name, [b"555", b"444", b"666"])
            for offset, content in {**before, **after}.items():
                read = await _before(one, name, offset)
                require(
                    read in {None, content},
                    f"the offset {offset} stood for {content!r}, and now does for {read!r}",
                )
            require(
                all([await _before(one, name, offset) is not None for offset in after]),
                "an offset that is good was refused",
            )


async def who_follows_is_told_of_a_loss(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        appended = ((), (b"cc",), (b"cccc",), (b"cccccccc",), (b"c", b"ccccccc"))
        later = {await one.new(b"AAAA"): records for records in appended}
        restore = await _saved(save, one, other)
        ends = [(await one.append(name, b"BBBB")).state.next_offset for name in later]
        followers = [
            asyncio.ensure_future(_told(one, name, end)) for name, end in zip(later, ends, strict=True)
        ]
        await asyncio.sleep(0.01)  # lets them wait; were they not there yet, the check would pass as well
        await _restored(restore, one, other)
        for name, records in later.items():
            for record in records:
                await other.append(name, record)
        for told in await asyncio.wait_for(asyncio.gather(*followers), PATIENCE):
            require(isinstance(told, OffsetGone), f"who followed was given {told!r}")


async def a_producer_whose_records_were_lost_leaves_no_gap(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        name = await one.new()
        await one.claim(name, 0, b"a")
        restore = await _saved(save, one, other)
        await one.claim(name, 1, b"b")
        await one.claim(name, 2, b"c")
        await one.append(name, b"q", producer=Producer("q", 0, 0))
        await _restored(restore, one, other)
        for node in (one, other):
            gap = await refused(SequenceGap, node.claim(name, 3, b"d"), "a gap")
            require((gap.expected, gap.received) == (1, 3), f"a gap was told as {gap!r}")
            late = node.append(name, b"r", producer=Producer("q", 0, 1))
            await refused(SequenceGap, late, "a producer that the storage has forgotten")
        for number, record in enumerate((b"b", b"c", b"d"), 1):
            await other.claim(name, number, record)
        await one.expect(name, b"a", b"b", b"c", b"d")


async def a_run_that_was_lost_in_part_never_goes_on_with_other_bytes(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        for ends in (True, False):
            name = f"check/{uuid4().hex}"
            lease = given(await one.log.claim(name, TEXT, will=b"it died"))
            await one.append(name, b"aa", producer=lease.claim(0))
            restore = await _saved(save, one, other)
            await one.append(name, b"bb", producer=lease.claim(1))
            await one.append(name, b"bb", producer=lease.claim(2))
            await _restored(restore, one, other)
            late = one.append(name, b"cc", producer=lease.claim(3))
            await refused(SequenceGap, late, "a producer whose records were lost")
            seen = await other.log.describe(name)
            if ends:
                await other.log.reap(seen)
            else:
                second = await other.log.take_over(seen)
                await other.append(name, b"cc", b"cc", producer=second.claim(0))
            for node in (one, other):
                for place in (3, 4, 5, 6):
                    lost = node.log.read(name, lease.offset_at(place))
                    await refused(OffsetGone, lost, f"byte {place} of what a dead producer wrote")
                rest = b"".join(await node.all(name, lease.offset_at(2)))
                require(rest == (b"it died" if ends else b"cccc"), f"what was kept is followed by {rest!r}")


async def a_lease_that_was_lost_is_no_lease(engine: MakeEngine, save: Save) -> None:
    async with AsyncExitStack() as nodes:
        one, other = [await process(nodes, engine) for _ in range(2)]
        name = f"check/{uuid4().hex}"
        lease = given(await one.log.claim(name, TEXT, will=b"died"))
        await one.append(name, b"a", producer=lease.claim(0))
        restore = await _saved(save, one, other)
        seen = await other.log.describe(name)
        second = await other.log.take_over(seen)
        await _restored(restore, one, other)
        late = other.append(name, b"z", producer=second.claim(0))
        await refused(StaleEpoch, late, "a producer whose taking over was lost")
        await one.expect(name, b"a")


async def _saved(save: Save, *nodes: Streams) -> Restore:
    restore = await save()
    await _connected(*nodes)
    return restore


async def _restored(restore: Restore, *nodes: Streams) -> None:
    await restore()
    await _connected(*nodes)


async def _connected(*nodes: Streams) -> None:
    """Let each process find its storage again, which may have been away."""
    for node in nodes:
        await _again(node, partial(node.log.create, "check/connected", TEXT))
        await _again(node, partial(node.log.describe, "check/connected"))


async def _again(node: Streams, asked: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again, as everybody does while the storage is away."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await asked()
            except node.log.failures:
                await asyncio.sleep(0.01)


async def _refuse_each(one: Streams, other: Streams, name: str, offsets: Sequence[str]) -> None:
    """Require that whoever stands at one of these offsets is told so, whatever it asks for."""
    for node in (one, other):
        for offset in offsets:
            await refused(OffsetGone, node.log.read(name, offset), "reading on from what was lost")
            forked = node.log.fork(f"{name}/fork", name, Config(), offset=offset)
            await refused(BadOffset, forked, "forking from what was lost")
            waited = await asyncio.gather(node.log.wait_more(name, offset, 0), return_exceptions=True)
            there_is_more = isinstance(waited[0], State) and waited[0].tail > int(offset[:16])
            require(there_is_more or isinstance(waited[0], OffsetGone), f"who waited was told {waited[0]!r}")


async def _contents(node: Streams, name: str, records: Sequence[bytes]) -> dict[str, bytes]:
    """The offsets after each of these appends, and in the middle of it, and all that is before them."""
    found = {}
    for record in records:
        await node.append(name, record, record)
        whole = b"".join(await node.all(name))
        offset = (await node.log.describe(name)).next_offset
        found[offset] = whole
        for most in range(1, len(whole)):
            page = await node.log.read(name, most=most)
            found[page.next_offset] = b"".join(page.messages)
    return found


async def _before(node: Streams, name: str, offset: str) -> bytes | None:
    """All that is before an offset; None when the stream does not have it."""
    try:
        after = await node.all(name, offset)
    except LogRefused:
        return None
    whole = b"".join(await node.all(name))
    rest = b"".join(after)
    require(whole.endswith(rest), "an offset leads to what is not the rest of the stream")
    return whole.removesuffix(rest)


async def _told(node: Streams, name: str, offset: str) -> object:
    """What somebody is told who follows a stream: what comes next, or why nothing does."""
    try:
        while True:
            state = await _again(node, lambda: node.log.wait_more(name, offset, PATIENCE))
            page = await _again(node, lambda: node.log.read(name, offset))
            if page.messages or state.closed:
                return page.messages
    except LogRefused as refusal:
        return refusal


CHECKS: Final[Sequence[Callable[[MakeEngine, Save], Awaitable[None]]]] = (
    an_offset_of_what_was_lost_is_gone_for_ever,
    each_offset_names_one_content,
    who_follows_is_told_of_a_loss,
    a_producer_whose_records_were_lost_leaves_no_gap,
    a_run_that_was_lost_in_part_never_goes_on_with_other_bytes,
    a_lease_that_was_lost_is_no_lease,
)
"""Each gives the storage an older state back."""
