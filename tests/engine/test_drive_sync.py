from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.conftest import APART, PATIENCE, AsyncUnit, Unit, begun, soon

from millstream.config import Settings
from millstream.engine.buffer import Outbox
from millstream.engine.drive_sync import SyncDrive
from millstream.engine.handle import Handle
from millstream.engine.ledger import Ledger
from millstream.engine.scope import Scope
from millstream.engine.source import SyncSource, source_of
from millstream.engine.stream import Stream
from millstream.engine.threads import IDLE_NAME, Lanes
from millstream.errors import StreamInterrupted
from millstream.protocol.events import Reason
from millstream.testing import no_leaks

VISITOR: ContextVar[str] = ContextVar("VISITOR", default="nobody")
LANES = Lanes(1000)
BY_HAND = False


@pytest.fixture(autouse=True, scope="module", params=[False, True], ids=["by its task", "by hand"])
def sent(request: pytest.FixtureRequest) -> None:
    """How what comes while the drain sleeps is sent."""
    global BY_HAND  # noqa: PLW0603  for all the drives of one round
    BY_HAND = request.param


class Log(list[str]):
    """What a producer did, and on which threads."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def note(self, what: str) -> None:
        self.append(what)
        self.threads.add(threading.get_ident())


class Run:
    """One drive with a socket that takes each piece at its own pace."""

    def __init__(self, producer: Any, scope: Scope, high_water: int, pace: Callable[[], Any]) -> None:
        self.scope = scope
        self.stream = scope.stream
        self.handle = Handle(scope, Ledger(Settings()))
        self.outbox = Outbox(high_water)
        self.sent: list[bytes] = []
        self.most = 0
        self.pace = pace
        self.error: Exception | None = None
        self.entered = asyncio.Event()
        source = source_of(producer)
        assert isinstance(source, SyncSource)
        self.drive = SyncDrive(
            source,
            bytes,
            self.outbox,
            scope,
            self.flush,
            freeze=lambda: None,
            take_apart=APART,
            patience=PATIENCE,
            by_hand=BY_HAND,
        )

    async def flush(self) -> None:
        self.entered.set()
        while data := self.outbox.take():
            self.most = max(self.most, self.outbox.ahead)
            await self.pace()
            if self.error is not None:
                raise self.error
            self.sent.append(data)
            self.outbox.taken += len(data)
            self.drive.room()

    @property
    def body(self) -> bytes:
        return b"".join(self.sent)

    async def whole(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            await self.drive.run()
        return self.body

    async def interrupted(self, task: asyncio.Task[None]) -> None:
        """Interrupt it as a delivery does, and wait for its end."""
        self.stream.interrupt(Reason.STOPPED)
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.done()


async def at_once() -> None:
    return


async def with_a_turn() -> None:
    await asyncio.sleep(0)


async def slowly() -> None:
    await asyncio.sleep(0.0005)


@asynccontextmanager
async def driving(
    producer: Any, *units: Unit, high_water: int = 100, pace: Callable[[], Any] = at_once
) -> AsyncIterator[Run]:
    async with no_leaks():
        scope = await begun(Stream(route="Root.feed"), *units, lanes=LANES)
        yield Run(producer, scope, high_water, pace)
        await scope.close()


def items(log: Log, sizes: list[int], waits: dict[int, float] | None = None) -> Iterator[bytes]:
    log.note("started")
    try:
        for number, size in enumerate(sizes):
            if waits and number in waits:
                time.sleep(waits[number])
            yield bytes([number % 256]) * size
    finally:
        log.note("closed")


def stepped(step: threading.Semaphore, log: Log) -> Iterator[bytes]:
    try:
        while True:
            step.acquire()
            yield b"x"
    finally:
        log.note("closed")


def endless(log: Log, item: bytes = b"x") -> Iterator[bytes]:
    try:
        while True:
            yield item
    finally:
        log.note("closed")


SIZES = st.lists(st.integers(0, 12), max_size=40)
PACES = st.sampled_from([at_once, with_a_turn, slowly])
WAITS = st.dictionaries(st.integers(0, 39), st.sampled_from([0, 0.0002, 0.001]), max_size=4)


@settings(max_examples=60)
@given(SIZES, WAITS, PACES, st.integers(1, 40))
async def test_every_item_arrives_once_and_in_order_and_never_too_many_are_ahead(
    sizes: list[int], waits: dict[int, float], pace: Callable[[], Any], high_water: int
) -> None:
    log = Log()
    async with driving(items(log, sizes, waits), high_water=high_water, pace=pace) as run:
        expected = b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))
        assert await run.whole() == expected
        assert run.outbox.produced == run.outbox.taken == len(expected)
        assert run.most < high_water + 12
    assert log == ["started", "closed"]
    assert len(log.threads) == 1
    assert threading.get_ident() not in log.threads


@settings(max_examples=60)
@given(WAITS, PACES, st.integers(1, 40), st.integers(0, 60))
async def test_wherever_it_is_interrupted_it_is_closed_once_on_its_thread(
    waits: dict[int, float], pace: Callable[[], Any], high_water: int, moment: int
) -> None:
    log = Log()
    async with driving(items(log, [5] * 40, waits), high_water=high_water, pace=pace) as run:
        task = asyncio.create_task(run.drive.run())
        for _ in range(moment):
            await asyncio.sleep(0)
        await run.interrupted(task)
        expected = b"".join(bytes([number]) * 5 for number in range(40))
        assert expected.startswith(run.body)
    assert log in ([], ["started", "closed"])
    assert len(log.threads) <= 1


async def test_a_hundred_thousand_items_cost_few_wake_ups() -> None:
    async with driving(iter([b"x"] * 100_000), high_water=10**6) as run:
        assert await run.whole() == b"x" * 100_000
        assert len(run.sent) < 10_000


async def test_an_item_arrives_before_the_next_exists() -> None:
    gate = threading.Event()

    def producer() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x"
            assert gate.wait(PATIENCE)
            gate.clear()

    async with driving(producer()) as run:
        task = asyncio.create_task(run.drive.run())
        for number in range(1, 4):
            await soon(partial(_has_come, run, number))
            gate.set()
        await task


async def test_it_waits_for_the_socket_at_the_high_water_mark_and_goes_on_when_half_is_free() -> None:
    gate, blocked = asyncio.Event(), asyncio.Event()

    async def pace() -> None:
        blocked.set()
        await gate.wait()

    log = Log()
    async with driving(endless(log, b"12345"), high_water=20, pace=pace) as run:
        task = asyncio.create_task(run.drive.run())
        await blocked.wait()
        await soon(lambda: run.drive._pump_sleeps)
        assert 20 <= run.outbox.ahead < 25
        gate.set()
        await soon(lambda: len(run.body) > 200)
        await run.interrupted(task)
    assert log == ["closed"]


async def test_what_can_be_sent_at_once_does_not_wake_the_drain() -> None:
    step = threading.Semaphore(0)
    tasks: set[object] = set()

    def stepped() -> Iterator[bytes]:
        for _ in range(3):
            step.acquire()
            yield b"x"

    async def pace() -> None:
        tasks.add(asyncio.current_task())

    async with driving(stepped(), pace=pace) as run:
        task = asyncio.create_task(run.drive.run())
        for count in (1, 2, 3):
            step.release()
            await soon(lambda count=count: len(run.body) == count)  # type: ignore[misc]  # of a lambda's default
        await task
        assert tasks == ({None} if BY_HAND else {task})


async def test_a_write_that_was_begun_when_an_item_came_is_gone_on_with_or_given_up() -> None:
    log = Log()
    room = asyncio.Event()

    async with driving(endless(log), high_water=10, pace=room.wait) as run:
        task = asyncio.create_task(run.drive.run())
        await run.entered.wait()
        room.set()
        await soon(lambda: len(run.body) > 100)
        room.clear()
        run.entered.clear()
        await run.entered.wait()
        await run.interrupted(task)
        assert log[-1] == "closed"
        assert task.cancelled()


async def test_a_write_that_fails_when_an_item_comes_ends_it() -> None:
    step, log = threading.Semaphore(0), Log()
    async with driving(stepped(step, log)) as run:
        task = asyncio.create_task(run.drive.run())
        step.release()
        await soon(lambda: run.body == b"x")
        run.error = OSError("no network")
        while not task.done():
            step.release()
            await asyncio.sleep(0)
        with pytest.raises(OSError, match="no network"):
            await task
        assert log == ["closed"]


async def test_a_write_may_end_the_drain_that_it_was_made_for() -> None:
    """As one does that finds the client gone."""
    step, log = threading.Semaphore(0), Log()
    async with driving(stepped(step, log)) as run:
        task = asyncio.create_task(run.drive.run())
        step.release()
        await soon(lambda: run.body == b"x")

        async def leave() -> None:
            run.stream.interrupt(Reason.CLIENT_GONE)
            task.cancel()

        run.pace = leave
        while not task.done():
            step.release()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert log == ["closed"]


async def test_an_item_that_comes_just_before_the_drain_goes_to_sleep_is_not_slept_over() -> None:
    async with driving(iter([b"x"])) as run:

        async def came_too_late_for_this_flush() -> None:
            run.drive._flush = run.flush
            await soon(lambda: run.outbox)

        run.drive._flush = came_too_late_for_this_flush
        assert await run.whole() == b"x"


# Ends


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_failing_producer_is_closed_its_items_arrive_and_its_error_goes_up(count: int) -> None:
    def producer() -> Iterator[bytes]:
        try:
            yield from [b"x"] * count
            raise ValueError("no such table")
        finally:
            log.note("closed")

    log = Log()
    async with driving(producer()) as run:
        with pytest.raises(ValueError, match="no such table"):
            await run.whole()
        assert run.body == b"x" * count
    assert log == ["closed"]


async def test_an_item_the_codec_refuses_ends_it_and_closes_the_producer() -> None:
    log = Log()
    async with driving(endless(log, "text")) as run:  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(TypeError):
            await run.whole()
    assert log == ["closed"]


async def test_a_generator_exit_nobody_asked_for_is_the_producers_failure() -> None:
    def producer() -> Iterator[bytes]:
        yield b"x"
        raise GeneratorExit

    async with driving(producer()) as run:
        with pytest.raises(RuntimeError, match="raised GeneratorExit"):
            await run.whole()


async def test_a_producer_that_was_never_started_is_closed_too() -> None:
    log = Log()
    generator = items(log, [1])
    async with driving(generator) as run:
        run.stream.interrupt(Reason.STOPPED)
        assert await run.whole() == b""
    assert log == []
    assert next(generator, None) is None


async def test_a_producer_at_the_high_water_mark_is_woken_by_its_end() -> None:
    log = Log()
    async with driving(endless(log), high_water=1, pace=asyncio.Event().wait) as run:
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: run.drive._pump_sleeps)
        await run.interrupted(task)
    assert log == ["closed"]


def _has_come(run: Any, size: int) -> bool:
    return len(run.body) == size


async def test_a_producer_in_a_sleep_is_woken_by_its_end() -> None:
    log = Log()
    runs: list[Any] = []

    def producer() -> Iterator[bytes]:
        try:
            yield b"x"
            log.note("goes on")
            runs[0].handle.sleep(60)
        except GeneratorExit as left:
            log.note(type(left).__name__)
            raise
        finally:
            log.note("closed")

    async with driving(producer()) as run:
        runs.append(run)
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: run.body and log)
        await run.interrupted(task)
        with pytest.raises(asyncio.CancelledError):
            task.result()
    assert log == ["goes on", "StreamInterrupted", "closed"]


async def test_a_producer_that_ends_itself_early_ends_at_its_next_step() -> None:
    log = Log()

    def producer() -> Iterator[bytes]:
        try:
            yield b"x"
            runs[0].handle.stop()
            runs[0].handle.sleep(PATIENCE)
            log.note("went on")
        except StreamInterrupted:
            log.note("interrupted")
            raise

    runs: list[Run] = []
    async with driving(producer()) as run:
        runs.append(run)
        task = asyncio.create_task(run.drive.run())
        run.stream.on_interrupt = task.cancel  # type: ignore[assignment]  # as a delivery does
        await asyncio.wait({task}, timeout=PATIENCE)
    assert log == ["interrupted"]


async def test_a_producer_that_swallows_its_interruption_gets_no_further() -> None:
    log = Log()
    runs: list[Any] = []

    def producer() -> Iterator[bytes]:
        while True:
            try:
                log.note("sleeps")
                runs[0].handle.sleep(60)
            except StreamInterrupted:
                log.note("swallowed")
            yield b"x"

    async with driving(producer()) as run:
        runs.append(run)
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: log)
        await run.interrupted(task)
    assert log == ["sleeps", "swallowed"]


async def test_a_cleanup_that_fails_after_an_interruption_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def producer() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            raise ValueError("the cleanup failed")

    async with driving(producer(), high_water=1, pace=asyncio.Event().wait) as run:
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: run.drive._pump_sleeps)
        await run.interrupted(task)
        assert task.cancelled()
    assert "Root.feed: the producer failed while it was closed" in caplog.text
    assert "the cleanup failed" in caplog.text


async def test_a_producer_that_goes_on_after_its_end_is_named_with_its_line_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    def producer() -> Iterator[bytes]:
        waits.set()
        goes_on.wait(PATIENCE)
        yield b"x"

    async with driving(producer()) as run:
        run.drive._patience = 0.01
        task = asyncio.create_task(run.drive.run())
        await soon(waits.is_set)
        run.stream.interrupt(Reason.CLIENT_GONE)
        task.cancel()
        await soon(lambda: caplog.text)
        goes_on.set()
        await asyncio.wait({task}, timeout=PATIENCE)
    (record,) = caplog.records
    assert re.match(
        r"Root\.feed was ended 0\.01 s ago \(client-gone\), but its thread is still at work at "
        r".*test_drive_sync\.py:\d+ in producer: ask stream\.client_gone there, or give stream\.on_interrupt",
        record.message,
    )


async def test_a_producer_that_blocks_is_woken_by_what_was_to_be_called_on_its_end() -> None:
    log, goes_on = Log(), threading.Event()

    def producer() -> Iterator[bytes]:
        run.handle.on_interrupt(goes_on.set)
        log.note("waits")
        goes_on.wait(PATIENCE)
        log.note("woken")
        yield b"x"

    async with driving(producer()) as run:
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: log)
        await run.interrupted(task)
    assert log == ["waits", "woken"]


async def test_a_producer_that_blocks_is_woken_when_its_socket_fails() -> None:
    goes_on = threading.Event()

    def producer() -> Iterator[bytes]:
        run.handle.on_interrupt(goes_on.set)
        yield b"x"
        goes_on.wait(PATIENCE)

    async with driving(producer()) as run:
        run.error = OSError("connection reset")
        with pytest.raises(OSError, match="connection reset"):
            await run.whole()
    assert goes_on.is_set()


async def test_a_socket_that_fails_stops_the_producer_and_interrupts_nobody() -> None:
    log = Log()
    async with driving(endless(log), high_water=5) as run:
        run.error = OSError("connection reset")
        with pytest.raises(OSError, match="connection reset"):
            await run.whole()
        assert (run.stream.interrupted, run.stream.reason) == (False, None)
    assert log == ["closed"]


async def test_a_second_cancellation_still_waits_for_the_producers_cleanup() -> None:
    gate, log = threading.Event(), Log()

    def producer() -> Iterator[bytes]:
        try:
            yield b"x"
            gate.wait(PATIENCE)
        finally:
            log.note("closed")

    async with driving(producer()) as run:
        task = asyncio.create_task(run.drive.run())
        await soon(lambda: run.body)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        gate.set()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.cancelled()
    assert log == ["closed"]


async def test_nothing_is_left_to_the_collector() -> None:
    gc.disable()
    try:
        log = Log()
        async with driving(endless(log), high_water=5, pace=with_a_turn) as run:
            task = asyncio.create_task(run.drive.run())
            await soon(lambda: run.body)
            await run.interrupted(task)
            assert log == ["closed"]
    finally:
        gc.enable()


# One thread, one context


async def test_every_step_and_the_close_run_on_the_streams_thread_in_one_context() -> None:
    names = set()

    def producer() -> Iterator[bytes]:
        token = VISITOR.set("Ann")
        try:
            for _ in range(3):
                names.add(threading.current_thread().name)
                yield VISITOR.get().encode()
        finally:
            names.add(threading.current_thread().name)
            VISITOR.reset(token)

    async with driving(producer(), pace=with_a_turn) as run:
        assert await run.whole() == b"AnnAnnAnn"
    assert names == {"millstream Root.feed"}
    assert IDLE_NAME not in names
    assert VISITOR.get() == "nobody"


# Units


@pytest.mark.parametrize("kinds", [(Unit,), (AsyncUnit,), (Unit, AsyncUnit)])
async def test_units_rest_after_every_item_and_in_every_sleep(kinds: tuple[Callable[..., Unit], ...]) -> None:
    log: list[str] = []
    runs: list[Run] = []

    def producer() -> Iterator[bytes]:
        yield b"a"
        runs[0].handle.sleep(0)
        yield b"b"

    async with driving(producer(), *(kind("u", log) for kind in kinds)) as run:
        runs.append(run)
        assert await run.whole() == b"ab"
        assert log == ["u.rest"] * 3 * len(kinds)


@pytest.mark.parametrize("kinds", [(Unit,), (AsyncUnit,), (Unit, AsyncUnit)])
async def test_a_checkpoint_in_the_midst_settles_before_the_next_item(
    kinds: tuple[Callable[..., Unit], ...],
) -> None:
    log: list[str] = []
    runs: list[Run] = []

    def producer() -> Iterator[bytes]:
        for _ in range(2):
            runs[0].handle.commit()
            yield b"%d" % log.count("u.commit")

    async with driving(producer(), *(kind("u", log) for kind in kinds), pace=slowly) as run:
        runs.append(run)
        assert await run.whole() == b"%d%d" % (len(kinds), 2 * len(kinds))


async def test_a_unit_that_fails_to_rest_ends_it() -> None:
    log = Log()
    async with driving(endless(log), Unit("a", [], "rest")) as run:
        with pytest.raises(RuntimeError, match="a fails"):
            await run.whole()
    assert log == ["closed"]


async def test_a_hundred_streams_at_once_all_arrive_whole() -> None:
    async def one(number: int) -> bytes:
        scope = await begun(Stream(), lanes=LANES)
        run = Run(iter([b"%d," % number] * 50), scope, high_water=20, pace=with_a_turn)
        body = await run.whole()
        await scope.close()
        return body

    bodies = await asyncio.gather(*(one(number) for number in range(100)))
    assert bodies == [b"%d," % number * 50 for number in range(100)]
