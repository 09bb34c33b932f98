from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Final

import pytest
from starlette.datastructures import MutableHeaders
from tests.engine.conftest import (
    PATIENCE,
    AsyncUnit,
    Unit,
    Wire,
    begun,
    instantly,
    raw,
    raw_head,
    soon,
)

from millstream.codecs.base import Codec
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.sse import Sse
from millstream.config import Settings
from millstream.engine.delivery import HEAD_WAIT, Body, Delivery
from millstream.engine.scope import Scope
from millstream.engine.source import source_of
from millstream.engine.stream import Stream
from millstream.engine.terms import terms_of
from millstream.errors import HTTPError, WrongItem, WrongLength
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import ChunkTransform, Head, ItemHook, Transform
from millstream.testing import no_leaks

KINDS: Final = ["sync", "async"]
HALTS: Final = [
    Reason.CLIENT_GONE,
    Reason.STOPPED,
    Reason.TIMED_OUT,
    Reason.STALLED,
    Reason.SHUTDOWN,
    Reason.REVOKED,
]
ABANDONED: Final = (State.ABANDONED, Reason.STOPPED)


class Life:
    """One delivery, in a task of its own."""

    def __init__(self, wire: Wire, stream: Stream, log: list[str]) -> None:
        self.wire = wire
        self.stream = stream
        self.log = log
        self.task: asyncio.Task[None] | None = None
        self.delivery: Delivery | None = None
        self.make_head: Callable[[], Head] = raw_head

    @property
    def end(self) -> tuple[State, Reason | None]:
        return self.stream.state, self.stream.reason

    async def over(self) -> BaseException | None:
        """Wait for its end, and tell what it raised."""
        assert self.task is not None
        await asyncio.wait({self.task}, timeout=3600)
        assert self.task.done()
        return None if self.task.cancelled() else self.task.exception()

    async def started(self, count: int = 1) -> None:
        """Wait until so many bytes were written."""
        await self.wire.wait_for(count)


@asynccontextmanager
async def living(
    producer: Any,
    *units: Unit,
    encoder: Codec | None = None,
    transforms: Sequence[Transform] = (),
    item_hooks: Sequence[ItemHook] = (),
    log: list[str] | None = None,
    **limits: Any,
) -> AsyncIterator[Life]:
    """Begin a delivery; afterwards nothing of it may be left."""
    async with no_leaks():
        loop = asyncio.get_running_loop()
        life = Life(Wire(), Stream(route="Root.feed"), [] if log is None else log)
        for unit in units:
            unit.log = life.log
        scope = await begun(life.stream, *units)
        source = source_of(producer)
        assert source is not None
        make_head = lambda: life.make_head()  # noqa: E731, PLW0108  a test may change it meanwhile
        body = Body(source, encoder or raw(), make_head, transforms, item_hooks)

        async def run() -> None:
            life.delivery = Delivery(body, scope, life.wire, terms_of(Settings(**limits)))
            try:
                await life.delivery.run()
            finally:
                ours = asyncio.current_task()
                assert ours is not None
                life.log.append(f"cancelling {ours.cancelling()}")

        life.task = asyncio.create_task(run())
        yield life
        await life.over()
        await scope.close()
        assert life.wire.on_gone is None, "somebody still watches"
        timers = [each for each in getattr(loop, "_scheduled", ()) if not each.cancelled()]
        assert [each for each in timers if isinstance(getattr(each._callback, "__self__", 0), Delivery)] == []


def steps(kind: str, *script: Any, log: list[str] | None = None) -> Any:
    """A producer of either kind: yields what it is given, calls what can be called, raises errors."""
    noted = [] if log is None else log

    def step(each: Any) -> Any:
        if isinstance(each, BaseException):
            raise each
        return each() if callable(each) else each

    def sync() -> Iterator[Any]:
        try:
            for each in script:
                if (item := step(each)) is not None:
                    yield item
        finally:
            noted.append("closed")

    async def asynchronous() -> AsyncIterator[Any]:
        try:
            for each in script:
                item = step(each)
                if isinstance(item, Coroutine):
                    item = await item
                if item is not None:
                    yield item
        finally:
            noted.append("closed")

    return sync() if kind == "sync" else asynchronous()


async def waits(log: list[str] | None = None, *first: Any) -> AsyncIterator[Any]:
    """Yields these, then waits for ever."""
    try:
        for item in first:
            yield item
        await asyncio.Event().wait()
    finally:
        if log is not None:
            log.append("closed")


# The order that is promised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", [Unit, AsyncUnit])
async def test_head_items_settlement_and_end_come_in_this_order(kind: str, unit: Callable[..., Unit]) -> None:
    class Witness(unit):  # type: ignore[misc,valid-type]  # either kind
        def step(self, step: str) -> None:
            super().step(f"{step} after {life.wire.body!r}, ended {life.wire.ended}")

    log: list[str] = []
    async with living(steps(kind, "a", b"b", bytearray(b"c")), Witness("u", log), log=log) as life:
        assert await life.over() is None
        assert life.wire.head is not None
        assert life.wire.body == b"abc"
        assert life.wire.ended
        assert life.end == (State.DELIVERED, Reason.COMPLETED)
    settled = [each for each in log if "prepare" in each or "commit" in each]
    assert settled == ["u.prepare after b'abc', ended False", "u.commit after b'abc', ended False"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_head_may_be_changed_until_the_first_item_is_there(kind: str) -> None:
    head = raw_head()

    def change() -> None:
        head.headers["x-author"] = "set"

    async with living(steps(kind, change, "a")) as life:
        life.make_head = lambda: head
        await life.over()
        assert life.wire.head is not None
        assert life.wire.head.headers["x-author"] == "set"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_stream_is_a_committed_head_and_a_tail(kind: str) -> None:
    async with living(steps(kind), Unit("u", []), encoder=Json(action="", charset="utf-8")) as life:
        await life.over()
        assert (life.wire.head is not None, life.wire.body, life.wire.ended) == (True, b"[]", True)
        assert life.log[:2] == ["u.prepare", "u.commit"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_opens_the_body_leaves_with_the_first_item(kind: str) -> None:
    async with living(steps(kind, 1, 2), encoder=Json(action="", charset="utf-8")) as life:
        await life.over()
        assert life.wire.writes[0].startswith(b"[1")
        assert life.wire.body == b"[1,\n2]"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_item_is_an_item_and_does_not_hold_up_the_others(kind: str) -> None:
    async with living(steps(kind, "", "a", "", "", "b", "")) as life:
        await life.over()
        assert (life.wire.body, life.wire.ended) == (b"ab", True)


@pytest.mark.parametrize("kind", KINDS)
async def test_its_statistics_count_items_and_bytes_and_the_time_to_the_first(kind: str) -> None:
    async with living(steps(kind, "a", "bc", "d")) as life:
        await life.over()
        told = life.stream.statistics
        assert (told.items, told.bytes) == (3, 4)
        assert told.first_byte is not None
        assert 0 <= told.first_byte <= told.duration


async def test_hooks_see_the_items_before_the_codec() -> None:
    async with living(steps("async", 1, 2), item_hooks=[str, lambda item: item * 2]) as life:
        await life.over()
        assert life.wire.body == b"1122"


@pytest.mark.parametrize("kind", KINDS)
async def test_at_most_the_high_water_mark_and_one_item_are_ahead_of_a_client_that_does_not_read(
    kind: str,
) -> None:
    made: list[int] = []

    def item() -> bytes:
        made.append(1)
        return b"0123456789"

    async with living(steps(kind, *[item] * 1000), high_water=100) as life:
        life.wire.stall()
        await life.wire.busy.wait()
        await asyncio.sleep(0.02)
        assert len(made) <= 11
        life.wire.resume()
        await life.over()
        assert len(life.wire.body) == 10_000


async def test_a_server_that_never_waits_leaves_the_others_their_turns() -> None:
    over = threading.Event()

    def endless() -> Iterator[bytes]:
        while not over.is_set():
            yield b"x" * 100

    async with living(endless(), high_water=2**20) as life:
        await life.started()
        async with asyncio.timeout(60):  # starved, this would never come to its end
            for _ in range(20):
                await asyncio.sleep(0)
        over.set()
        assert await life.over() is None


# Failures


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_before_the_first_item_sends_nothing(kind: str) -> None:
    log: list[str] = []
    async with living(steps(kind, ValueError("no such table"), log=log)) as life:
        assert isinstance(await life.over(), ValueError)
        assert (life.wire.head, life.wire.body, log) == (None, b"", ["closed"])
        assert life.stream.state is State.WAITING  # what it was is told by whoever tells the client


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_produced_before_a_failure_is_the_clients_but_no_end(kind: str) -> None:
    log: list[str] = []
    async with living(steps(kind, "a", "b", "c", ValueError("no such table"), log=log)) as life:
        assert isinstance(await life.over(), ValueError)
        assert (life.wire.body, life.wire.ended, log) == (b"abc", False, ["closed"])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_item_the_codec_refuses_is_a_failure_after_those_before_it(kind: str) -> None:
    async with living(steps(kind, "a", 3)) as life:
        assert isinstance(await life.over(), WrongItem)
        assert life.wire.body == b"a"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_a_settlement_that_fails_leaves_the_body_without_its_end(kind: str, step: str) -> None:
    log: list[str] = []
    units = Unit("u", log, step), AsyncUnit("v", log)
    async with living(steps(kind, 1), *units, encoder=Json(action="", charset="utf-8"), log=log) as life:
        assert isinstance(await life.over(), RuntimeError)
        assert (life.wire.body, life.wire.ended) == (b"[1", False)
        assert "v.abort" in log
        assert "v.commit" not in log


async def test_a_tail_that_fails_does_so_before_anything_is_committed() -> None:
    class Broken(Json):
        def tail(self) -> bytes:
            raise ValueError("no tail")

    async with living(steps("async", 1), Unit("u", []), encoder=Broken(action="", charset="utf-8")) as life:
        assert isinstance(await life.over(), ValueError)
        assert "u.prepare" not in life.log


@pytest.mark.parametrize("kind", KINDS)
async def test_a_head_that_cannot_be_made_is_a_failure_and_nothing_is_sent(kind: str) -> None:
    def broken() -> Head:
        raise ValueError("no head")

    async with living(steps(kind, "a")) as life:
        life.make_head = broken
        assert isinstance(await life.over(), ValueError)
        assert (life.wire.head, life.wire.body) == (None, b"")


# Transforms


class Marking:
    """Marks each write, and fails at the one that holds a word."""

    def __init__(self, fails_at: bytes = b"never") -> None:
        self.fails_at = fails_at

    def chunk(self, data: bytes, /) -> bytes:
        if self.fails_at in data:
            raise ValueError("the transform fails")
        return b"<%b>" % data

    def end(self) -> bytes:
        return b"."


def declaring(length: int) -> Callable[[], Head]:
    """A head that declares a length."""

    def make() -> Head:
        head = raw_head()
        head.headers["content-length"] = str(length)
        return head

    return make


@pytest.mark.parametrize("kind", KINDS)
async def test_the_last_declared_byte_is_sent_after_the_commit(kind: str) -> None:
    class Witness(Unit):
        def step(self, step: str) -> None:
            super().step(step)
            if step == "commit":
                seen.append(life.wire.body)

    seen: list[bytes] = []
    async with living(steps(kind, "one", "two"), Witness("u", [])) as life:
        life.make_head = declaring(6)
        assert await life.over() is None
    assert (seen, life.wire.body, life.wire.ended) == ([b"onetw"], b"onetwo", True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "sent"), [(4, b"one"), (7, b"onetwo"), (2, b"")])
async def test_a_body_of_another_length_is_a_failure_before_the_commit(
    kind: str, length: int, sent: bytes
) -> None:
    async with living(steps(kind, "one", lambda: None, "two"), Unit("u", [])) as life:
        life.make_head = declaring(length)
        raised = await life.over()
        assert life.delivery is not None
        assert life.delivery.last_words({"status": 500}) == b""
    assert isinstance(raised, WrongLength)
    assert sent.startswith(life.wire.body)
    assert "u.commit" not in life.log
    assert (life.wire.head is None) == (length == 2)


async def test_a_failed_body_of_a_declared_length_has_no_last_words_that_could_complete_it() -> None:
    async with living(steps("async", 1, LookupError()), encoder=Ndjson(action="", charset="utf-8")) as life:
        life.make_head = declaring(50)
        assert isinstance(await life.over(), LookupError)
        assert life.delivery is not None
        assert life.delivery.last_words({"status": 500}) == b""


@instantly
async def test_a_body_of_a_declared_length_has_no_signs_of_life_which_would_count() -> None:
    async def quiet() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(100)
        yield 2

    async with living(quiet(), encoder=Ndjson(action="", charset="utf-8"), keep_alive=10) as life:
        life.make_head = declaring(4)
        assert await life.over() is None
    assert life.wire.body == b"1\n2\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_head_that_declares_nothing_to_come_is_sent_after_the_commit(kind: str) -> None:
    class Witness(Unit):
        def step(self, step: str) -> None:
            super().step(step)
            assert life.wire.head is None

    async with living(steps(kind, "", lambda: None, ""), Witness("u", [])) as life:
        life.make_head = declaring(0)
        assert await life.over() is None
    assert (life.wire.body, life.wire.ended) == (b"", True)


@instantly
async def test_nor_when_its_first_item_is_late_or_its_head_would_go_first() -> None:
    async def late() -> AsyncIterator[int]:
        await asyncio.sleep(100)
        assert life.wire.head is None
        for _ in ():
            yield 0

    def no_content() -> Head:
        return Head(204, MutableHeaders(), "GET")

    for encoder in (raw(), Sse(action="Root.feed", charset="utf-8")):
        async with living(late(), encoder=encoder, first_item_timeout=5) as life:
            life.make_head = no_content
            assert await life.over() is None
        assert (life.wire.body, life.wire.ended) == (b"", True)


def marking(fails_at: bytes = b"never") -> Transform:
    def make(_head: Head) -> ChunkTransform:
        return Marking(fails_at)

    return make


@pytest.mark.parametrize("kind", KINDS)
async def test_a_transform_sees_each_write_and_the_end(kind: str) -> None:
    async with living(
        steps(kind, 1), encoder=Json(action="", charset="utf-8"), transforms=[marking()]
    ) as life:
        await life.over()
        assert life.wire.body == b"<[1><]>."


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_write_that_failed_nothing_more_follows(kind: str) -> None:
    gate = threading.Event()

    def second() -> str:
        assert gate.wait(PATIENCE)
        return "b"

    async with living(
        steps(kind, "a", second, *["c"] * 50), transforms=[marking(b"b")], high_water=2
    ) as life:
        if kind == "sync":
            await life.started()
        gate.set()
        assert isinstance(await life.over(), ValueError)
        assert life.wire.body == b"<a>"
        assert (life.stream.interrupted, life.stream.reason) == (False, None)


async def test_a_transform_that_cannot_begin_is_a_failure_and_nothing_is_sent() -> None:
    def broken(_head: Head) -> None:
        raise LookupError("no such charset")

    async with living(steps("async", "a"), transforms=[broken]) as life:
        assert isinstance(await life.over(), LookupError)
        assert (life.wire.head, life.wire.body) == (None, b"")


@instantly
async def test_a_transform_that_cannot_begin_for_an_early_head_fails_with_the_first_item(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_head: Head) -> None:
        raise LookupError("no such charset")

    late = steps("async", lambda: asyncio.sleep(10), "a")
    async with living(late, transforms=[broken], first_item_timeout=1.0) as life:
        assert isinstance(await life.over(), LookupError)
        assert (life.wire.head, life.wire.body) == (None, b"")
    assert "Root.feed: a write of its own failed: LookupError" in caplog.text


# What deadlines ask for


@instantly
async def test_a_late_first_item_lets_the_head_and_the_opening_go_before_it() -> None:
    late = steps("async", lambda: asyncio.sleep(10), 1)
    async with living(late, encoder=Json(action="", charset="utf-8"), first_item_timeout=5.0) as life:
        await asyncio.sleep(5.5)
        assert life.wire.head is not None
        assert life.wire.body == b"["
        assert life.stream.state is State.FLOWING
        await life.over()
        assert life.wire.body == b"[1]"


@instantly
async def test_server_sent_events_open_when_their_first_item_takes_a_moment() -> None:
    async with living(waits(), encoder=Sse(action="", charset="utf-8")) as life:
        await asyncio.sleep(HEAD_WAIT * 0.9)
        assert life.wire.head is None
        await asyncio.sleep(HEAD_WAIT * 0.2)
        assert (life.wire.head is None, life.wire.body) == (False, b": open\n")
        life.stream.interrupt(Reason.STOPPED)


@instantly
async def test_a_refusal_within_that_moment_goes_before_the_head_of_server_sent_events() -> None:
    refused = steps("async", lambda: asyncio.sleep(HEAD_WAIT * 0.9), HTTPError(401))
    async with living(refused, encoder=Sse(action="", charset="utf-8")) as life:
        assert isinstance(await life.over(), HTTPError)
        assert (life.wire.head, life.wire.body) == (None, b"")


@instantly
async def test_the_head_of_server_sent_events_leaves_once_with_their_first_item() -> None:
    late = steps("async", 1, lambda: asyncio.sleep(HEAD_WAIT * 2), 2)
    async with living(late, encoder=Sse(action="", charset="utf-8")) as life:
        await life.over()
        assert life.wire.writes[:2] == [b": open\ndata: 1\n\n", b"data: 2\n\n"]


@instantly
async def test_a_long_silence_is_broken_outside_the_producer() -> None:
    late = steps("async", "a", lambda: asyncio.sleep(40), "b")
    async with living(late, encoder=Ndjson(action="", charset="utf-8"), keep_alive=15.0) as life:
        await life.over()
        assert life.wire.writes == [b'"a"\n', b"\n", b"\n", b'"b"\n']


@instantly
async def test_an_item_may_come_in_the_very_turn_in_which_a_sign_of_life_is_written() -> None:
    comes = asyncio.Event()
    late = steps("async", "a", comes.wait, "b")
    async with living(late, encoder=Ndjson(action="", charset="utf-8"), keep_alive=15.0) as life:
        await life.started()
        life.wire.stall()
        await life.wire.busy.wait()
        life.wire.resume()
        comes.set()
        await life.over()
        assert life.wire.writes == [b'"a"\n', b"\n", b"true\n", b'"b"\n']


@instantly
async def test_a_sign_of_life_passes_the_transforms() -> None:
    late = steps("async", "a", lambda: asyncio.sleep(20))
    encoder = Ndjson(action="", charset="utf-8")
    async with living(late, encoder=encoder, transforms=[marking()], keep_alive=15.0) as life:
        await life.over()
        assert life.wire.writes[1] == b"<\n>"


@instantly
async def test_a_sign_of_life_that_a_transform_keeps_to_itself_is_not_sent() -> None:
    class Holding(Marking):
        def chunk(self, data: bytes, /) -> bytes:
            return b"" if data == b"\n" else data

    late = steps("async", "a", lambda: asyncio.sleep(20))
    encoder = Ndjson(action="", charset="utf-8")
    async with living(late, encoder=encoder, transforms=[lambda _: Holding()], keep_alive=15.0) as life:
        await life.over()
        assert life.wire.writes == [b'"a"\n', b"."]


@pytest.mark.parametrize("rest", [[], ["b"]])
@instantly
async def test_a_sign_of_life_the_client_does_not_read_is_waited_for(rest: list[str]) -> None:
    """By the next item, or by the end: never are two writes under way (the wire would say so)."""
    late = steps("async", "a", lambda: asyncio.sleep(20), *rest)
    limits: dict[str, Any] = {"keep_alive": 15.0, "min_rate": None}
    async with living(late, encoder=Ndjson(action="", charset="utf-8"), **limits) as life:
        await life.started()
        life.wire.stall()
        await asyncio.sleep(30)
        assert life.wire.busy.is_set()
        life.wire.resume()
        assert await life.over() is None
        assert life.wire.writes[:2] == [b'"a"\n', b"\n"]
        assert life.wire.ended


@instantly
async def test_a_sign_of_life_the_client_never_reads_is_given_up_with_its_stream() -> None:
    encoder = Ndjson(action="", charset="utf-8")
    async with living(waits(None, "a"), encoder=encoder, keep_alive=15.0, stall_timeout=60.0) as life:
        await life.started()
        life.wire.stall()
        assert isinstance(await life.over(), HTTPError)
        assert life.end == (State.ABANDONED, Reason.STALLED)
        await asyncio.sleep(0)
        assert not life.wire.busy.is_set()


class Slow(AsyncUnit):
    """Takes its time to commit."""

    async def commit(self) -> None:  # type: ignore[override]  # the port allows both
        await asyncio.sleep(40)


@instantly
async def test_a_silent_settlement_is_broken_by_signs_of_life_too() -> None:
    encoder = Ndjson(action="", charset="utf-8")
    async with living(steps("async", "a"), Slow("u", []), encoder=encoder, keep_alive=15.0) as life:
        assert await life.over() is None
        assert life.wire.writes == [b'"a"\n', b"\n", b"\n"]


@instantly
async def test_the_end_waits_for_a_sign_of_life_that_is_under_way() -> None:
    limits: dict[str, Any] = {"keep_alive": 15.0, "min_rate": None}
    encoder = Ndjson(action="", charset="utf-8")
    async with living(steps("async", "a"), Slow("u", []), encoder=encoder, **limits) as life:
        await life.started()
        life.wire.stall()
        await asyncio.sleep(50)
        assert life.stream.state is State.ENDING
        life.wire.resume()
        assert await life.over() is None
        assert (life.wire.writes, life.wire.ended) == ([b'"a"\n', b"\n"], True)


@instantly
async def test_a_sign_of_life_that_fails_is_logged_and_the_stream_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = steps("async", "a", lambda: asyncio.sleep(20), "b")
    async with living(late, encoder=Ndjson(action="", charset="utf-8"), keep_alive=15.0) as life:
        await life.started()
        life.wire.error = OSError("connection reset")
        await asyncio.sleep(16)
        life.wire.error = None
        assert await life.over() is None
    assert "a write of its own failed: OSError" in caplog.text


@pytest.mark.parametrize(
    ("limits", "seconds", "reason"),
    [
        ({"lifetime": 60.0}, 60, Reason.TIMED_OUT),
        ({"idle_timeout": 10.0}, 10, Reason.TIMED_OUT),
    ],
)
@instantly
async def test_a_limit_ends_it_where_its_producer_waits(
    limits: dict[str, Any], seconds: float, reason: Reason
) -> None:
    log: list[str] = []
    before = asyncio.get_running_loop().time()
    async with living(waits(log, "a"), **limits) as life:
        raised = await life.over()
        assert isinstance(raised, HTTPError)
        assert asyncio.get_running_loop().time() - before == pytest.approx(seconds)
        assert (life.end, log) == ((State.ABANDONED, reason), ["closed"])


@instantly
async def test_a_client_that_does_not_read_is_given_up() -> None:
    log: list[str] = []
    async with living(waits(log, "a"), stall_timeout=60.0) as life:
        life.wire.stall()
        raised = await life.over()
        assert isinstance(raised, HTTPError)
        assert raised.status == 408
        assert (life.end, log) == ((State.ABANDONED, Reason.STALLED), ["closed"])


async def dripping(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100
        await asyncio.sleep(0)


class Buffered(Wire):
    """Takes 48 KiB at once, then nothing until the client has read them, at its rate: as a server does."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.room = 48 * 1024

    async def send_body(self, data: bytes, /) -> None:
        if self.room <= 0:
            await asyncio.sleep(48 * 1024 / self.rate)
            self.room = 48 * 1024
        self.room -= len(data)
        await super().send_body(data)


@pytest.mark.parametrize(("rate", "ends"), [(5000, None), (200, Reason.STALLED)])
@instantly
async def test_a_reader_is_judged_by_its_rate_however_small_the_writes(
    rate: float, ends: Reason | None
) -> None:
    stream = Stream(route="Root.feed")
    wire = Buffered(rate)
    source = source_of(dripping(2000))
    assert source is not None
    scope = await begun(stream)
    settings = Settings(min_rate=240.0, stall_timeout=None)
    delivery = Delivery(Body(source, raw(), raw_head), scope, wire, terms_of(settings))
    with contextlib.suppress(HTTPError):
        await delivery.run()
    await scope.close()
    assert stream.reason is (ends or Reason.COMPLETED)


def alive(*kinds: type) -> int:
    # Not `isinstance`: a lazy object of another library would be asked for its class, and evaluated.
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())


@pytest.mark.parametrize("leaves", [False, True], ids=["completed", "client gone"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_leaves_nothing_to_the_collector(kind: str, *, leaves: bool) -> None:
    async def one() -> None:
        source = source_of(steps(kind, *["x"] * 1000))
        assert source is not None
        scope, wire = await begun(Stream()), Wire()
        settings = Settings(high_water=10 if leaves else 10**6)

        async def run() -> None:
            with contextlib.suppress(HTTPError):
                await Delivery(Body(source, raw(), raw_head), scope, wire, terms_of(settings)).run()

        if leaves:
            wire.stall()
        task = asyncio.create_task(run())
        if leaves:
            await wire.busy.wait()
            wire.leave()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert wire.ended != leaves
        await scope.close()

    await one()
    gc.collect()
    gc.disable()
    try:
        before = alive(Delivery, Scope)
        await one()
        await asyncio.sleep(0)
        assert alive(Delivery, Scope) == before
    finally:
        gc.enable()


# Ends that come from outside


@pytest.mark.parametrize("reason", HALTS)
@instantly
async def test_it_is_interrupted_before_its_first_item(reason: Reason) -> None:
    log: list[str] = []
    async with living(waits(log), AsyncUnit("u", [])) as life:
        await asyncio.sleep(1)
        assert life.stream.interrupt(reason)
        raised = await life.over()
        assert isinstance(raised, HTTPError)
        assert (life.wire.head, life.end, log) == (None, (State.ABANDONED, reason), ["closed"])
        assert life.log == ["cancelling 0"]


@pytest.mark.parametrize("reason", HALTS)
@instantly
async def test_it_is_interrupted_between_its_items(reason: Reason) -> None:
    log: list[str] = []
    async with living(waits(log, "a"), AsyncUnit("u", [])) as life:
        await life.started()
        assert life.stream.interrupt(reason)
        assert isinstance(await life.over(), HTTPError)
        assert (life.wire.body, life.wire.ended) == (b"a", False)
        assert (life.end, log) == ((State.ABANDONED, reason), ["closed"])
        assert life.log[-1] == "cancelling 0"


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_interrupted_while_its_client_does_not_read(kind: str) -> None:
    log: list[str] = []
    async with living(steps(kind, *["x"] * 1000, log=log), high_water=10) as life:
        life.wire.stall()
        await life.wire.busy.wait()
        assert life.stream.interrupt(Reason.STOPPED)
        assert isinstance(await life.over(), HTTPError)
        assert (life.end, log) == (ABANDONED, ["closed"])
        assert life.log == ["cancelling 0"]


async def test_a_synchronous_one_is_interrupted_at_its_next_step() -> None:
    gate, reached, log = threading.Event(), threading.Event(), list[str]()

    def wait() -> None:
        reached.set()
        assert gate.wait(PATIENCE)

    async with living(steps("sync", "a", wait, "b", "c", log=log)) as life:
        await soon(lambda: reached.is_set() and life.wire.body)
        assert life.stream.interrupt(Reason.STOPPED)
        await asyncio.sleep(0.01)
        assert log == []
        gate.set()
        assert isinstance(await life.over(), HTTPError)
        assert (life.end, log, life.wire.body) == (ABANDONED, ["closed"], b"a")


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_interrupted_before_it_began(kind: str) -> None:
    log: list[str] = []
    encoder = Sse(action="", charset="utf-8")
    async with living(steps(kind, "a", log=log), encoder=encoder) as life:
        assert life.stream.interrupt(Reason.STOPPED)
        assert isinstance(await life.over(), HTTPError)
        assert (life.wire.head, life.end, log) == (None, ABANDONED, [])


@instantly
async def test_its_own_producer_may_stop_it() -> None:
    async def producer() -> AsyncIterator[str]:
        yield "a"
        lives[0].stream.stop()
        yield "b"
        yield "c"

    lives: list[Life] = []
    async with living(producer()) as life:
        lives.append(life)
        assert isinstance(await life.over(), HTTPError)
        assert (life.end, life.wire.body) == (ABANDONED, b"a")
        assert life.log == ["cancelling 0"]


async def test_what_a_synchronous_producer_yielded_before_it_stopped_itself_is_the_clients() -> None:
    def producer() -> Iterator[str]:
        yield "a"
        lives[0].stream.stop()
        while not lives[0].stream.unwanted:
            time.sleep(0.001)
        yield "b"

    lives: list[Life] = []
    async with living(producer()) as life:
        lives.append(life)
        assert isinstance(await life.over(), HTTPError)
        assert (life.end, life.wire.body) == (ABANDONED, b"a")


@instantly
async def test_an_interruption_waits_for_the_cleanup() -> None:
    log: list[str] = []

    async def producer() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            log.append("cleaned up")

    async with living(producer(), close_timeout=10.0) as life:
        await life.started()
        life.stream.interrupt(Reason.STOPPED)
        assert isinstance(await life.over(), HTTPError)
        assert log == ["cleaned up"]


@instantly
async def test_a_cleanup_that_never_ends_is_cancelled_once_more() -> None:
    async def producer() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async with living(producer(), close_timeout=10.0) as life:
        await life.started()
        life.stream.interrupt(Reason.STOPPED)
        before = asyncio.get_running_loop().time()
        assert isinstance(await life.over(), HTTPError)
        assert asyncio.get_running_loop().time() - before == pytest.approx(10)
        assert life.log == ["cancelling 0"]


@instantly
async def test_a_cleanup_that_fails_is_told_and_sends_nothing_more() -> None:
    async def producer() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
            await asyncio.Event().wait()
        finally:
            raise ValueError("the cleanup failed")

    async with living(producer()) as life:
        await life.started(2)
        life.stream.interrupt(Reason.STOPPED)
        assert isinstance(await life.over(), ValueError)
        assert (life.end, life.wire.body) == (ABANDONED, b"ab")


class Settling(AsyncUnit):
    """Waits, in its commit, for the test."""

    def __init__(self, log: list[str]) -> None:
        super().__init__("u", log)
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    async def commit(self) -> None:  # type: ignore[override]  # the port allows both
        self.reached.set()
        await self.gate.wait()
        self.step("commit")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", [Reason.STOPPED, Reason.TIMED_OUT, Reason.SHUTDOWN])
async def test_while_it_settles_an_interruption_comes_too_late(kind: str, reason: Reason) -> None:
    unit = Settling([])
    async with living(steps(kind, "a"), unit) as life:
        await unit.reached.wait()
        assert not life.stream.interrupt(reason)
        unit.gate.set()
        assert await life.over() is None
        assert life.wire.ended
        assert life.end == (State.DELIVERED, Reason.COMPLETED)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["cancel", "detach", "grace(5)"])
async def test_a_client_that_leaves_while_it_settles_makes_the_end_unseen(kind: str, policy: str) -> None:
    unit = Settling([])
    async with living(steps(kind, "a"), unit, on_disconnect=policy) as life:
        await unit.reached.wait()
        life.wire.leave()
        unit.gate.set()
        assert await life.over() is None
        assert "u.commit" in life.log
        assert (life.wire.ended, life.end) == (False, (State.UNSEEN, Reason.COMPLETED))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves_while_an_empty_one_settles_is_sent_nothing(kind: str) -> None:
    unit = Settling([])
    async with living(steps(kind), unit) as life:
        await unit.reached.wait()
        life.wire.leave()
        unit.gate.set()
        await life.over()
        assert life.wire.head is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", HALTS)
async def test_an_end_that_is_interrupted_is_unseen_and_no_error(kind: str, reason: Reason) -> None:
    async with living(steps(kind, 1), Unit("u", []), encoder=Json(action="", charset="utf-8")) as life:
        await life.started()
        life.wire.stall()
        await life.wire.busy.wait()
        assert life.stream.state is State.ENDING
        life.stream.interrupt(reason)
        assert await life.over() is None
        assert (life.wire.ended, life.end) == (False, (State.UNSEEN, Reason.COMPLETED))
        assert life.log[-1] == "cancelling 0"


@instantly
async def test_a_limit_that_passes_while_it_settles_still_frees_a_client_that_does_not_read_the_end() -> None:
    unit = Settling([])
    async with living(steps("async", "a"), unit, lifetime=10.0, stall_timeout=None, min_rate=None) as life:
        await asyncio.sleep(20)
        life.wire.stall()
        unit.gate.set()
        assert await life.over() is None
        assert life.end == (State.UNSEEN, Reason.COMPLETED)


# Clients that leave


@instantly
async def test_a_client_that_leaves_ends_it_where_it_stands() -> None:
    log: list[str] = []
    async with living(waits(log, "a")) as life:
        await life.started()
        life.wire.leave()
        raised = await life.over()
        assert isinstance(raised, HTTPError)
        assert raised.status == 499
        assert (life.end, log, life.stream.client_gone) == (
            (State.ABANDONED, Reason.CLIENT_GONE),
            ["closed"],
            True,
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_is_allowed_to_leave_leaves_its_producer_to_its_end(kind: str) -> None:
    gate = threading.Event()

    def wait() -> None:
        assert gate.wait(PATIENCE)

    late = (
        steps("sync", "a", wait, "b")
        if kind == "sync"
        else steps("async", "a", lambda: asyncio.to_thread(wait), "b")
    )
    async with living(late, Unit("u", []), on_disconnect="detach") as life:
        await life.started()
        life.wire.leave()
        assert life.stream.state is State.UNWATCHED
        gate.set()
        assert await life.over() is None
        assert "u.commit" in life.log
        assert (life.wire.body, life.wire.ended) == (b"a", False)
        assert life.end == (State.UNSEEN, Reason.COMPLETED)


@instantly
async def test_a_client_that_is_gone_before_the_head_is_sent_nothing_at_all() -> None:
    late = steps("async", lambda: asyncio.sleep(60), "a")
    encoder = Ndjson(action="", charset="utf-8")
    async with living(late, encoder=encoder, on_disconnect="detach", first_item_timeout=5.0) as life:
        await asyncio.sleep(1)
        life.wire.leave()
        assert await life.over() is None
        assert (life.wire.head, life.wire.body) == (None, b"")


@pytest.mark.parametrize(("seconds", "end"), [(5, State.UNSEEN), (15, State.ABANDONED)])
@instantly
async def test_a_client_may_leave_its_producer_so_many_seconds(seconds: int, end: State) -> None:
    late = steps("async", "a", lambda: asyncio.sleep(seconds), "b")
    async with living(late, on_disconnect="grace(10)") as life:
        await life.started()
        life.wire.leave()
        await life.over()
        assert life.stream.state is end
        assert (life.stream.reason is Reason.CLIENT_GONE) == (end is State.ABANDONED)


# Cancellations that are somebody else's


@instantly
async def test_a_cancellation_from_outside_goes_up_and_stays_counted() -> None:
    log: list[str] = []
    async with living(waits(log, "a")) as life:
        await life.started()
        assert life.task is not None
        life.task.cancel()
        await life.over()
        assert life.task.cancelled()
        assert (log, life.log) == (["closed"], ["cancelling 1"])


@instantly
async def test_a_cancellation_from_outside_is_not_lost_among_ours() -> None:
    async def producer() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async with living(producer()) as life:
        await life.started()
        life.stream.interrupt(Reason.STOPPED)
        await asyncio.sleep(1)
        assert life.task is not None
        life.task.cancel()
        await life.over()
        assert life.task.cancelled()
        assert life.log == ["cancelling 1"]


@instantly
async def test_a_time_limit_around_it_is_a_time_limit() -> None:
    log: list[str] = []

    def limited(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        @wraps(test)
        async def run() -> None:
            async with asyncio.timeout(5):
                await test()

        return run

    source = source_of(waits(log, "a"))
    assert source is not None
    scope = await begun(Stream())

    @limited
    async def deliver() -> None:
        await Delivery(Body(source, raw(), raw_head), scope, Wire(), terms_of(Settings())).run()

    with pytest.raises(TimeoutError):
        await deliver()
    assert log == ["closed"]
    await scope.close()


@instantly
async def test_a_task_that_was_cancelled_before_may_still_be_interrupted() -> None:
    """A middleware may have swallowed a cancellation without taking it back."""
    log: list[str] = []
    source = source_of(waits(log, "a"))
    assert source is not None
    stream = Stream()
    scope = await begun(stream)

    async def run() -> None:
        ours = asyncio.current_task()
        assert ours is not None
        ours.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(1, stream.interrupt, Reason.STOPPED)
        with pytest.raises(HTTPError):
            await Delivery(Body(source, raw(), raw_head), scope, Wire(), terms_of(Settings())).run()

    await asyncio.create_task(run())
    assert log == ["closed"]
    await scope.close()


@instantly
async def test_a_cancelled_task_the_producer_awaits_is_no_cancellation_of_ours() -> None:
    async def producer() -> AsyncIterator[str]:
        yield "a"
        other = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        other.cancel()
        await other

    async with living(producer()) as life:
        await life.over()
        assert life.log == ["cancelling 0"]
        assert not life.stream.interrupted


# Last words


@pytest.mark.parametrize(
    ("script", "expected"),
    [(["a"], b'{"error":{"status":500}}\n'), ([], b'{"error":{"status":500}}\n')],
)
@instantly
async def test_the_last_words_of_a_failed_body_are_what_failed(script: list[str], expected: bytes) -> None:
    failing = steps("async", *script, ValueError("no such table"))
    async with living(failing, encoder=Ndjson(action="", charset="utf-8")) as life:
        await life.over()
        assert life.delivery is not None
        assert life.delivery.last_words({"status": 500}) == expected


@instantly
async def test_the_last_words_of_a_body_we_end_are_why() -> None:
    async with living(waits(None, "a"), encoder=Ndjson(action="", charset="utf-8")) as life:
        await life.started()
        life.stream.interrupt(Reason.SHUTDOWN)
        await life.over()
        assert life.delivery is not None
        assert life.delivery.last_words({"status": 503}) == b'{"goodbye":{"reason":"shutdown"}}\n'


@pytest.mark.parametrize("kind", KINDS)
async def test_the_last_words_of_a_body_that_could_not_be_written_are_what_failed(kind: str) -> None:
    encoder = Ndjson(action="", charset="utf-8")
    async with living(steps(kind, "a", "b"), encoder=encoder) as life:
        life.wire.error = OSError("connection reset")
        await life.over()
        assert life.delivery is not None
        assert b"error" in life.delivery.last_words({"status": 500})


@instantly
async def test_the_last_words_pass_the_transforms() -> None:
    failing = steps("async", "a", ValueError())
    encoder = Ndjson(action="", charset="utf-8")
    async with living(failing, encoder=encoder, transforms=[marking()]) as life:
        await life.over()
        assert life.delivery is not None
        assert life.delivery.last_words({}) == b'<{"error":{}}\n>'


async def test_a_stream_on_a_thread_that_is_over_in_no_time_leaves_nothing() -> None:
    for _ in range(30):
        async with living(steps("sync", "a")) as life:
            assert await life.over() is None
