from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.engine.conftest import PATIENCE, soon

from millstream.engine import watchdog
from millstream.engine.watchdog import Watchdog

THRESHOLD = 0.02


@asynccontextmanager
async def watching(threshold: float = THRESHOLD) -> AsyncIterator[Watchdog]:
    watch = Watchdog(threshold)
    watch.enter()
    thread = watch._thread
    assert thread is not None
    try:
        yield watch
    finally:
        watch.leave()
        await soon(lambda: not thread.is_alive())


def blocks_the_loop(seconds: float = 5 * THRESHOLD) -> int:
    time.sleep(seconds)
    return sys._getframe().f_lineno - 1


async def test_the_line_that_blocks_is_named_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async with watching():
        line = blocks_the_loop()
        await soon(lambda: caplog.records)
    message = caplog.records[0].getMessage()
    assert message.startswith(
        f"{__file__}:{line} in blocks_the_loop blocks the event loop for more than 0.02 s"
    )
    assert "Await instead" in message


async def test_one_block_is_reported_once_and_the_next_one_again(caplog: pytest.LogCaptureFixture) -> None:
    async with watching():
        blocks_the_loop(10 * THRESHOLD)
        await asyncio.sleep(THRESHOLD)
        assert len(caplog.records) == 1
        blocks_the_loop()
        await soon(lambda: len(caplog.records) == 2)


async def test_a_loop_that_answers_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with watching(threshold=0.2):
        for _ in range(50):
            await asyncio.sleep(0.005)
    assert not caplog.records


async def test_what_blocks_without_any_line_of_the_authors_is_not_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_NOT_THE_AUTHORS", ("/", "<"))
    caplog.set_level(logging.WARNING)
    async with watching():
        blocks_the_loop()
    assert not caplog.records


async def test_the_watch_lasts_from_the_first_stream_to_the_last() -> None:
    watch = Watchdog(THRESHOLD)
    watch.enter()
    first = watch._thread
    watch.enter()
    watch.leave()
    assert watch._thread is first is not None
    watch.leave()
    await soon(lambda: not first.is_alive())


async def test_a_new_stream_begins_a_new_watch() -> None:
    watch = Watchdog(THRESHOLD)
    for _ in range(2):
        watch.enter()
        thread = watch._thread
        assert thread is not None
        watch.leave()
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


def test_the_watch_ends_with_its_loop() -> None:
    watch = Watchdog(0.001)

    async def begin() -> threading.Thread:
        watch.enter()
        assert watch._thread is not None
        return watch._thread

    thread = asyncio.run(begin())
    thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_a_watch_may_end_while_the_loop_is_blocked() -> None:
    watch = Watchdog(THRESHOLD)
    watch.enter()
    thread = watch._thread
    assert thread is not None
    time.sleep(3 * THRESHOLD)  # noqa: ASYNC251  to block the loop is what this is about
    watch.leave()
    thread.join(PATIENCE)  # the loop answers nothing meanwhile
    assert not thread.is_alive()
