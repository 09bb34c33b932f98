"""The check of a log's contract, for whoever writes an engine.

A check runs in any test; what is broken is an `AssertionError` that says so in one sentence::

    async def test_my_engine_keeps_the_contract(tmp_path):
        await check_log(lambda: MyEngine(tmp_path / "streams"))
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar
from uuid import uuid4

from millstream.durable.appending import Append, Appended
from millstream.durable.engine import Engine
from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.offsets import START
from millstream.durable.refusals import (
    BadOffset,
    ContentTypeDiffers,
    EpochBeginsAtZero,
    LeaseLost,
    LogRefused,
    NameTaken,
    NoSuchStream,
    OffsetGone,
    SequenceGap,
    SequenceRegressed,
    StaleEpoch,
    StreamClosed,
    StreamGone,
)
from millstream.durable.state import JSON, Producer, State

MakeEngine = Callable[[], Engine]
"""Makes an engine over the same storage each time."""

R = TypeVar("R", bound=LogRefused)
T = TypeVar("T")

TEXT: Final = Config(content_type="text/plain")
_PATIENCE: Final = 10.0  # seconds after which something that should have happened has not


async def check_log(engine: MakeEngine, *, keeps: bool = True, shared: bool = True) -> None:
    """Check that a log over an engine keeps its contract.

    Args:
        engine: makes an engine over the same storage each time; what is stored there already does no harm.
        keeps: whether another engine, made after this one was closed, finds what was stored.
        shared: whether two engines may be open over the storage at once.

    Raises:
        AssertionError: when the contract is broken.
    """
    for check in _CHECKS:
        with _in_one_sentence(check):
            clock = Clock()
            async with Log(engine(), clock=clock) as log:
                await check(_Streams(log, clock))
    if keeps:
        with _in_one_sentence(_what_was_stored_is_there_again):
            await _what_was_stored_is_there_again(engine)
    if shared:
        with _in_one_sentence(_another_process_sees_every_change):
            await _another_process_sees_every_change(engine)


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        """The time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass, or jump back."""
        self._now += seconds


class _Streams:
    """A log and what the checks do with it again and again."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log = log
        self.clock = clock

    async def new(self, *records: bytes, config: Config = TEXT, name: str = "") -> str:
        """A stream nobody has."""
        name = name or f"check/{uuid4().hex}"
        created = await self.log.create(name, config, records)
        _require(created.fresh, f"a new stream {name!r} was there already")
        return name

    async def append(self, name: str, *records: bytes, **request: Any) -> Appended:
        """Any, because each field of `Append` has its own type."""
        return await self.log.append(name, Append(records=records, **request))

    async def claim(
        self, name: str, number: int, *records: bytes, epoch: int = 0, **request: Any
    ) -> Appended:
        """An append of the producer `p`."""
        return await self.append(name, *records, producer=Producer("p", epoch, number), **request)

    async def all(self, name: str, offset: str = START, *, most: int = 1 << 20) -> list[bytes]:
        """Every message from an offset on, page by page."""
        messages: list[bytes] = []
        while True:
            page = await self.log.read(name, offset, most=most)
            messages += page.messages
            _require(page.next_offset >= offset or offset == START, "a page leads back")
            _require(page.up_to_date or page.end > page.start, "a page leads nowhere, but is not the last")
            if page.up_to_date:
                return messages
            offset = page.next_offset

    async def expect(self, name: str, *messages: bytes) -> None:
        """Require that a stream is made of these messages."""
        found = await self.all(name)
        _require(found == list(messages), f"{messages!r} were appended, but {found!r} were read")


async def _a_stream_is_created_once(streams: _Streams) -> None:
    name = await streams.new(b"first")
    again = await streams.log.create(name, TEXT, [b"again"])
    _require(not again.fresh, "creating the same stream again made a second one")
    await streams.expect(name, b"first")
    for other in (Config(content_type=JSON), Config(content_type="text/plain", ttl=60)):
        await _refused(NameTaken, streams.log.create(name, other), "creating another stream of that name")
    await _refused(NameTaken, streams.log.create(name, TEXT, closed=True), "creating it as a closed one")


async def _names_and_bytes_may_be_any(streams: _Streams) -> None:
    every = bytes(range(256))
    for hint in ("a/b c", "ü'\";--", "%00\\", "x" * 500, "{tag}*"):
        name = await streams.new(every, name=f"{uuid4().hex}/{hint}")
        await streams.append(name, b"\0", every * 300)
        await streams.expect(name, every, b"\0", every * 300)
    await _refused(NoSuchStream, streams.log.read(f"{uuid4().hex}"), "reading a stream that is not there")
    await _refused(NoSuchStream, streams.append(f"{uuid4().hex}", b"x"), "appending to one that is not there")


async def _offsets_name_each_place_between_messages(streams: _Streams) -> None:
    name = await streams.new()
    offsets = [(await streams.log.describe(name)).next_offset]
    messages = [b"%d" % number * (number + 1) for number in range(30)]
    offsets += [(await streams.append(name, message)).state.next_offset for message in messages]
    _require(offsets == sorted(set(offsets)), "offsets do not grow as text")
    _require(all(len(offset) < 256 for offset in offsets), "an offset is too long")  # noqa: PLR2004  the protocol's
    for number, offset in enumerate(offsets):
        found = await streams.all(name, offset)
        _require(found == messages[number:], f"from offset {number} on, {found!r} was read")
    _require((await streams.log.read(name, "now")).messages == [], "something was read from the tail")
    await _refused(BadOffset, streams.log.read(name, "nonsense"), "reading from a nonsense offset")


async def _a_page_is_no_longer_than_it_may_be(streams: _Streams) -> None:
    name = await streams.new(*(b"%04d" % number for number in range(100)))
    page = await streams.log.read(name, most=10)
    found = b"".join(page.messages)
    _require(0 < len(found) <= 10 and b"0000000100".startswith(found), f"ten bytes are {found!r}")  # noqa: PLR2004  as asked
    _require(not page.up_to_date, "a page that is not the last says that it is")
    joined = b"".join(await streams.all(name, most=7))
    _require(joined == b"".join(b"%04d" % number for number in range(100)), "pages lose or repeat bytes")
    wide = await streams.new(b"1", b"22", b"333", b"4" * 50, b"5", config=Config(content_type=JSON))
    _require(
        await streams.all(wide, most=4) == [b"1", b"22", b"333", b"4" * 50, b"5"], "a JSON message was cut"
    )


async def _a_producer_is_believed_once(streams: _Streams) -> None:
    name = await streams.new()
    _require(not (await streams.claim(name, 0, b"a")).duplicate, "a first claim was taken for a duplicate")
    _require(not (await streams.claim(name, 1, b"b")).duplicate, "a next claim was taken for a duplicate")
    again = await streams.claim(name, 0, b"a")
    _require(again.duplicate, "a claim was accepted twice")
    _require(again.producer == Producer("p", 0, 1), f"a duplicate was told {again.producer!r}")
    gap = await _refused(SequenceGap, streams.claim(name, 3, b"d"), "a claim after a gap")
    _require((gap.expected, gap.received) == (2, 3), f"a gap was told as {gap!r}")
    await _refused(EpochBeginsAtZero, streams.claim(name, 1, b"x", epoch=1), "a new epoch that begins at 1")
    await streams.claim(name, 0, b"c", epoch=1)
    stale = await _refused(StaleEpoch, streams.claim(name, 2, b"z"), "a producer that was fenced off")
    _require(stale.current == 1, f"the epoch that counts was told as {stale.current}")
    await streams.append(name, b"q", producer=Producer("q", 0, 0))
    await streams.expect(name, b"a", b"b", b"c", b"q")


async def _a_refused_append_leaves_nothing(streams: _Streams) -> None:
    name = await streams.new()
    await streams.append(name, b"a", seq="10")
    await _refused(SequenceRegressed, streams.append(name, b"b", seq="10"), "a Stream-Seq that stands still")
    await _refused(SequenceRegressed, streams.claim(name, 0, b"b", seq="09"), "a Stream-Seq that goes back")
    await _refused(
        ContentTypeDiffers,
        streams.claim(name, 0, b"b", content_type=JSON, close=True),
        "a wrong content type",
    )
    _require(not (await streams.claim(name, 0, b"b", seq="2")).duplicate, "a refused claim was remembered")
    await streams.append(name, b"c", content_type="TEXT/Plain; charset=utf-8")
    await streams.expect(name, b"a", b"b", b"c")


async def _closed_is_for_ever(streams: _Streams) -> None:
    name = await streams.new()
    await streams.claim(name, 0, b"a")
    await streams.claim(name, 1, b"b", close=True)
    page = await streams.log.read(name)
    _require(page.closed and page.messages == [b"a", b"b"], "records and closing are not one")
    _require((await streams.claim(name, 1, b"other", close=True)).duplicate, "closing again was refused")
    _require((await streams.append(name, close=True)).duplicate, "closing a closed stream was refused")
    for late in (streams.append(name, b"c"), streams.claim(name, 2, b"c"), streams.claim(name, 0, b"a")):
        closed = await _refused(StreamClosed, late, "appending to a closed stream")
        _require(closed.state.next_offset == page.next_offset, "a refusal does not tell the final offset")
    failed = await streams.new(b"half")
    await streams.append(failed, b"error", close=True, failed=True)
    _require((await streams.log.describe(failed)).failed, "a failed stream does not look failed")
    born = await streams.log.create(f"{name}/born", TEXT, [b"x"], closed=True)
    _require(born.state.closed, "a stream that was created closed is open")


async def _many_at_once_are_as_one_after_the_other(streams: _Streams) -> None:
    name = await streams.new()
    await _all(*(streams.append(name, b"%03d;" % number) for number in range(100)))
    found = b"".join(await streams.all(name)).split(b";")[:-1]
    _require(
        sorted(found) == [b"%03d" % n for n in range(100)], f"of 100 appends at once, {found!r} was read"
    )
    same = await _all(*(streams.claim(name, 0, b"once") for _ in range(30)))
    _require(
        sum(not one.duplicate for one in same) == 1, "the same claim at once was accepted more than once"
    )
    target = f"{name}/race"
    made = await _all(*(streams.log.create(target, TEXT, [b"%d" % number]) for number in range(30)))
    _require(sum(one.fresh for one in made) == 1, "a race created more than one stream")
    leases = await _all(*(streams.log.claim(f"{name}/lease", TEXT) for _ in range(100)))
    _require(sum(lease is not None for lease in leases) == 1, "a race gave more than one lease")


async def _a_refusal_does_not_touch_its_neighbours(streams: _Streams) -> None:
    name, closed = await streams.new(), await streams.new()
    await streams.append(closed, close=True)
    asked = []
    for number in range(20):
        asked += [streams.claim(name, number, b"%02d" % number), streams.append(closed, b"no")]
    results = await asyncio.gather(*asked, return_exceptions=True)
    _require(all(isinstance(one, Appended) for one in results[::2]), "a refusal made others fail")
    _require(all(isinstance(one, StreamClosed) for one in results[1::2]), "a refusal was lost among others")
    await streams.expect(name, *(b"%02d" % number for number in range(20)))


async def _who_is_cancelled_stored_all_or_nothing(streams: _Streams) -> None:
    name = await streams.new()
    for seq in range(20):
        asked = asyncio.ensure_future(streams.claim(name, seq, b"<", b"%d" % seq, b">"))
        for _ in range(seq % 4):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await streams.claim(name, seq, b"<", b"%d" % seq, b">")
    found = b"".join(await streams.all(name))
    _require(
        found == b"".join(b"<%d>" % seq for seq in range(20)), f"after cancellations, {found!r} was read"
    )


async def _no_waiter_sleeps_through_an_append(streams: _Streams) -> None:
    name = await streams.new()
    offset, read = (await streams.log.describe(name)).next_offset, 0
    writer = asyncio.ensure_future(_write(streams, name, 50))
    async with _in_time("a waiter slept through an append"):
        while not (await streams.log.wait_more(name, offset, _PATIENCE)).closed or read < 50:  # noqa: PLR2004  as many as were written
            page = await streams.log.read(name, offset)
            offset, read = page.next_offset, read + len(page.messages)
        await writer
    start = time.monotonic()
    other = await streams.new()
    await streams.log.wait_more(other, "now", 0.05)
    _require(time.monotonic() - start < _PATIENCE, "a waiter did not give up in time")


async def _write(streams: _Streams, name: str, count: int) -> None:
    for number in range(count):
        await streams.append(name, b"x", close=number == count - 1)
        await asyncio.sleep(0)


async def _waiters_are_told_of_every_end(streams: _Streams) -> None:
    closing, deleted, stopped = [await streams.new() for _ in range(3)]
    waiters = [
        asyncio.ensure_future(streams.log.wait_more(closing, "now", _PATIENCE)),
        asyncio.ensure_future(streams.log.wait_more(deleted, "now", _PATIENCE)),
        asyncio.ensure_future(streams.log.wait_until(stopped, lambda state: state.stopping, _PATIENCE)),
    ]
    await asyncio.sleep(0.01)  # lets them wait; were they not there yet, the check would pass as well
    await streams.append(closing, close=True)
    await streams.log.delete(deleted)
    await streams.log.stop(stopped)
    async with _in_time("a waiter was not told of an end"):
        ends = await asyncio.gather(*waiters, return_exceptions=True)
    _require(isinstance(ends[0], State) and ends[0].closed, f"closing was told as {ends[0]!r}")
    _require(isinstance(ends[1], NoSuchStream), f"deletion was told as {ends[1]!r}")
    _require(isinstance(ends[2], State) and ends[2].stopping, f"the wish to stop was told as {ends[2]!r}")


async def _another_life_is_another_stream(streams: _Streams) -> None:
    name = await streams.new(b"old")
    await streams.claim(name, 0, b"er")
    old = (await streams.log.describe(name)).next_offset
    await streams.log.delete(name)
    await _refused(NoSuchStream, streams.log.read(name), "reading a deleted stream")
    await _refused(NoSuchStream, streams.log.delete(name), "deleting a deleted stream")
    await streams.new(b"newer", name=name)
    await _refused(OffsetGone, streams.log.read(name, old), "resuming in a stream's earlier life")
    await streams.expect(name, b"newer")
    _require(not (await streams.claim(name, 0, b"!")).duplicate, "a producer outlived its stream")


async def _a_fork_shares_what_came_before(streams: _Streams) -> None:
    source = await streams.new(b"ab", b"cd")
    middle = (await streams.append(source, b"ef")).state.next_offset
    await streams.claim(source, 0, b"gh")
    fork, twig = f"{source}/fork", f"{source}/twig"
    await streams.log.fork(fork, source, Config(), [b"XY"], offset=middle, sub_offset=1)
    await streams.append(source, b"ij")
    await streams.expect(fork, b"ab", b"cd", b"ef", b"g", b"XY")
    _require(
        b"".join(await streams.all(fork, most=3)) == b"abcdefgXY", "pages of a fork lose or repeat bytes"
    )
    _require(await streams.all(fork, middle) == [b"g", b"XY"], "a fork does not know its source's offsets")
    await streams.log.fork(twig, fork, Config(), sub_offset=0)
    await streams.append(twig, b"!")
    await streams.expect(twig, b"ab", b"cd", b"ef", b"g", b"XY", b"!")
    await streams.expect(source, b"ab", b"cd", b"ef", b"gh", b"ij")
    _require(not (await streams.claim(fork, 0, b"?")).duplicate, "a fork knows its source's producers")
    again = await streams.log.fork(fork, source, Config(), offset=middle, sub_offset=1)
    _require(not again.fresh, "forking the same again made a second one")
    await _refused(
        NameTaken, streams.log.fork(fork, source, Config(), offset=middle), "forking elsewhere again"
    )


async def _a_fork_begins_where_something_does(streams: _Streams) -> None:
    source = await streams.new(b"ab", b"cd")
    messages = await streams.new(b"1", b"22", b"333", config=Config(content_type=JSON))
    await streams.log.fork(f"{messages}/fork", messages, Config(), offset=START, sub_offset=2)
    await streams.expect(f"{messages}/fork", b"1", b"22")
    for wrong, sub in ((source, 3), (messages, 4)):
        forked = streams.log.fork(f"{wrong}/no", wrong, Config(), offset=START, sub_offset=sub)
        await _refused(BadOffset, forked, "forking past the next record")
    far = "9" * 16 + "_" + "9" * 16
    await _refused(
        BadOffset, streams.log.fork(f"{source}/no", source, Config(), offset=far), "forking too far"
    )
    await _refused(
        ContentTypeDiffers,
        streams.log.fork(f"{source}/no", source, Config(content_type=JSON)),
        "another type",
    )
    await _refused(
        NoSuchStream, streams.log.fork(f"{source}/no", f"{source}/none", Config()), "forking nothing"
    )
    await streams.log.delete(source)
    await _refused(NoSuchStream, streams.log.describe(source), "a refused fork kept its source alive: it")


async def _a_source_stays_for_its_forks(streams: _Streams) -> None:
    names = [await streams.new(b"0")]
    for level in range(1, 3):
        names.append(f"{names[0]}/{level}")
        await streams.log.fork(names[-1], names[-2], Config(), [b"%d" % level])
    for name in names[:2]:
        await streams.log.delete(name)
    await streams.expect(names[2], b"0", b"1", b"2")
    await _refused(StreamGone, streams.log.read(names[0]), "reading a deleted source")
    await _refused(StreamGone, streams.append(names[1], b"x"), "appending to a deleted source")
    await _refused(StreamGone, streams.log.delete(names[1]), "deleting a deleted source")
    await _refused(NameTaken, streams.log.create(names[0], TEXT), "creating a deleted source")
    await _refused(
        NameTaken, streams.log.fork(f"{names[0]}/n", names[0], Config()), "forking a deleted source"
    )
    await streams.log.delete(names[2])
    for name in names:
        await _refused(NoSuchStream, streams.log.describe(name), "a family whose last fork is gone: it")
    await streams.new(b"new", name=names[0])
    await streams.expect(names[0], b"new")


async def _what_is_trimmed_is_not_skipped(streams: _Streams) -> None:
    name = await streams.new(b"aa")
    first = (await streams.log.describe(name)).next_offset
    second = (await streams.append(name, b"bb")).state.next_offset
    await streams.append(name, b"cc")
    await streams.log.trim(name, second)
    await _refused(OffsetGone, streams.log.read(name, first), "reading what was trimmed")
    await streams.expect(name, b"cc")
    _require(await streams.all(name, second) == [b"cc"], "what was not trimmed is not there")
    await streams.append(name, b"dd")
    await streams.expect(name, b"cc", b"dd")


async def _time_ends_what_nobody_uses(streams: _Streams) -> None:
    config = Config(content_type="text/plain", ttl=100)
    name, idle = await streams.new(b"x", config=config), await streams.new(b"x", config=config)
    until = await streams.new(config=Config(content_type="text/plain", expires_at=streams.clock() + 150))
    streams.clock.advance(90)
    await streams.log.describe(idle)
    await streams.log.read(name)
    await streams.append(until, b"x")
    streams.clock.advance(20)
    await streams.log.read(name)
    await _refused(NoSuchStream, streams.log.read(idle), "reading what has expired")
    await _refused(NoSuchStream, streams.append(idle, b"x"), "appending to what has expired")
    await streams.new(b"again", name=idle, config=config)
    await streams.expect(idle, b"again")
    streams.clock.advance(60)
    await _refused(NoSuchStream, streams.log.describe(until), "a stream past its hour: it")
    await streams.log.read(name)
    _require(await streams.log.sweep() >= 1, "nothing was swept")
    await streams.log.describe(name)


async def _a_lease_holds_until_it_is_taken(streams: _Streams) -> None:
    name = f"check/{uuid4().hex}"
    lease = _given(await streams.log.claim(name, Config(content_type="text/plain", ttl=10), will=b"died"))
    _require(await streams.log.claim(name, TEXT) is None, "a second producer was given the lease")
    seen = await streams.log.describe(name)
    _require(seen.name in [state.name for state in await streams.log.leased()], "a lease is not listed")
    streams.clock.advance(1000)
    await streams.append(name, b"a", producer=lease.claim(0))
    await streams.log.sweep()
    await streams.expect(name, b"a")
    await streams.log.stop(name)
    _require((await streams.log.renew(lease)).stopping, "a producer was not told to stop")
    for late in (streams.log.take_over(seen), streams.log.reap(seen)):
        await _refused(LeaseLost, late, "taking a lease whose holder gave a sign of life")
    second = await streams.log.take_over(await streams.log.describe(name))
    await _refused(LeaseLost, streams.log.renew(lease), "renewing a lease that was taken over")
    await _refused(StaleEpoch, streams.append(name, b"z", producer=lease.claim(1)), "a zombie's append")
    await streams.append(name, b"b", producer=second.claim(0))
    reaped = await streams.log.reap(await streams.log.describe(name))
    _require(reaped.closed and reaped.failed, "a reaped stream does not look failed")
    await _refused(StaleEpoch, streams.append(name, b"z", producer=second.claim(1)), "a zombie's last append")
    await _refused(LeaseLost, streams.log.renew(second), "renewing a reaped lease")
    await streams.expect(name, b"a", b"b", b"died")
    _require(name not in [state.name for state in await streams.log.leased()], "a reaped lease is listed")


async def _what_was_stored_is_there_again(engine: MakeEngine) -> None:
    async with Log(engine()) as log:
        streams = _Streams(log, Clock())
        name = await streams.new(b"a")
        offset = (await streams.claim(name, 0, b"b")).state.next_offset
        await streams.log.fork(f"{name}/fork", name, Config(), [b"f"])
        lease = _given(await log.claim(f"{name}/run", TEXT))
    async with Log(engine()) as log:
        streams = _Streams(log, Clock())
        await streams.expect(name, b"a", b"b")
        await streams.expect(f"{name}/fork", b"a", b"b", b"f")
        _require(
            (await streams.claim(name, 0, b"b")).duplicate, "a claim was forgotten by closing the engine"
        )
        await streams.claim(name, 1, b"c", close=True)
        _require(await streams.all(name, offset) == [b"c"], "an offset was forgotten by closing the engine")
        await log.renew(lease)


async def _another_process_sees_every_change(engine: MakeEngine) -> None:
    async with Log(engine()) as one, Log(engine()) as other:
        here, there = _Streams(one, Clock()), _Streams(other, Clock())
        name = await here.new(b"a")
        await there.expect(name, b"a")
        waiter = asyncio.ensure_future(other.wait_more(name, "now", _PATIENCE))
        await asyncio.sleep(0.01)  # as above
        await here.claim(name, 0, b"b")
        async with _in_time("a waiter elsewhere was not woken"):
            await waiter
        _require((await there.claim(name, 0, b"b")).duplicate, "two engines accepted the same claim")
        await _all(*((here, there)[n % 2].append(name, b"%02d" % n) for n in range(40)))
        _require(await here.all(name) == await there.all(name), "two engines read different streams")
        _require(len(await here.all(name)) == 42, "two engines lost or repeated appends")  # noqa: PLR2004  40 and two
        leases = await _all(*((one, other)[n % 2].claim(f"{name}/run", TEXT) for n in range(40)))
        _require(sum(lease is not None for lease in leases) == 1, "two engines gave the same lease twice")
        await other.stop(f"{name}/run")
        async with _in_time("a wish to stop was not heard elsewhere"):
            await one.wait_until(f"{name}/run", lambda state: state.stopping, _PATIENCE)


async def _refused(kind: type[R], asked: Awaitable[object], what: str) -> R:
    try:
        await asked
    except kind as refusal:
        return refusal
    except LogRefused as refusal:
        raise AssertionError(f"{what} was refused with {refusal!r} instead of {kind.__name__}") from refusal
    raise AssertionError(f"{what} was not refused with {kind.__name__}")


async def _all(*asked: Awaitable[T]) -> Sequence[T]:
    return await asyncio.gather(*asked)


@asynccontextmanager
async def _in_time(otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except TimeoutError:
        raise AssertionError(otherwise) from None


@contextmanager
def _in_one_sentence(check: Callable[..., Awaitable[None]]) -> Iterator[None]:
    """What a check did not expect is broken, too: its name says what was to be."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        promise = check.__name__.replace("_", " ").strip()
        raise AssertionError(f"it is promised that {promise}; instead, there was {error!r}") from error


def _given(lease: Lease | None) -> Lease:
    if lease is None:
        raise AssertionError("a new run was not given its lease")
    return lease


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


_CHECKS: Final[Sequence[Callable[[_Streams], Awaitable[None]]]] = (
    _a_stream_is_created_once,
    _names_and_bytes_may_be_any,
    _offsets_name_each_place_between_messages,
    _a_page_is_no_longer_than_it_may_be,
    _a_producer_is_believed_once,
    _a_refused_append_leaves_nothing,
    _closed_is_for_ever,
    _many_at_once_are_as_one_after_the_other,
    _a_refusal_does_not_touch_its_neighbours,
    _who_is_cancelled_stored_all_or_nothing,
    _no_waiter_sleeps_through_an_append,
    _waiters_are_told_of_every_end,
    _another_life_is_another_stream,
    _a_fork_shares_what_came_before,
    _a_fork_begins_where_something_does,
    _a_source_stays_for_its_forks,
    _what_is_trimmed_is_not_skipped,
    _time_ends_what_nobody_uses,
    _a_lease_holds_until_it_is_taken,
)
"""Each with a log of its own."""
