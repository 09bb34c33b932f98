from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from tests.engine.conftest import AsyncUnit, Unit, begun, instantly, soon

from millstream.config import Settings
from millstream.engine.handle import Handle
from millstream.engine.ledger import Ledger
from millstream.engine.scope import Scope
from millstream.engine.stream import Stream
from millstream.engine.threads import Lanes
from millstream.errors import ControllerError, StreamInterrupted
from millstream.protocol.events import Progress, Reason
from millstream.protocol.lifecycle import State


async def held(*units: Unit, lanes: Lanes | None = None) -> tuple[Handle, Scope]:
    stream = Stream(client="10.0.0.7", route="Root.feed")
    scope = await begun(stream, *units, lanes=lanes)
    return Handle(scope, Ledger(Settings())), scope


async def test_it_tells_what_its_stream_does() -> None:
    handle, scope = await held()
    assert handle.id == scope.stream.id
    assert (handle.state, handle.reason, handle.client_gone, handle.read_only) == (
        State.WAITING,
        None,
        False,
        False,
    )
    assert handle.statistics.id == handle.id
    assert handle._current_obj() is handle


async def test_it_tells_how_its_stream_ended() -> None:
    handle, scope = await held()
    scope.stream.client_gone = scope.read_only = True
    assert handle.stop(reason=Reason.REVOKED)
    assert (handle.state, handle.reason, handle.client_gone, handle.read_only) == (
        State.ABANDONED,
        Reason.REVOKED,
        True,
        True,
    )


async def test_it_tells_that_the_process_is_about_to_end() -> None:
    stream = Stream()
    ledger = Ledger(Settings(drain_timeout=0))
    handle = Handle(await begun(stream), ledger)
    assert not handle.draining
    await ledger.drain()
    assert handle.draining


async def test_progress_is_noted_and_ready_to_be_yielded() -> None:
    handle, _ = await held()
    assert handle.progress(1, 4, "reading") == Progress(1, 4, "reading") == handle.statistics.progress


async def test_on_end_is_a_decorator() -> None:
    handle, scope = await held()

    def callback(*_: Any) -> None: ...

    assert handle.on_end(callback) is callback
    assert scope.stream.callbacks == (callback,)


# Sleeping


@instantly
async def test_an_awaited_sleep_takes_its_time_and_lets_the_units_rest() -> None:
    log: list[str] = []
    handle, _ = await held(AsyncUnit("a", log))
    before = asyncio.get_running_loop().time()
    await handle.sleep(30)
    assert asyncio.get_running_loop().time() - before == pytest.approx(30)
    assert log == ["a.rest"]


@instantly
async def test_without_units_a_sleep_is_asyncios() -> None:
    handle, _ = await held()
    before = asyncio.get_running_loop().time()
    await handle.sleep(30)
    assert asyncio.get_running_loop().time() - before == pytest.approx(30)


async def test_a_sleep_on_the_streams_thread_blocks_it_and_lets_the_units_rest() -> None:
    log: list[str] = []
    handle, scope = await held(Unit("a", log))
    before = time.monotonic()
    await scope.call(handle.sleep, 0.02)
    assert time.monotonic() - before >= 0.02
    assert log == ["a.rest"]
    await scope.close()


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_sleep_of_no_time_returns_at_once(seconds: float) -> None:
    handle, scope = await held()
    await scope.call(handle.sleep, seconds)
    await scope.close()


async def test_a_bell_that_rings_for_something_else_does_not_end_a_sleep() -> None:
    handle, scope = await held()
    for _ in range(3):
        scope.lane.bell.put(None)
    before = time.monotonic()
    await scope.call(handle.sleep, 0.02)
    assert time.monotonic() - before >= 0.02
    await scope.close()


async def test_a_sleep_on_the_streams_thread_ends_when_the_stream_does() -> None:
    handle, scope = await held()
    job = scope.start(lambda: handle.sleep(60))
    scope.stream.interrupt(Reason.STOPPED)
    scope.lane.bell.put(None)
    with pytest.raises(RuntimeError) as wrapped:
        await job
    assert isinstance(wrapped.value.__cause__, StreamInterrupted)
    await scope.close()


async def test_after_the_end_a_sleep_on_the_streams_thread_does_not_begin() -> None:
    handle, scope = await held()
    scope.stream.interrupt(Reason.STOPPED)
    with pytest.raises(RuntimeError, match="StreamInterrupted"):
        await scope.call(handle.sleep, 60)
    await scope.close()


async def test_who_has_heard_of_the_end_may_sleep_while_it_cleans_up() -> None:
    handle, scope = await held()
    slept: list[float] = []

    def produce() -> None:
        try:
            handle.sleep(60)
        finally:
            before = time.monotonic()
            handle.sleep(0.02)
            slept.append(time.monotonic() - before)

    scope.stream.interrupt(Reason.STOPPED)
    with pytest.raises(RuntimeError, match="StreamInterrupted"):
        await scope.call(produce)
    assert slept[0] >= 0.02
    await scope.close()


@pytest.mark.parametrize("borrowed", [True, False])
async def test_a_sleep_on_a_thread_of_the_authors_own_just_sleeps(borrowed: bool) -> None:
    log: list[str] = []
    lanes = Lanes(1)
    handle, scope = await held(Unit("a", log), lanes=lanes)
    if borrowed:
        await scope.call(lambda: None)
    before = time.monotonic()
    await asyncio.to_thread(handle.sleep, 0.02)
    assert time.monotonic() - before >= 0.02
    assert log == []
    assert lanes.busy == borrowed
    await scope.close()


async def test_a_verb_that_has_already_waited_may_still_be_awaited() -> None:
    handle, scope = await held()

    def wait() -> Awaitable[None]:
        return handle.sleep(0)

    returned = cast("Awaitable[None]", await scope.start(wait))
    assert await returned is None  # type: ignore[func-returns-value]  # that is what is tested
    await scope.close()


# Checkpoints


@pytest.mark.parametrize("kind", [Unit, AsyncUnit])
async def test_an_awaited_commit_is_a_checkpoint(kind: Callable[..., Unit]) -> None:
    log: list[str] = []
    handle, scope = await held(kind("a", log))
    await handle.commit()
    assert log == ["a.prepare", "a.commit"]
    await scope.close()


@pytest.mark.parametrize("kind", [Unit, AsyncUnit])
async def test_a_commit_on_the_streams_thread_is_a_checkpoint_when_it_returns(
    kind: Callable[..., Unit],
) -> None:
    log: list[str] = []
    handle, scope = await held(kind("a", log))

    def produce() -> list[str]:
        handle.commit()
        return list(log)

    assert await scope.start(produce) == ["a.prepare", "a.commit"]
    await scope.close()


async def test_a_commit_on_a_thread_of_the_authors_own_is_refused() -> None:
    log: list[str] = []
    handle, scope = await held(Unit("a", log))
    with pytest.raises(ControllerError, match=r"called stream\.commit\(\) on a thread of its own"):
        await asyncio.to_thread(handle.commit)
    assert log == []
    await scope.close()


async def test_a_checkpoint_that_fails_says_so_where_it_was_asked_for() -> None:
    handle, scope = await held(Unit("a", [], "prepare"))
    with pytest.raises(RuntimeError, match="a fails"):
        await scope.call(handle.commit)
    await scope.close()


async def test_stopping_from_the_streams_thread_is_possible() -> None:
    handle, scope = await held()
    assert await scope.call(handle.stop)
    await soon(lambda: handle.reason is Reason.STOPPED)
    await scope.close()


async def test_another_stream_of_the_process_is_found_and_stopped_by_its_name() -> None:
    ledger = Ledger(Settings())
    mine, other = Stream(), Stream()
    ledger.enter(mine)
    ledger.enter(other)
    handle = Handle(Scope(Lanes(1), mine), ledger)
    found = handle.find(other.id)
    assert found is not None
    assert found.id == other.id
    assert handle.stop(other.id)
    assert (mine.reason, other.reason) == (None, Reason.STOPPED)
    assert not handle.stop("nobody")
