"""A thousand random interleavings: whatever clients, producers and the process do, a stream ends once.

Hypothesis chooses what happens next: a client starts, reads, or leaves; a producer yields, fails, finishes,
checkpoints or sleeps; somebody stops a stream; the process drains. A client that does not read is one that
stalls. Nothing waits for the consequences of what was done unless a step says so, so all of it races. In the
end every stream must have kept the invariants.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, precondition, rule

from millstream import Millstream, Reason, Settings, TGController, expose, request, stream
from millstream.protocol.events import Statistics
from millstream.protocol.lifecycle import FINAL, State
from millstream.protocol.ports import Join
from millstream.testing import BodyTruncated, Client, StreamReply
from millstream.web.proxies import stream_var

PATIENCE: Final = 10.0
BIG: Final = "x" * 40_000
KINDS: Final = ("sync", "aio")
POLICIES: Final = ("cancel", "detach")
STEPS: Final = ("yield", "yield much", "commit", "sleep", "stop", "fail", "finish")


class Work:
    """A unit of work that writes down what it is asked to do."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def prepare(self) -> None:
        self._done.append("prepare")

    def commit(self) -> None:
        self._done.append("commit")

    def abort(self) -> None:
        self._done.append("abort")

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self._done.append("close")


class Books:
    """The participant whose units of work these are."""

    def begin(self, join: Join) -> None:
        _JOIN.set(join)


class Play:
    """One stream of one interleaving: what its producer is told, and what came of it."""

    def __init__(self, kind: str, policy: str) -> None:
        self.kind = kind
        self.policy = policy
        self.told: SimpleQueue[str] = SimpleQueue()
        self.told_aio: asyncio.Queue[str] = asyncio.Queue()
        self.steps = 0
        self.handle: Any = None
        self.began_at: list[object] = []
        self.closed_at: list[object] = []
        self.settled: list[str] = []
        self.ends: list[tuple[Reason, Statistics]] = []
        self.reply: StreamReply | None = None
        self.left = False
        self.complete = False
        self.opening: asyncio.Task[None] | None = None
        self.stack = AsyncExitStack()

    def tell(self, step: str) -> None:
        self.steps += 1
        self.told.put(step)
        self.told_aio.put_nowait(step)

    def begin(self, place: object) -> None:
        self.handle = stream_var.get(None)
        self.began_at.append(place)
        _JOIN.get()(Work(self.settled))
        stream.on_end(lambda reason, statistics: self.ends.append((reason, statistics)))

    def check(self) -> None:
        """The invariants, once everything is over."""
        if not self.began_at:  # refused, or given up before its first step
            assert not self.ends
            assert not self.settled
            return
        assert self.closed_at == self.began_at, "closed once, in the thread or the task that ran it"
        assert len(self.ends) == 1, "one end, one on_end"
        reason, statistics = self.ends[0]
        assert statistics.reason is reason
        assert statistics.state in FINAL
        committed = statistics.state in {State.DELIVERED, State.UNSEEN}
        assert (reason is Reason.COMPLETED) == committed
        counts = Counter(self.settled)
        assert counts["close"] == 1
        assert self.settled[-1] == "close"
        assert self.settled[-2] == ("commit" if committed else "abort"), "one settlement, the last word"
        assert not self.complete or reason is Reason.COMPLETED, "a body that ended is one that committed"


class Root(TGController):
    @expose("ndjson")
    def sync_cancel(self) -> Iterator[Any]:
        yield from _produce(_PLAYS[request.headers["x-play"]])

    @expose("ndjson", on_disconnect="detach")
    def sync_detach(self) -> Iterator[Any]:
        yield from _produce(_PLAYS[request.headers["x-play"]])

    @expose("ndjson")
    async def aio_cancel(self) -> AsyncIterator[Any]:
        play = _PLAYS[request.headers["x-play"]]
        play.begin(asyncio.current_task())
        try:
            while (step := await play.told_aio.get()) != "finish":
                match step:
                    case "yield":
                        yield step
                    case "yield much":
                        yield BIG
                    case "commit":
                        await stream.commit()
                    case "sleep":
                        await stream.sleep(60 if play.left and play.policy == "cancel" else 0)
                    case "stop":
                        stream.stop()
                    case _:
                        raise ArithmeticError(step)
        finally:
            play.closed_at.append(asyncio.current_task())

    @expose("ndjson", on_disconnect="detach")
    def aio_detach(self) -> AsyncIterator[Any]:
        return Root.aio_cancel(self)


def _produce(play: Play) -> Iterator[Any]:
    play.begin(threading.current_thread())
    try:
        while (step := play.told.get(timeout=PATIENCE)) != "finish":
            match step:
                case "yield":
                    yield step
                case "yield much":
                    yield BIG
                case "commit":
                    stream.commit()
                case "sleep":
                    stream.sleep(60 if play.left and play.policy == "cancel" else 0)
                case "stop":
                    stream.stop()
                case _:
                    raise ArithmeticError(step)
    finally:
        play.closed_at.append(threading.current_thread())


class Interleavings(RuleBasedStateMachine):
    plays = Bundle("plays")

    def __init__(self) -> None:
        super().__init__()
        self._others = set(threading.enumerate())  # threads of the tests before
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._complaints: list[str] = []
        self._loop.set_exception_handler(lambda _, context: self._complaints.append(str(context)))
        self._app = Millstream(
            Root(),
            Settings(drain_timeout=0.02, close_timeout=PATIENCE, high_water=65536),
            participants=[Books()],
        )
        self._all: list[Play] = []
        self._stack = AsyncExitStack()
        self._shut: asyncio.Task[None] | None = None
        self._client = Client(self._app, timeout=PATIENCE, raise_app_errors=False)
        self._run(self._open())

    # What may happen

    @rule(target=plays, kind=st.sampled_from(KINDS), policy=st.sampled_from(POLICIES))
    def start(self, kind: str, policy: str) -> Play:
        play = Play(kind, policy)
        self._all.append(play)
        _PLAYS[str(id(play))] = play
        self._run(self._start(play))
        return play

    @rule(play=plays, step=st.sampled_from(STEPS))
    def step(self, play: Play, step: str) -> None:
        play.tell(step)

    @rule(play=plays)
    def read(self, play: Play) -> None:
        if play.reply is not None and not play.left and (play.reply.unread or play.reply.ended):
            self._run(self._read(play, play.reply))

    @rule(play=plays)
    def leave(self, play: Play) -> None:
        play.left = True
        if play.reply is not None:
            self._run(play.reply.disconnect())

    @rule(play=plays, reason=st.sampled_from([Reason.STOPPED, Reason.REVOKED, Reason.TIMED_OUT]))
    def stop(self, play: Play, reason: Reason) -> None:
        if play.handle is not None:
            self._run(self._call(lambda: play.handle.stop(reason)))

    @rule(turns=st.integers(1, 20))
    def turn(self, turns: int) -> None:
        self._run(self._turn(turns))

    @rule(play=plays)
    def wait_taken(self, play: Play) -> None:
        """Until the producer has taken what it was told, or has ended: a thread needs its time."""
        queue = play.told if play.kind == "sync" else play.told_aio
        self._run(self._until(lambda: queue.empty() or bool(play.closed_at) or self._held(play)))

    @precondition(lambda self: self._shut is None)
    @rule()
    def shut_down(self) -> None:
        self._run(self._shut_down())

    # In the end

    def teardown(self) -> None:
        try:
            self._run(self._end())
            for play in self._all:
                play.check()
            assert not self._complaints
        finally:
            for play in self._all:
                del _PLAYS[str(id(play))]
            self._runner.close()

    def _run(self, act: Any) -> Any:
        return self._loop.run_until_complete(act)

    async def _open(self) -> None:
        await self._stack.enter_async_context(self._client)

    async def _start(self, play: Play) -> None:
        path = f"/{play.kind}_{play.policy}"
        opened = self._client.stream("GET", path, headers=[("x-play", str(id(play)))], await_head=False)
        play.reply = await play.stack.enter_async_context(opened)

    async def _read(self, play: Play, reply: StreamReply) -> None:
        try:
            await reply.wait_head()
            play.complete = await reply.next_chunk() is None and reply.status == OK
        except BodyTruncated:
            play.complete = False

    async def _call(self, function: Callable[[], Any]) -> Any:
        return function()

    async def _turn(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _until(self, come: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not come():
                await asyncio.sleep(0.0005)  # nothing tells what a thread has taken

    def _held(self, play: Play) -> bool:
        """Whether it may be held up by a client that does not read, or was never begun."""
        return not play.began_at or bool(play.reply and play.reply.unread)

    async def _shut_down(self) -> None:
        self._shut = asyncio.create_task(self._client.shutdown(PATIENCE))
        await asyncio.sleep(0)

    async def _end(self) -> None:
        for play in self._all:
            play.tell("finish")
        for play in self._all:
            if play.reply is not None and not play.left:
                await self._read_all(play, play.reply)
            await play.stack.aclose()
            await self._until(lambda play=play: len(play.ends) == len(play.began_at))  # type: ignore[misc]
        if self._shut is not None:
            await self._shut
        await self._stack.aclose()
        await self._until(lambda: not asyncio.all_tasks() - {asyncio.current_task()})
        await self._until(lambda: not any(t.name.startswith("millstream ") for t in self._threads()))
        assert not self._app.ledger.live

    def _threads(self) -> set[threading.Thread]:
        return set(threading.enumerate()) - self._others

    async def _read_all(self, play: Play, reply: StreamReply) -> None:
        try:
            await reply.wait_head()
            await reply.rest()
            play.complete = reply.status == OK
        except BodyTruncated:
            play.complete = False


OK: Final = 200
_JOIN: ContextVar[Join] = ContextVar("join")
_PLAYS: dict[str, Play] = {}

Interleavings.TestCase.settings = settings(
    max_examples=1000,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestInterleavings = Interleavings.TestCase
