"""The generators every Python peer streams: the same for all, so that the frameworks are all that differs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator


def items(count: int, size: int) -> Iterator[bytes]:
    item = b"x" * size
    for _ in range(count):
        yield item


async def async_items(count: int, size: int) -> AsyncIterator[bytes]:
    item = b"x" * size
    for _ in range(count):
        yield item


def sleeps(count: int, ms: int) -> Iterator[bytes]:
    for n in range(count):
        time.sleep(ms / 1000)
        yield b"item %d\n" % n


async def async_sleeps(count: int, ms: int) -> AsyncIterator[bytes]:
    for n in range(count):
        await asyncio.sleep(ms / 1000)
        yield b"item %d\n" % n
