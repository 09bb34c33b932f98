"""What a log promises to several processes on one storage, at once and one after the other.

Each engine here stands for a process of its own. A process that is killed says nothing any more: its engine
is left as it is, and closed at the end.

A check's name is its promise.
"""

# ruff: noqa: D103  as above

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final
from uuid import uuid4

from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.refusals import LeaseLost, StaleEpoch
from millstream.testing.log_streams import (
    PATIENCE,
    TEXT,
    Clock,
    MakeEngine,
    Streams,
    all_of,
    given,
    in_time,
    process,
    refused,
    require,
)


async def what_was_stored_is_there_again(engine: MakeEngine) -> None:
    async with Log(engine()) as log:
        streams = Streams(log, Clock())
        name = await streams.new(b"a")
        offset = (await streams.claim(name, 0, b"b")).state.next_offset
        await streams.log.fork(f"{name}/fork", name, Config(), [b"f"])
        lease = given(await log.claim(f"{name}/run", TEXT))
    async with Log(engine()) as log:
        streams = Streams(log, Clock())
        await streams.expect(name, b"a", b"b")
        await streams.expect(f"{name}/fork", b"a", b"b", b"f")
        require((await streams.claim(name, 0, b"b")).duplicate, "a claim was forgotten by closing the engine")
        await streams.claim(name, 1, b"c", close=True)
        require(await streams.all(name, offset) == [b"c"], "an offset was forgotten by closing the engine")
        await log.renew(lease)


async def another_process_sees_every_change(engine: MakeEngine) -> None:
    async with Log(engine()) as one, Log(engine()) as other:
        here, there = Streams(one, Clock()), Streams(other, Clock())
        name = await here.new(b"a")
        await there.expect(name, b"a")
        waiter = asyncio.ensure_future(other.wait_more(name, "now", PATIENCE))
        await asyncio.sleep(0.01)  # as above
        await here.claim(name, 0, b"b")
        async with in_time("a waiter elsewhere was not woken"):
            await waiter
        require((await there.claim(name, 0, b"b")).duplicate, "two engines accepted the same claim")
        await all_of(*((here, there)[n % 2].append(name, b"%02d" % n) for n in range(40)))
        require(await here.all(name) == await there.all(name), "two engines read different streams")
        require(len(await here.all(name)) == 42, "two engines lost or repeated appends")  # noqa: PLR2004  40 and two
        leases = await all_of(*((one, other)[n % 2].claim(f"{name}/run", TEXT) for n in range(40)))
        require(sum(lease is not None for lease in leases) == 1, "two engines gave the same lease twice")
        await other.stop(f"{name}/run")
        async with in_time("a wish to stop was not heard elsewhere"):
            await one.wait_until(f"{name}/run", lambda state: state.stopping, PATIENCE)


async def a_killed_producer_is_ended_by_a_process_that_never_saw_it(engine: MakeEngine) -> None:
    async with AsyncExitStack() as nodes:
        dead, alive, late = [await process(nodes, engine) for _ in range(3)]
        name, lease = await _run(dead)
        async with in_time("a process that never saw the producer could not end its run"):
            ended = await alive.log.reap(await alive.log.describe(name))
        require(ended.closed and ended.failed, "a run that another process ended does not look failed")
        await _goes_on(alive, dead, late)
        await refused(
            StaleEpoch, dead.append(name, b"z", producer=lease.claim(2)), "a dead producer's append"
        )
        await refused(LeaseLost, dead.log.renew(lease), "renewing a lease that another process has ended")
        for node in (dead, alive, late):
            await node.expect(name, b"a", b"b", b"died")


async def a_killed_producer_is_followed_by_a_process_that_never_saw_it(engine: MakeEngine) -> None:
    async with AsyncExitStack() as nodes:
        dead, alive, late = [await process(nodes, engine) for _ in range(3)]
        name, lease = await _run(dead)
        async with in_time("a process that never saw the producer could not take its run over"):
            second = await alive.log.take_over(await alive.log.describe(name))
        await refused(
            StaleEpoch, dead.append(name, b"z", producer=lease.claim(2)), "a dead producer's append"
        )
        await refused(LeaseLost, late.log.reap(lease.state), "ending a run that was taken over")
        await alive.append(name, b"c", producer=second.claim(0))
        third = await late.log.take_over(await late.log.describe(name))
        await refused(
            StaleEpoch, alive.append(name, b"z", producer=second.claim(1)), "the second one's append"
        )
        await late.append(name, b"d", producer=third.claim(0), close=True)
        await _goes_on(alive, dead, late)
        for node in (dead, alive, late):
            await node.expect(name, b"a", b"b", b"c", b"d")


async def of_many_processes_one_takes_a_run_over(engine: MakeEngine) -> None:
    async with AsyncExitStack() as nodes:
        dead, *others = [await process(nodes, engine) for _ in range(4)]
        name, lease = await _run(dead)
        seen = await others[0].log.describe(name)
        race = [node.log.take_over(seen) for node in others] + [node.log.reap(seen) for node in others]
        async with in_time("processes that race for a dead producer's run hang"):
            told = await asyncio.gather(*race, return_exceptions=True)
        won = [one for one in told if not isinstance(one, LeaseLost)]
        require(len(won) == 1, f"of six that raced for a run, {won!r} had it")
        await refused(
            StaleEpoch, dead.append(name, b"z", producer=lease.claim(2)), "a dead producer's append"
        )
        await _goes_on(*others, dead)


async def processes_that_write_to_one_stream_are_all_served(engine: MakeEngine) -> None:
    async with AsyncExitStack() as open_nodes:
        nodes = [await process(open_nodes, engine) for _ in range(4)]
        name = await nodes[0].new()
        async with in_time("processes that write to one stream hinder each other"):
            await all_of(*(_write(node, name, b"%d" % which, 25) for which, node in enumerate(nodes)))
        for node in nodes:
            found = b"".join(await node.all(name))
            require(sorted(found) == sorted(b"0123" * 25), f"of four processes' appends, {found!r} was read")


async def _write(node: Streams, name: str, record: bytes, count: int) -> None:
    for _ in range(count):
        await node.append(name, record)


async def _run(node: Streams) -> tuple[str, Lease]:
    """A run with two records, and its lease."""
    name = f"check/{uuid4().hex}"
    lease = given(await node.log.claim(name, TEXT, will=b"died"))
    for number, record in enumerate((b"a", b"b")):
        await node.append(name, record, producer=lease.claim(number))
    return name, lease


async def _goes_on(*nodes: Streams) -> None:
    """Require that each process can still write, and is seen by the others."""
    async with in_time("a process cannot write any more"):
        for node in nodes:
            name = await node.new(b"on")
            for other in nodes:
                await other.append(name, b"!")
            await node.expect(name, b"on", *[b"!"] * len(nodes))


KEPT: Final[Sequence[Callable[[MakeEngine], Awaitable[None]]]] = (what_was_stored_is_there_again,)
"""Each closes an engine and opens another one."""

SHARED: Final[Sequence[Callable[[MakeEngine], Awaitable[None]]]] = (
    another_process_sees_every_change,
    a_killed_producer_is_ended_by_a_process_that_never_saw_it,
    a_killed_producer_is_followed_by_a_process_that_never_saw_it,
    of_many_processes_one_takes_a_run_over,
    processes_that_write_to_one_stream_are_all_served,
)
"""Each has two engines or more open over the storage at once."""
