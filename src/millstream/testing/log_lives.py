"""What a log promises about the lives of streams: forks, deletion, time, and leases.

A check's name is its promise.
"""

# ruff: noqa: D103  as above

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4

from millstream.durable.naming import Config
from millstream.durable.offsets import START
from millstream.durable.refusals import (
    BadOffset,
    ContentTypeDiffers,
    LeaseLost,
    NameTaken,
    NoSuchStream,
    OffsetGone,
    StaleEpoch,
    StreamGone,
)
from millstream.durable.state import JSON
from millstream.testing.log_streams import (
    TEXT,
    Streams,
    all_of,
    given,
    refused,
    require,
)


async def another_life_is_another_stream(streams: Streams) -> None:
    name = await streams.new(b"old")
    await streams.claim(name, 0, b"er")
    old = (await streams.log.describe(name)).next_offset
    await streams.log.delete(name)
    await refused(NoSuchStream, streams.log.read(name), "reading a deleted stream")
    await refused(NoSuchStream, streams.log.delete(name), "deleting a deleted stream")
    await streams.new(b"newer", name=name)
    await refused(OffsetGone, streams.log.read(name, old), "resuming in a stream's earlier life")
    await streams.expect(name, b"newer")
    require(not (await streams.claim(name, 0, b"!")).duplicate, "a producer outlived its stream")


async def a_fork_shares_what_came_before(streams: Streams) -> None:
    source = await streams.new(b"ab", b"cd")
    middle = (await streams.append(source, b"ef")).state.next_offset
    await streams.claim(source, 0, b"gh")
    fork, twig = f"{source}/fork", f"{source}/twig"
    await streams.log.fork(fork, source, Config(), [b"XY"], offset=middle, sub_offset=1)
    await streams.append(source, b"ij")
    await streams.expect(fork, b"ab", b"cd", b"ef", b"g", b"XY")
    require(b"".join(await streams.all(fork, most=3)) == b"abcdefgXY", "pages of a fork lose or repeat bytes")
    require(await streams.all(fork, middle) == [b"g", b"XY"], "a fork does not know its source's offsets")
    await streams.log.fork(twig, fork, Config(), sub_offset=0)
    await streams.append(twig, b"!")
    await streams.expect(twig, b"ab", b"cd", b"ef", b"g", b"XY", b"!")
    await streams.expect(source, b"ab", b"cd", b"ef", b"gh", b"ij")
    require(not (await streams.claim(fork, 0, b"?")).duplicate, "a fork knows its source's producers")
    again = await streams.log.fork(fork, source, Config(), offset=middle, sub_offset=1)
    require(not again.fresh, "forking the same again made a second one")
    await refused(
        NameTaken, streams.log.fork(fork, source, Config(), offset=middle), "forking elsewhere again"
    )


async def a_fork_begins_where_something_does(streams: Streams) -> None:
    source = await streams.new(b"ab", b"cd")
    messages = await streams.new(b"1", b"22", b"333", config=Config(content_type=JSON))
    await streams.log.fork(f"{messages}/fork", messages, Config(), offset=START, sub_offset=2)
    await streams.expect(f"{messages}/fork", b"1", b"22")
    for wrong, sub in ((source, 3), (messages, 4)):
        forked = streams.log.fork(f"{wrong}/no", wrong, Config(), offset=START, sub_offset=sub)
        await refused(BadOffset, forked, "forking past the next record")
    far = "9" * 16 + "_" + "9" * 16
    await refused(
        BadOffset, streams.log.fork(f"{source}/no", source, Config(), offset=far), "forking too far"
    )
    await refused(
        ContentTypeDiffers,
        streams.log.fork(f"{source}/no", source, Config(content_type=JSON)),
        "another type",
    )
    await refused(
        NoSuchStream, streams.log.fork(f"{source}/no", f"{source}/none", Config()), "forking nothing"
    )
    await streams.log.delete(source)
    await refused(NoSuchStream, streams.log.describe(source), "a refused fork kept its source alive: it")


async def a_source_stays_for_its_forks(streams: Streams) -> None:
    names = [await streams.new(b"0")]
    for level in range(1, 3):
        names.append(f"{names[0]}/{level}")
        await streams.log.fork(names[-1], names[-2], Config(), [b"%d" % level])
    for name in names[:2]:
        await streams.log.delete(name)
    await streams.expect(names[2], b"0", b"1", b"2")
    await refused(StreamGone, streams.log.read(names[0]), "reading a deleted source")
    await refused(StreamGone, streams.append(names[1], b"x"), "appending to a deleted source")
    await refused(StreamGone, streams.log.delete(names[1]), "deleting a deleted source")
    await refused(NameTaken, streams.log.create(names[0], TEXT), "creating a deleted source")
    await refused(
        NameTaken, streams.log.fork(f"{names[0]}/n", names[0], Config()), "forking a deleted source"
    )
    await streams.log.delete(names[2])
    for name in names:
        await refused(NoSuchStream, streams.log.describe(name), "a family whose last fork is gone: it")
    await streams.new(b"new", name=names[0])
    await streams.expect(names[0], b"new")


async def what_is_trimmed_is_not_skipped(streams: Streams) -> None:
    name = await streams.new(b"aa")
    first = (await streams.log.describe(name)).next_offset
    second = (await streams.append(name, b"bb")).state.next_offset
    await streams.append(name, b"cc")
    await streams.log.trim(name, second)
    await refused(OffsetGone, streams.log.read(name, first), "reading what was trimmed")
    await streams.expect(name, b"cc")
    require(await streams.all(name, second) == [b"cc"], "what was not trimmed is not there")
    await streams.append(name, b"dd")
    await streams.expect(name, b"cc", b"dd")


async def time_ends_what_nobody_uses(streams: Streams) -> None:
    config = Config(content_type="text/plain", ttl=100)
    name, idle = await streams.new(b"x", config=config), await streams.new(b"x", config=config)
    until = await streams.new(config=Config(content_type="text/plain", expires_at=streams.clock() + 150))
    streams.clock.advance(90)
    await streams.log.describe(idle)
    await streams.log.read(name)
    await streams.append(until, b"x")
    streams.clock.advance(20)
    await streams.log.read(name)
    await refused(NoSuchStream, streams.log.read(idle), "reading what has expired")
    await refused(NoSuchStream, streams.append(idle, b"x"), "appending to what has expired")
    await streams.new(b"again", name=idle, config=config)
    await streams.expect(idle, b"again")
    streams.clock.advance(60)
    await refused(NoSuchStream, streams.log.describe(until), "a stream past its hour: it")
    await streams.log.read(name)
    require(await streams.log.sweep() >= 1, "nothing was swept")
    await streams.log.describe(name)


async def a_lease_holds_until_it_is_taken(streams: Streams) -> None:
    name = f"check/{uuid4().hex}"
    lease = given(await streams.log.claim(name, Config(content_type="text/plain", ttl=10), will=b"died"))
    require(await streams.log.claim(name, TEXT) is None, "a second producer was given the lease")
    seen = await streams.log.describe(name)
    require(seen.name in [state.name for state in await streams.log.leased()], "a lease is not listed")
    streams.clock.advance(1000)
    await streams.append(name, b"a", producer=lease.claim(0))
    await streams.log.sweep()
    await streams.expect(name, b"a")
    await streams.log.stop(name)
    require((await streams.log.renew(lease)).stopping, "a producer was not told to stop")
    for late in (streams.log.take_over(seen), streams.log.reap(seen)):
        await refused(LeaseLost, late, "taking a lease whose holder gave a sign of life")
    second = await streams.log.take_over(await streams.log.describe(name))
    await refused(LeaseLost, streams.log.renew(lease), "renewing a lease that was taken over")
    await refused(StaleEpoch, streams.append(name, b"z", producer=lease.claim(1)), "a zombie's append")
    await streams.append(name, b"b", producer=second.claim(0))
    reaped = await streams.log.reap(await streams.log.describe(name))
    require(reaped.closed and reaped.failed, "a reaped stream does not look failed")
    await refused(StaleEpoch, streams.append(name, b"z", producer=second.claim(1)), "a zombie's last append")
    await refused(LeaseLost, streams.log.renew(second), "renewing a reaped lease")
    await streams.expect(name, b"a", b"b", b"died")
    require(name not in [state.name for state in await streams.log.leased()], "a reaped lease is listed")


async def what_failed_makes_room_for_one_producer(streams: Streams) -> None:
    name, config = f"check/{uuid4().hex}", Config(content_type="text/plain", ttl=100)
    first = given(await streams.log.claim(name, config))
    await streams.append(name, b"half", producer=first.claim(0), close=True, failed=True)
    failed_at = streams.clock()
    streams.clock.advance(10)
    await streams.log.read(name)
    early = await streams.log.claim(name, config, failed_before=failed_at - 1)
    require(early is None, "a failure gave way to somebody who had asked before")
    require(await streams.log.claim(name, config) is None, "a failure gave way to somebody who did not ask")
    claims = (streams.log.claim(name, config, failed_before=failed_at + 1) for _ in range(20))
    leases = [lease for lease in await all_of(*claims) if lease is not None]
    require(len(leases) == 1, f"{len(leases)} producers were given the place of one that failed")
    await streams.expect(name)
    await streams.append(name, b"whole", producer=leases[0].claim(0), close=True)
    late = await streams.log.claim(name, config, failed_before=streams.clock() + 1)
    require(late is None, "what ended well made room")
    await streams.expect(name, b"whole")


async def a_failure_is_not_kept_by_reading_it(streams: Streams) -> None:
    name, config = f"check/{uuid4().hex}", Config(content_type="text/plain", ttl=100)
    lease = given(await streams.log.claim(name, config))
    await streams.append(name, b"half", producer=lease.claim(0), close=True, failed=True)
    for _ in range(3):
        await streams.log.read(name)
        streams.clock.advance(40)
    await refused(NoSuchStream, streams.log.read(name), "reading a failure whose time is over")


CHECKS: Final[Sequence[Callable[[Streams], Awaitable[None]]]] = (
    another_life_is_another_stream,
    a_fork_shares_what_came_before,
    a_fork_begins_where_something_does,
    a_source_stays_for_its_forks,
    what_is_trimmed_is_not_skipped,
    time_ends_what_nobody_uses,
    a_lease_holds_until_it_is_taken,
    what_failed_makes_room_for_one_producer,
    a_failure_is_not_kept_by_reading_it,
)
"""Each wants a log of its own."""
