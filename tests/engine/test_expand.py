"""Items that are streams of their own, with a codec that writes `<`, its chunks and `>` around each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import Any

import pytest
from tests.engine.conftest import APART, begun, raw

from millstream.engine.buffer import Outbox
from millstream.engine.drive_async import AsyncDrive
from millstream.engine.drive_sync import SyncDrive
from millstream.engine.expand import Expansion, expansion_of
from millstream.engine.source import source_of
from millstream.engine.stream import Stream
from millstream.errors import ControllerError


class Item:
    def __init__(self, producer: Any, *, refused: bool = False) -> None:
        self.producer = producer
        self.refused = refused

    def head(self) -> bytes:
        if self.refused:
            raise TypeError("refused")
        return b"<"

    def pieces(self, chunk: bytes) -> Iterable[bytes]:
        return chunk.partition(b"|")[::2]

    def tail(self) -> bytes:
        return b">"


class Expander:
    def expand(self, item: Item) -> Item:
        return item


async def call(function: Any, /, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


def expansion(producer: Any, *hooks: Any) -> Expansion:
    source = source_of(producer)
    assert source is not None
    return Expansion(source, Expander(), hooks, call)


def pulled(producer: Any, *hooks: Any) -> list[bytes]:
    return list(expansion(producer, *hooks).source.iterator)  # type: ignore[union-attr]  # a synchronous one


async def pulled_async(producer: Any) -> list[bytes]:
    return [piece async for piece in expansion(producer).source.generator]  # type: ignore[union-attr]  # as above


class Log(list[str]):
    """What happened, and on which thread the last of it did."""

    thread = ""

    def noted(self, *steps: str) -> None:
        self.extend(steps)
        self.thread = threading.current_thread().name

    def chunks(self, name: str, *chunks: bytes) -> Generator[bytes, None, None]:
        self.noted(f"{name} begins")
        try:
            yield from chunks
        finally:
            self.noted(f"{name} ends")

    async def chunks_async(self, name: str, *chunks: bytes) -> AsyncIterator[bytes]:
        self.noted(f"{name} begins")
        try:
            for chunk in chunks:
                await asyncio.sleep(0)
                yield chunk
        finally:
            await asyncio.sleep(0)
            self.noted(f"{name} ends")


async def each(log: Log, *items: Item) -> AsyncIterator[Item]:
    try:
        for item in items:
            yield item
    finally:
        log.noted("items end")


def test_only_an_encoder_that_expands_takes_items_apart() -> None:
    source = source_of([b"a"])
    assert source is not None
    assert expansion_of(source, raw(), (), call) is None
    expander: Any = Expander()
    assert expansion_of(source, expander, (), call) is not None


def test_items_become_pieces_and_empty_ones_are_left_out() -> None:
    assert pulled([Item([b"a|b", b"", b"c"]), Item([])]) == [b"<", b"a", b"b", b"c", b">", b"<>"]


async def test_they_do_in_an_asynchronous_stream_too() -> None:
    log = Log()
    items = each(log, Item(log.chunks_async("one", b"a|b", b"")), Item(log.chunks("two", b"c")), Item([b"d"]))
    assert await pulled_async(items) == [b"<", b"a", b"b", b">", b"<", b"c", b">", b"<", b"d", b">"]
    assert log == ["one begins", "one ends", "two begins", "two ends", "items end"]


def test_items_that_are_complete_are_counted() -> None:
    expanded = expansion([Item([b"a|b"]), Item([b"c"])])
    pieces = expanded.source.iterator  # type: ignore[union-attr]  # a synchronous one
    counted = [expanded.items for _ in pieces]
    assert counted == [0, 0, 0, 0, 1, 1, 1]
    assert expanded.items == 2


def test_hooks_see_the_items_and_not_the_pieces() -> None:
    assert pulled([b"a", b"b"], lambda item: item.upper(), lambda item: Item([item])) == [
        b"<", b"A", b">", b"<", b"B", b">",
    ]  # fmt: skip


def test_a_producer_that_fails_at_once_fails_before_its_item_opens() -> None:
    def broken() -> Iterator[bytes]:
        raise LookupError
        yield b""

    pieces = expansion([Item(broken())]).source.iterator  # type: ignore[union-attr]  # a synchronous one
    with pytest.raises(LookupError):
        next(pieces)


def test_a_producer_is_closed_before_the_next_item_is_asked_for() -> None:
    log = Log()

    def items() -> Iterator[Item]:
        yield Item(log.chunks("one", b"a"))
        log.noted("next")
        yield Item(log.chunks("two", b"b"))

    pulled(items())
    assert log == ["one begins", "one ends", "next", "two begins", "two ends"]


def test_closing_in_the_middle_closes_the_producer_and_then_the_items() -> None:
    log = Log()

    def items() -> Iterator[Item]:
        with_one = Item(log.chunks("one", b"a", b"b"))
        try:
            yield with_one
        finally:
            log.noted("items end")

    source: Any = expansion(items()).source
    next(source.iterator)
    source.close()
    assert log == ["one begins", "one ends", "items end"]


@pytest.mark.parametrize("start", [False, True])
def test_a_producer_whose_item_is_refused_is_closed(start: bool) -> None:
    log = Log()
    chunks = log.chunks("one", b"a", b"b")
    if start:
        next(chunks)
    with pytest.raises(TypeError, match="refused"):
        pulled([Item(chunks, refused=True)])
    assert next(chunks, None) is None  # closed, whether it had begun or not
    assert log == (["one begins", "one ends"] if start else [])


def test_an_asynchronous_producer_in_a_synchronous_stream_is_the_author_s_mistake() -> None:
    with pytest.raises(ControllerError, match="async def"):
        pulled([Item(Log().chunks_async("one", b"a"))])


async def test_what_may_block_is_pulled_and_closed_on_the_thread() -> None:
    log = Log()
    await pulled_async(each(Log(), Item(log.chunks("one", b"a"))))
    assert log == ["one begins", "one ends"]
    assert log.thread != threading.current_thread().name


async def test_what_is_in_memory_is_pulled_in_place() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("no thread is needed for a list")

    source = source_of(each(Log(), Item([b"a"])))
    assert source is not None
    expanded = Expansion(source, Expander(), (), never).source
    assert [piece async for piece in expanded.generator] == [b"<", b"a", b">"]  # type: ignore[union-attr]  # as above


@pytest.mark.parametrize("kind", ["chunks", "chunks_async"])
async def test_closing_an_asynchronous_stream_in_the_middle_closes_all_of_it(kind: str) -> None:
    log = Log()
    source: Any = expansion(each(log, Item(getattr(log, kind)("one", b"a", b"b")))).source
    await anext(source.generator)
    await source.close()
    assert log == ["one begins", "one ends", "items end"]


async def test_items_that_were_begun_are_closed_when_the_stream_never_starts() -> None:
    log = Log()
    items: Any = each(log, Item([]))
    await anext(items)
    source: Any = expansion(items).source
    await source.close()
    assert log == ["items end"]


async def test_a_synchronous_drive_that_is_interrupted_closes_the_producer_on_its_thread() -> None:
    log, stream = Log(), Stream(client="127.0.0.1", route="/x")
    scope = await begun(stream)
    outbox = Outbox(2)
    source: Any = expansion([Item(log.chunks("one", *[b"chunk"] * 1000))]).source

    async def flush() -> None:
        while data := outbox.take():
            if b"chunk" in data:
                raise ConnectionError
            outbox.taken += len(data)

    with pytest.raises(ConnectionError):
        await SyncDrive(
            source,
            Expansion.encode,
            outbox,
            scope,
            flush,
            freeze=lambda: None,
            take_apart=APART,
            patience=10.0,
        ).run()
    assert log == ["one begins", "one ends"]
    assert log.thread.startswith("millstream")
    await scope.close()


async def test_an_asynchronous_drive_that_is_cancelled_closes_the_producer_in_its_task() -> None:
    log, stream = Log(), Stream(client="127.0.0.1", route="/x")
    scope, waits = await begun(stream), asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            waits.set()
            await asyncio.Event().wait()
        finally:
            log.noted(f"ends in {getattr(asyncio.current_task(), 'get_name', str)()}")

    outbox = Outbox(1000)

    async def flush() -> None:
        outbox.taken += len(outbox.take())

    source: Any = expansion(each(log, Item(waiting()))).source
    drive = AsyncDrive(source, Expansion.encode, outbox, scope, flush, freeze=lambda: None, take_apart=APART)
    task = asyncio.create_task(drive.run(), name="drive")
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["ends in drive", "items end"]
    await scope.close()
