"""What is asynchronous finishes once it has begun, and not later than it may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from millstream.database import Database, units
from millstream.database.lease import LeasedSession
from millstream.database.units import AsyncUnit, unbroken


async def test_a_cancellation_waits_until_the_step_is_done_and_then_goes_on() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    waiting = asyncio.create_task(unbroken(step()))
    await begun.wait()
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_an_error_of_the_step_is_raised() -> None:
    async def step() -> None:
        raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        await unbroken(step())


async def test_an_error_after_a_cancellation_is_not_reported_as_lost() -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        await asyncio.sleep(0.01)
        raise ValueError

    waiting = asyncio.create_task(unbroken(step()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_step_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await unbroken(asyncio.Event().wait(), 0.01)


async def test_a_database_that_does_not_answer_loses_its_connection_and_not_our_time(
    postgresql: str,
    make_database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A proxy would stand between us and the server; here the driver's own lock keeps the answer away."""
    monkeypatch.setattr(units, "TEARDOWN", 0.05)
    caplog.set_level(logging.WARNING, logger="millstream")
    database = make_database(postgresql)
    session = AsyncSession(database.async_engine, sync_session_class=LeasedSession)
    leased = session.sync_session
    assert isinstance(leased, LeasedSession)
    unit = AsyncUnit(session, leased, lambda: None)
    await session.execute(text("select 1"))
    driver = (await (await session.connection()).get_raw_connection()).driver_connection
    assert driver is not None
    async with driver.lock:
        await unit.abort()
    await unit.close()
    assert "did not answer" in caplog.text
    assert database.async_engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queued pool has it
