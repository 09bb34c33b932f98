"""What a log promises about one stream: creating, appending, reading, closing.

A check's name is its promise.
"""

# ruff: noqa: D103  as above

from __future__ import annotations

import random
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4

from millstream.durable.naming import LONGEST_KEY, Config
from millstream.durable.refusals import (
    BadKey,
    BadOffset,
    ContentTypeDiffers,
    EpochBeginsAtZero,
    NameTaken,
    NoSuchStream,
    SequenceGap,
    SequenceRegressed,
    StaleEpoch,
    StreamClosed,
)
from millstream.durable.state import JSON, Producer
from millstream.testing.log_streams import (
    TEXT,
    Streams,
    refused,
    require,
)


async def a_stream_is_created_once(streams: Streams) -> None:
    name = await streams.new(b"first")
    again = await streams.log.create(name, TEXT, [b"again"])
    require(not again.fresh, "creating the same stream again made a second one")
    await streams.expect(name, b"first")
    for other in (Config(content_type=JSON), Config(content_type="text/plain", ttl=60)):
        await refused(NameTaken, streams.log.create(name, other), "creating another stream of that name")
    await refused(NameTaken, streams.log.create(name, TEXT, closed=True), "creating it as a closed one")


async def names_and_bytes_may_be_any(streams: Streams) -> None:
    every = bytes(range(256))
    for hint in ("a/b c", "ü'\";--", "%00\\", "x" * 500, "{tag}*"):
        name = await streams.new(every, name=f"{uuid4().hex}/{hint}")
        await streams.append(name, b"\0", every * 300)
        await streams.expect(name, every, b"\0", every * 300)
    await refused(NoSuchStream, streams.log.read(f"{uuid4().hex}"), "reading a stream that is not there")
    await refused(NoSuchStream, streams.append(f"{uuid4().hex}", b"x"), "appending to one that is not there")


async def what_becomes_a_key_has_one_limit(streams: Streams) -> None:
    chance = random.Random(1024)  # noqa: S311  no secret: it keeps databases from compressing
    for letters in (string.ascii_letters + string.digits, "äöüß€", "\U0001f600\U0001f601"):
        long = uuid4().hex
        while len(long.encode()) <= LONGEST_KEY - 4:
            long += chance.choice(letters)
        long += "x" * (LONGEST_KEY - len(long.encode()))
        await streams.new(name=long)
        await streams.append(long, b"a", producer=Producer(long, 0, 0))
        await streams.expect(long, b"a")
        for beyond in (f"{long}x", long * 3, f"{uuid4().hex}\ud800"):
            config = Config(content_type="text/plain")
            for created in (
                streams.log.create(beyond, config),
                streams.log.claim(beyond, config),
                streams.log.fork(beyond, long, Config()),
                streams.append(long, b"b", producer=Producer(beyond, 0, 0)),
            ):
                await refused(BadKey, created, f"a key of {len(beyond)} characters")
            await refused(NoSuchStream, streams.log.read(beyond), "reading a stream that there cannot be")
            await refused(NoSuchStream, streams.append(beyond, b"b"), "appending to one that there cannot be")
        await streams.expect(long, b"a")


async def offsets_name_each_place_between_messages(streams: Streams) -> None:
    name = await streams.new()
    offsets = [(await streams.log.describe(name)).next_offset]
    messages = [b"%d" % number * (number + 1) for number in range(30)]
    offsets += [(await streams.append(name, message)).state.next_offset for message in messages]
    require(offsets == sorted(set(offsets)), "offsets do not grow as text")
    require(all(len(offset) < 256 for offset in offsets), "an offset is too long")  # noqa: PLR2004  the protocol's
    for number, offset in enumerate(offsets):
        found = await streams.all(name, offset)
        require(found == messages[number:], f"from offset {number} on, {found!r} was read")
    require((await streams.log.read(name, "now")).messages == [], "something was read from the tail")
    await refused(BadOffset, streams.log.read(name, "nonsense"), "reading from a nonsense offset")


async def a_page_is_no_longer_than_it_may_be(streams: Streams) -> None:
    name = await streams.new(*(b"%04d" % number for number in range(100)))
    page = await streams.log.read(name, most=10)
    found = b"".join(page.messages)
    require(0 < len(found) <= 10 and b"0000000100".startswith(found), f"ten bytes are {found!r}")  # noqa: PLR2004  as asked
    require(not page.up_to_date, "a page that is not the last says that it is")
    joined = b"".join(await streams.all(name, most=7))
    require(joined == b"".join(b"%04d" % number for number in range(100)), "pages lose or repeat bytes")
    wide = await streams.new(b"1", b"22", b"333", b"4" * 50, b"5", config=Config(content_type=JSON))
    require(
        await streams.all(wide, most=4) == [b"1", b"22", b"333", b"4" * 50, b"5"], "a JSON message was cut"
    )


async def a_producer_is_believed_once(streams: Streams) -> None:
    name = await streams.new()
    require(not (await streams.claim(name, 0, b"a")).duplicate, "a first claim was taken for a duplicate")
    require(not (await streams.claim(name, 1, b"b")).duplicate, "a next claim was taken for a duplicate")
    again = await streams.claim(name, 0, b"a")
    require(again.duplicate, "a claim was accepted twice")
    require(again.producer == Producer("p", 0, 1), f"a duplicate was told {again.producer!r}")
    gap = await refused(SequenceGap, streams.claim(name, 3, b"d"), "a claim after a gap")
    require((gap.expected, gap.received) == (2, 3), f"a gap was told as {gap!r}")
    await refused(EpochBeginsAtZero, streams.claim(name, 1, b"x", epoch=1), "a new epoch that begins at 1")
    await streams.claim(name, 0, b"c", epoch=1)
    stale = await refused(StaleEpoch, streams.claim(name, 2, b"z"), "a producer that was fenced off")
    require(stale.current == 1, f"the epoch that counts was told as {stale.current}")
    await streams.append(name, b"q", producer=Producer("q", 0, 0))
    await streams.expect(name, b"a", b"b", b"c", b"q")


async def a_refused_append_leaves_nothing(streams: Streams) -> None:
    name = await streams.new()
    await streams.append(name, b"a", seq="10")
    await refused(SequenceRegressed, streams.append(name, b"b", seq="10"), "a Stream-Seq that stands still")
    await refused(SequenceRegressed, streams.claim(name, 0, b"b", seq="09"), "a Stream-Seq that goes back")
    await refused(
        ContentTypeDiffers,
        streams.claim(name, 0, b"b", content_type=JSON, close=True),
        "a wrong content type",
    )
    require(not (await streams.claim(name, 0, b"b", seq="2")).duplicate, "a refused claim was remembered")
    await streams.append(name, b"c", content_type="TEXT/Plain; charset=utf-8")
    await streams.expect(name, b"a", b"b", b"c")


async def closed_is_for_ever(streams: Streams) -> None:
    name = await streams.new()
    await streams.claim(name, 0, b"a")
    await streams.claim(name, 1, b"b", close=True)
    page = await streams.log.read(name)
    require(page.closed and page.messages == [b"a", b"b"], "records and closing are not one")
    require((await streams.claim(name, 1, b"other", close=True)).duplicate, "closing again was refused")
    require((await streams.append(name, close=True)).duplicate, "closing a closed stream was refused")
    for late in (streams.append(name, b"c"), streams.claim(name, 2, b"c"), streams.claim(name, 0, b"a")):
        closed = await refused(StreamClosed, late, "appending to a closed stream")
        require(closed.state.next_offset == page.next_offset, "a refusal does not tell the final offset")
    failed = await streams.new(b"half")
    await streams.append(failed, b"error", close=True, failed=True)
    require((await streams.log.describe(failed)).failed, "a failed stream does not look failed")
    born = await streams.log.create(f"{name}/born", TEXT, [b"x"], closed=True)
    require(born.state.closed, "a stream that was created closed is open")


CHECKS: Final[Sequence[Callable[[Streams], Awaitable[None]]]] = (
    a_stream_is_created_once,
    names_and_bytes_may_be_any,
    what_becomes_a_key_has_one_limit,
    offsets_name_each_place_between_messages,
    a_page_is_no_longer_than_it_may_be,
    a_producer_is_believed_once,
    a_refused_append_leaves_nothing,
    closed_is_for_ever,
)
"""Each wants a log of its own."""
