from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.conftest import APART, AsyncUnit, Unit, begun, instantly, soon

from millstream.engine.buffer import Outbox
from millstream.engine.drive_async import SLICE, AsyncDrive
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource
from millstream.engine.stream import Stream
from millstream.protocol.events import Reason

VISITOR: ContextVar[str] = ContextVar("VISITOR", default="nobody")


class Run:
    """One drive with a socket that takes everything, or waits at its gate."""

    def __init__(self, producer: Any, scope: Scope, high_water: int = 100) -> None:
        self.scope = scope
        self.stream = scope.stream
        self.outbox = Outbox(high_water)
        self.sent: list[bytes] = []
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.blocked = asyncio.Event()
        self.error: Exception | None = None
        self.drive = AsyncDrive(
            AsyncSource(producer),
            bytes,
            self.outbox,
            scope,
            self.flush,
            freeze=lambda: None,
            take_apart=APART,
        )

    async def flush(self) -> None:
        self.most = max(self.most, self.outbox.ahead)
        if not self.gate.is_set():
            self.blocked.set()
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        while data := self.outbox.take():
            self.sent.append(data)
            self.outbox.taken += len(data)

    async def whole(self) -> bytes:
        """Run it to its end, with the last flush that is the caller's."""
        await self.drive.run()
        await self.flush()
        return b"".join(self.sent)


async def driving(producer: Any, *units: Unit, high_water: int = 100) -> Run:
    return Run(producer, await begun(Stream(), *units), high_water)


class Log(list[str]):
    """What a producer did, and whether it was closed where it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[Any] | None] = set()

    def note(self, what: str) -> None:
        self.append(what)
        self.tasks.add(asyncio.current_task())


async def items(log: Log, *waits: float | None) -> AsyncIterator[bytes]:
    """An item a wait: None yields at once, a number suspends before."""
    log.note("started")
    try:
        for number, wait in enumerate(waits):
            if wait is not None:
                await asyncio.sleep(wait)
            yield b"%d," % number
    finally:
        log.note("closed")


async def endless(log: Log) -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"x"
    finally:
        log.note("closed")


WAITS = st.lists(st.none() | st.sampled_from([0, 0.001, 1]), max_size=30)


@given(WAITS, st.integers(1, 20))
def test_every_item_arrives_once_and_in_order_and_never_too_many_are_ahead(
    waits: list[float | None], high_water: int
) -> None:
    @instantly
    async def check() -> None:
        log = Log()
        run = await driving(items(log, *waits), high_water=high_water)
        assert await run.whole() == b"".join(b"%d," % number for number in range(len(waits)))
        assert run.most < high_water + 4
        assert log == ["started", "closed"]
        assert log.tasks == {asyncio.current_task()}
        assert len(asyncio.all_tasks()) == 1

    check()


@given(WAITS, st.integers(0, 60))
def test_wherever_it_is_interrupted_it_is_closed_once_and_what_was_sent_is_in_order(
    waits: list[float | None], moment: int
) -> None:
    @instantly
    async def check() -> None:
        log = Log()
        run = await driving(items(log, *waits, 0, 0, 0))
        task = asyncio.create_task(run.drive.run())
        for _ in range(moment):
            await asyncio.sleep(0)
        in_time = not task.done()
        run.stream.interrupt(Reason.STOPPED)
        task.cancel()
        await asyncio.wait({task})
        assert log == (["started", "closed"] if moment or not in_time else [])
        assert b"".join(b"%d," % number for number in range(50)).startswith(b"".join(run.sent))
        assert len(asyncio.all_tasks()) == 1

    check()


async def test_items_that_are_there_at_once_leave_together() -> None:
    run = await driving(items(Log(), *[None] * 20), high_water=10_000)
    await run.whole()
    assert run.sent[0] == b"0,"
    assert len(run.sent) < 10


@instantly
async def test_before_it_waits_for_its_producer_everything_leaves() -> None:
    arrived: list[list[bytes]] = []

    async def producer() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"a"
            yield b"b"
            await asyncio.sleep(1)
            arrived.append(list(run.sent))

    run = await driving(producer())
    await run.whole()
    assert [b"".join(sent) for sent in arrived] == [b"ab", b"abab", b"ababab"]


async def test_an_item_that_took_its_time_does_not_wait_for_the_next() -> None:
    async def producer() -> AsyncIterator[bytes]:
        for number in range(3):
            time.sleep(0.001)  # noqa: ASYNC251  it works, without a suspension
            yield b"%d" % number
            assert b"%d" % number in run.sent

    run = await driving(producer(), high_water=10_000)
    await run.whole()


async def test_a_producer_that_never_suspends_lets_the_others_have_their_turn() -> None:
    log, turns = Log(), 0
    run = await driving(endless(log), high_water=10**9)
    task = asyncio.create_task(run.drive.run())
    before = time.monotonic()
    while turns < 5:
        await asyncio.sleep(0)
        turns += 1
    assert time.monotonic() - before < 100 * SLICE
    run.stream.interrupt(Reason.STOPPED)
    await task
    assert log == ["closed"]


async def test_it_waits_for_the_socket_at_the_high_water_mark() -> None:
    run = await driving(endless(Log()), high_water=10)
    task = asyncio.create_task(run.drive.run())
    await asyncio.sleep(0)
    run.gate.clear()
    await run.blocked.wait()
    assert 0 < run.outbox.ahead <= 10
    run.stream.interrupt(Reason.STOPPED)
    run.gate.set()
    await task


# Ends


async def test_a_failing_producer_is_closed_and_its_error_goes_up() -> None:
    async def producer(log: Log) -> AsyncIterator[bytes]:
        try:
            yield b"a"
            raise ValueError("no such table")
        finally:
            log.note("closed")

    log = Log()
    with pytest.raises(ValueError, match="no such table"):
        await (await driving(producer(log))).whole()
    assert log == ["closed"]


async def test_a_failing_producer_is_closed_that_failed_after_a_wait() -> None:
    async def producer() -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        raise ValueError("no such table")
        yield b""

    with pytest.raises(ValueError, match="no such table"):
        await (await driving(producer())).whole()


async def test_an_item_the_codec_refuses_ends_it_and_closes_the_producer() -> None:
    async def producer() -> AsyncIterator[Any]:
        try:
            yield "text"
        finally:
            log.note("closed")

    log = Log()
    with pytest.raises(TypeError):
        await (await driving(producer())).whole()
    assert log == ["closed"]


async def test_a_producer_that_was_never_started_is_closed_too() -> None:
    log = Log()
    generator = items(log, None)
    run = await driving(generator)
    run.stream.interrupt(Reason.STOPPED)
    await run.drive.run()
    assert log == []
    with pytest.raises(StopAsyncIteration):
        await anext(generator)


async def test_a_producer_that_ends_after_a_wait_is_exhausted() -> None:
    async def producer() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0)

    assert await (await driving(producer())).whole() == b"a"


async def test_a_cancellation_reaches_the_producer_where_it_waits() -> None:
    log = Log()

    async def producer() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.note("cancelled")
            raise

    run = await driving(producer())
    task = asyncio.create_task(run.drive.run())
    while not run.sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled"]
    assert log.tasks == {task}


async def test_a_producer_that_swallows_its_interruption_gets_no_further() -> None:
    async def producer() -> AsyncIterator[bytes]:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield b"never mind"

    run = await driving(producer())
    task = asyncio.create_task(run.drive.run())
    await asyncio.sleep(0)
    run.stream.interrupt(Reason.STOPPED)
    task.cancel()
    await task
    assert run.sent == []


async def pair(log: Log, wait: Callable[[], Any]) -> AsyncIterator[bytes]:
    """Two items, of which the second still waits for the socket when the producer suspends."""
    try:
        yield b"a"
        yield b"b"
        await wait()
        log.note("went on")
    except asyncio.CancelledError:
        log.note("cancelled")
        raise
    finally:
        log.note("closed")


@pytest.fixture(autouse=True)
def no_item_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that takes long on a busy machine leaves before the next step: no test here means that."""
    monkeypatch.setattr("millstream.engine.drive_async.PROMPT", 60.0)


async def blocked(producer: Any) -> tuple[Run, asyncio.Task[None]]:
    """Run it until its step is suspended and the socket takes nothing."""
    run = await driving(producer)
    run.drive._flush = first_flush_passes(run)
    task = asyncio.create_task(run.drive.run())
    await run.blocked.wait()
    return run, task


def first_flush_passes(run: Run) -> Callable[[], Any]:
    async def flush() -> None:
        await run.flush()
        run.gate.clear()

    return flush


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(60), lambda: asyncio.sleep(0), asyncio.Event().wait])
async def test_a_step_that_is_suspended_while_the_socket_blocks_is_given_up_with_its_stream(
    wait: Callable[[], Any],
) -> None:
    log = Log()
    run, task = await blocked(pair(log, wait))
    run.stream.interrupt(Reason.CLIENT_GONE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled", "closed"]
    assert log.tasks == {task}
    assert task.cancelling() == 1


async def test_what_such_a_step_waits_for_is_cancelled_with_it() -> None:
    log, children = Log(), [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
    _, task = await blocked(pair(log, lambda: asyncio.gather(*children)))
    task.cancel()
    await asyncio.wait({task, *children}, timeout=5)
    assert all(child.cancelled() for child in children)
    assert log == ["cancelled", "closed"]


async def test_a_socket_that_fails_gives_such_a_step_up_too() -> None:
    log = Log()
    run, task = await blocked(pair(log, lambda: asyncio.sleep(60)))
    run.error = OSError("connection reset")
    run.gate.set()
    with pytest.raises(OSError, match="connection reset"):
        await task
    assert log == ["cancelled", "closed"]
    assert task.cancelling() == 0


async def test_such_a_step_may_end_the_generator_while_it_is_given_up() -> None:
    async def producer() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    _, task = await blocked(producer())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_of_such_a_step_while_it_is_given_up_is_what_goes_up() -> None:
    async def producer() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("the cleanup failed")

    _, task = await blocked(producer())
    task.cancel()
    with pytest.raises(ValueError, match="the cleanup failed"):
        await task
    assert task.cancelling() == 1


async def test_such_a_step_goes_on_when_the_socket_does() -> None:
    log = Log()
    run, task = await blocked(pair(log, lambda: asyncio.sleep(0)))
    run.gate.set()
    await task
    assert log == ["went on", "closed"]


async def test_a_generator_that_ignores_its_closing_is_an_error_and_no_endless_loop() -> None:
    async def stubborn() -> AsyncIterator[bytes]:
        try:
            yield b"a"
        finally:
            yield b"b"

    run = await driving(stubborn())
    run.error = OSError("connection reset")
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        await run.drive.run()


async def test_nothing_is_left_to_the_collector() -> None:
    gc.disable()
    try:
        log = Log()
        generator = items(log, None, None, 60)
        seen = weakref.ref(generator)
        run = await driving(generator)
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: run.sent)
        task.cancel()
        await asyncio.wait({task})
        assert log == ["started", "closed"]
        assert seen() is not None
    finally:
        gc.enable()


# What authors do across a yield


async def test_a_context_variables_token_is_good_across_a_yield() -> None:
    async def producer() -> AsyncIterator[bytes]:
        token = VISITOR.set("Ann")
        yield VISITOR.get().encode()
        await asyncio.sleep(0)
        yield VISITOR.get().encode()
        VISITOR.reset(token)
        yield VISITOR.get().encode()

    assert await (await driving(producer())).whole() == b"AnnAnnnobody"


@pytest.mark.parametrize("group", [asyncio.TaskGroup, anyio.create_task_group])
async def test_a_task_group_lives_across_a_yield(group: Callable[[], Any]) -> None:
    async def producer() -> AsyncIterator[bytes]:
        async with group() as tasks:
            done = asyncio.Event()

            async def work() -> None:
                done.set()

            (tasks.create_task if group is asyncio.TaskGroup else tasks.start_soon)(
                work() if group is asyncio.TaskGroup else work
            )
            yield b"a"
            await done.wait()
            yield b"b"

    assert await (await driving(producer())).whole() == b"ab"


@instantly
async def test_a_time_limit_lives_across_a_yield_and_is_the_producers_to_catch() -> None:
    async def producer() -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(5):
                yield b"a"
                await asyncio.sleep(60)
        except TimeoutError:
            yield b"late"

    assert await (await driving(producer())).whole() == b"alate"


# Units


@pytest.mark.parametrize("kind", [Unit, AsyncUnit])
async def test_units_rest_after_every_item(kind: Callable[..., Unit]) -> None:
    log: list[str] = []
    run = await driving(items(Log(), None, None, 0), kind("a", log))
    assert await run.whole() == b"0,1,2,"
    assert log == ["a.rest"] * 3
    await run.scope.close()


async def test_a_unit_that_fails_to_rest_ends_it() -> None:
    log = Log()
    run = await driving(items(log, None, None), Unit("a", [], "rest"))
    with pytest.raises(RuntimeError, match="a fails"):
        await run.drive.run()
    assert log == ["started", "closed"]
    await run.scope.close()


async def test_room_is_no_news_to_a_driver_that_waits_in_its_own_flush() -> None:
    run = await driving(items(Log()))
    run.drive.room()
    assert await run.whole() == b""
