"""Expansion: items that are streams of their own, taken apart in front of the driver.

A member of an archive may be gigabytes, so it is no item that a codec could return as one `bytes`. Here the
source is wrapped instead: what the driver pulls are pieces, and each producer inside an item is pulled and
closed where the source itself is, on every way out, before the next item is asked for.

The head of an item leaves with its first chunk, so that a producer that fails at once fails before the head
of the response.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, Final

from millstream.engine.source import AsyncSource, Source, SyncSource, source_of
from millstream.errors import ControllerError
from millstream.protocol.ports import Call, Encoder, Expands, ItemHook, Nested


class Expansion:
    """One source with its codec: an item of its drive is a piece.

    Args:
        source: what yields the items.
        encoder: takes them apart.
        hooks: what sees them before.
        call: runs what is synchronous inside an asynchronous stream.
    """

    __slots__ = ("_call", "_expand", "_hooks", "items", "source")

    def __init__(self, source: Source, encoder: Expands, hooks: Sequence[ItemHook], call: Call) -> None:
        self._expand = encoder.expand
        self._hooks = hooks
        self._call = call
        self.items = 0  # that are complete
        self.source: Source
        if isinstance(source, AsyncSource):
            self.source = AsyncSource(self._pull_async(source.generator), source)
        else:
            self.source = SyncSource(self._pull(source.iterator), source)

    @staticmethod
    def encode(piece: bytes) -> bytes:
        """What the driver calls for a piece, which needs nothing more."""
        return piece

    def _nested(self, item: Any) -> tuple[Nested, Source]:
        for hook in self._hooks:
            item = hook(item)
        nested = self._expand(item)
        source = source_of(nested.producer)
        assert source is not None, "an encoder expands to what can be iterated"  # noqa: S101  its contract
        return nested, source

    # In a synchronous stream

    def _pull(self, items: Iterator[Any]) -> Generator[bytes, None, None]:
        for item in items:
            nested, source = self._nested(item)
            if isinstance(source, AsyncSource):
                raise ControllerError(
                    "a synchronous stream yielded an item with an asynchronous producer in it: "
                    "an action that is written as `async def` can"
                )
            with closing(source):
                opening = nested.head()
                for chunk in source.iterator:
                    if opening:
                        yield opening
                        opening = b""
                    yield from filter(None, nested.pieces(chunk))
            if ending := opening + nested.tail():
                yield ending
            self.items += 1

    # In an asynchronous one

    async def _pull_async(self, items: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
        async for item in items:
            nested, source = self._nested(item)
            async with _chunks(source, self._call) as chunks:
                opening = nested.head()
                async for chunk in chunks:
                    if opening:
                        yield opening
                        opening = b""
                    for piece in nested.pieces(chunk):
                        if piece:
                            yield piece
            if ending := opening + nested.tail():
                yield ending
            self.items += 1


def expansion_of(source: Source, encoder: Encoder, hooks: Sequence[ItemHook], call: Call) -> Expansion | None:
    """How to pull a source whose items are taken apart; None when its codec makes one `bytes` of each."""
    if not hasattr(encoder, "expand"):  # a look at the whole protocol would cost ten times as much
        return None
    return Expansion(source, encoder, hooks, call) if isinstance(encoder, Expands) else None


@asynccontextmanager
async def _chunks(source: Source, call: Call) -> AsyncGenerator[AsyncIterator[Any], None]:
    """The chunks of one producer in an asynchronous stream: what may block is pulled on the thread."""
    if isinstance(source, AsyncSource):
        try:
            yield source.generator
        finally:
            await source.close()
    elif isinstance(source.closable, Sequence):  # in memory: nothing to wait for, nothing to close
        yield _InPlace(source.iterator)
    else:
        try:
            yield _OnThread(source.iterator, call)
        finally:
            await call(source.close)


class _InPlace:
    # No generator, which would have to be closed as well.
    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


class _OnThread(_InPlace):
    def __init__(self, chunks: Iterator[Any], call: Call) -> None:
        super().__init__(chunks)
        self._call = call

    async def __anext__(self) -> Any:
        chunk = await self._call(next, self._chunks, _END)
        if chunk is _END:
            raise StopAsyncIteration
        return chunk


_END: Final = object()
