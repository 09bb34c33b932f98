"""Sources: whatever an action returned, made pullable and surely closed.

A synchronous source is pulled and closed on its thread, an asynchronous one in its task; nothing here
decides when. Closing is ours on every way out, also of a generator that was never started.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from inspect import isawaitable
from types import AsyncGeneratorType
from typing import Any, Protocol


@dataclass(slots=True)
class SyncSource:
    """Items pulled with `next`."""

    iterator: Iterator[Any]
    closable: Any  # what was returned: a generator, a file, a query result, a list

    def close(self) -> None:
        """Run the producer's cleanup; on its thread, once."""
        try:
            _close(self.iterator)
        finally:
            if self.closable is not self.iterator:
                _close(self.closable)


class Stepped(Protocol):
    """What an asynchronous source is pulled by: an asynchronous generator, or what does as one does."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Itself."""
        ...

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        """The next item."""
        ...

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Run the cleanup; may be called before the first step."""
        ...


@dataclass(slots=True)
class AsyncSource:
    """Items pulled by stepping an asynchronous generator by hand."""

    generator: Stepped
    closable: Any = None  # what was returned, where the generator only iterates it

    async def close(self) -> None:
        """Run the producer's cleanup; in its task, once."""
        try:
            await self.generator.aclose()
        finally:
            await aclose(self.closable)


Source = SyncSource | AsyncSource


def source_of(produced: object) -> Source | None:
    """The source of what an action returned, or None when it cannot be iterated.

    `iter()` of a synchronous iterable is left to the thread that will pull it: it may already work.
    """
    if isinstance(produced, AsyncGeneratorType):
        return AsyncSource(produced)
    if isinstance(produced, AsyncIterable):
        return AsyncSource(_stepped(produced), produced)
    if isinstance(produced, Iterator):
        return SyncSource(produced, produced)
    if isinstance(produced, Iterable):
        return SyncSource(_started_late(produced), produced)
    return None


async def _stepped(producer: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    """Any asynchronous iterable as a generator, which is the one thing the driver knows to step."""
    iterator: AsyncIterator[Any] = aiter(producer)
    try:
        async for item in iterator:
            yield item
    finally:
        if iterator is not producer:  # else the source closes it, also when this never began
            await aclose(iterator)


def _started_late(producer: Iterable[Any]) -> Iterator[Any]:
    yield from producer


def _close(producer: Any) -> None:
    close = getattr(producer, "close", None)
    if close is not None:
        close()


async def aclose(producer: Any) -> None:
    """Close what may have `aclose`, or a `close` of either kind."""
    close = getattr(producer, "aclose", None) or getattr(producer, "close", None)
    if close is not None and isawaitable(closing := close()):
        await closing
