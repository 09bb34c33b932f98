"""What the checks of a log do again and again: a clock to wind, streams nobody has, and what must be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import uuid4

from millstream.durable.appending import Append, Appended
from millstream.durable.engine import Engine
from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.offsets import START
from millstream.durable.refusals import (
    LogRefused,
)
from millstream.durable.state import Producer

MakeEngine = Callable[[], Engine]
"""Makes an engine over the same storage each time."""

R = TypeVar("R", bound=LogRefused)
T = TypeVar("T")

TEXT: Final = Config(content_type="text/plain")
PATIENCE: Final = 10.0
"""Seconds after which something that should have happened has not."""


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


class Streams:
    """A log, and a clock that is the log's."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log = log
        self.clock = clock

    async def new(self, *records: bytes, config: Config = TEXT, name: str = "") -> str:
        """A stream nobody has."""
        name = name or f"check/{uuid4().hex}"
        created = await self.log.create(name, config, records)
        require(created.fresh, f"a new stream {name!r} was there already")
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
            require(page.next_offset >= offset or offset == START, "a page leads back")
            require(page.up_to_date or page.end > page.start, "a page leads nowhere, but is not the last")
            if page.up_to_date:
                return messages
            offset = page.next_offset

    async def expect(self, name: str, *messages: bytes) -> None:
        """Require that a stream is made of these messages."""
        found = await self.all(name)
        require(found == list(messages), f"{messages!r} were appended, but {found!r} were read")


async def process(opened: AsyncExitStack, engine: MakeEngine) -> Streams:
    """A process with an engine of its own, until that stack is closed."""
    clock = Clock()
    return Streams(await opened.enter_async_context(Log(engine(), clock=clock)), clock)


async def refused(kind: type[R], asked: Awaitable[object], what: str) -> R:
    """Require that something is refused in this way; the refusal."""
    try:
        await asked
    except kind as refusal:
        return refusal
    except LogRefused as refusal:
        raise AssertionError(f"{what} was refused with {refusal!r} instead of {kind.__name__}") from refusal
    raise AssertionError(f"{what} was not refused with {kind.__name__}")


async def all_of(*asked: Awaitable[T]) -> Sequence[T]:
    """The results of all, asked for at once."""
    return await asyncio.gather(*asked)


@asynccontextmanager
async def in_time(otherwise: str) -> AsyncIterator[None]:
    """Require that the block ends before patience does."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise AssertionError(otherwise) from None


def given(lease: Lease | None) -> Lease:
    """Require that a lease was given."""
    if lease is None:
        raise AssertionError("a new run was not given its lease")
    return lease


def require(condition: bool, otherwise: str) -> None:
    """Require what must be.

    Raises:
        AssertionError: when it is not.
    """
    if not condition:
        raise AssertionError(otherwise)
