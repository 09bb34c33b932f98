"""A delivery: one response's way from its producer to the socket, through the table of its life.

The order is the promise: the first item before the head, every item as soon as it is there, the settlement
after the last item, the end of the body after the settlement. Drivers only pull; deadlines only look;
whatever ends a stream early goes through `Stream.interrupt`, which cancels the task wherever it waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from millstream.engine.batches import batches_of, taken_apart
from millstream.engine.buffer import Outbox
from millstream.engine.deadlines import Deadlines
from millstream.engine.drive_async import SLICE, AsyncDrive
from millstream.engine.drive_sync import SyncDrive
from millstream.engine.expand import expansion_of
from millstream.engine.holding import holding_of
from millstream.engine.pace import PACE
from millstream.engine.passing import DeclaredLength, declared_length, hooked, passing_for
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource, Source
from millstream.engine.terms import RATE_GRACE, Terms
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import COMMITTED, Event, State
from millstream.protocol.ports import ChunkTransform, Encoder, Head, ItemHook, Outlet, Transform

HEAD_WAIT: Final = 0.05
"""Seconds for which the head of a format that says "connected" waits for the first item, or a refusal."""

_LOG: Final = logging.getLogger("millstream")


def _nothing() -> None:
    """What is frozen where no author has a say."""


@dataclass(slots=True)
class Body:
    """What a streamed response is made of, decided before its first item is pulled."""

    source: Source
    encoder: Encoder
    make_head: Callable[[], Head]  # called once, when the head leaves: until then the author may change it
    transforms: Sequence[Transform] = ()
    item_hooks: Sequence[ItemHook] = field(default=())
    freeze: Callable[[], None] = (
        _nothing  # called after the first item: its author has no more say of the head
    )


class Delivery:
    """One streamed response; `run` is its life."""

    __slots__ = (
        "_batches",
        "_cancels",
        "_cancels_before",
        "_context",
        "_drive",
        "_encoder",
        "_expansion",
        "_head",
        "_length",
        "_loop",
        "_made_of",
        "_opening",
        "_outlet",
        "_passing",
        "_scope",
        "_side",
        "_stream",
        "_task",
        "_terms",
        "_timers",
        "head_sent",
        "opened_at",
        "outbox",
        "produced_at",
        "sending_since",
        "sent_by",
        "wrote_at",
    )

    def __init__(self, body: Body, scope: Scope, outlet: Outlet, terms: Terms) -> None:
        self._encoder = body.encoder
        self._made_of: Body | None = body  # until the head, which most of it is for, has left
        self._scope = scope
        self._stream = scope.stream
        self._outlet = outlet
        self._terms = terms
        self._loop = scope.stream.loop
        self._task = cast("asyncio.Task[Any]", asyncio.current_task(self._loop))  # a coroutine runs in a task
        self._context = copy_context()  # for what deadlines ask for
        self._timers: tuple[asyncio.TimerHandle, ...] = ()
        self._side: asyncio.Task[None] | None = None  # a write that a deadline asked for
        self._cancels = 0  # cancellations of the task that are ours, and have to be taken back
        self._cancels_before = self._task.cancelling()
        self._opening = b""
        self._passing: ChunkTransform | None = None
        self._length: DeclaredLength | None = None  # then it is what a body passes
        self._head: Head | None = None  # between being made and being sent
        self.outbox = Outbox(terms.high_water)
        self.head_sent = False
        self.sending_since = 0.0
        self.sent_by = -math.inf if terms.byte_time else math.inf
        self.opened_at = self.wrote_at = self.produced_at = self._loop.time()
        encode, source = hooked(body.encoder.item, body.item_hooks), body.source
        self._batches = None if body.item_hooks else batches_of(source, body.encoder)
        if self._batches is not None:
            encode, source = self._batches.encode, self._batches.source
        self._expansion = expansion_of(source, body.encoder, body.item_hooks, scope.call)
        if self._expansion is not None:
            encode, source = self._expansion.encode, self._expansion.source
        holding = holding_of(encode, body.encoder, self.outbox)
        if holding is not None:
            encode = holding.encode
        take_apart = partial(taken_apart, encoder=body.encoder, holding=holding)
        self._drive: AsyncDrive | SyncDrive
        if isinstance(source, AsyncSource):
            self._drive = AsyncDrive(
                source,
                encode,
                self.outbox,
                scope,
                self.flush,
                freeze=body.freeze,
                take_apart=take_apart,
                holding=holding,
            )
        else:
            self._drive = SyncDrive(
                source,
                encode,
                self.outbox,
                scope,
                self.flush,
                freeze=body.freeze,
                take_apart=take_apart,
                patience=terms.close_timeout,
                holding=holding,
                by_hand=outlet.is_plain,
            )

    async def run(self) -> None:
        """Deliver everything; when this returns, a body was ended well, or there was nobody to see it.

        Raises:
            HTTPError: the stream was ended early; its source is closed, `stream.reason` says why.
            Exception: whatever the source, the codec or a participant raised; the source is closed.
        """
        self._stream.on_interrupt = self._cancel
        self._outlet.watch(self._client_left)
        deadlines = Deadlines(self, self._terms, self._loop, keep_alive=bool(self._encoder.keep_alive))
        PACE.streams(+1)
        try:
            if self._encoder.head_first:
                self._call_later(min(HEAD_WAIT, self._terms.first_item_timeout), self.send_head_now)
            try:
                await self._drive.run()
            except Exception:
                if not self._stream.interrupted:
                    await self.flush()  # what was produced before it broke is the client's
                raise
            if self.outbox or self._side is not None:
                await self.flush()
            self._stream.require_uninterrupted()
            await self._settle_and_end()
        except asyncio.CancelledError:
            self._stream.on_interrupt = None
            if not self._cancels or self._task.cancelling() > self._cancels + self._cancels_before:
                raise  # not ours: a server or a middleware gives the request up
            self._stream.require_uninterrupted()
        finally:
            self._stream.on_interrupt = None
            for _ in range(self._cancels):
                self._task.uncancel()
            deadlines.cancel()
            for timer in self._timers:
                timer.cancel()
            if self._side is not None:
                self._side.cancel()
            self._outlet.unwatch()
            del self._drive  # which flushes into this: nothing of a stream is left to the collector
            PACE.streams(-1)

    def last_words(self, problem: Mapping[str, Any]) -> bytes:
        """What the format can say before the body is broken off."""
        if self._length is not None:  # they could be the bytes that a client takes for the end
            return b""
        encoder = self._encoder
        reason = self._stream.reason
        words = encoder.goodbye(reason) if reason and self._stream.interrupted else encoder.failed(problem)
        return self._passed(words)

    @property
    def failure_ends(self) -> bool:
        """Whether last words are the visible end of the body."""
        return self._encoder.failure_ends and self._length is None

    def rest(self) -> bytes:
        """What is left of a body that ends with them."""
        return b"" if self._passing is None else self._passing.end()

    # The stages

    async def _settle_and_end(self) -> None:
        # Before the commit: nothing of ours may fail after it.
        if self._made_of is not None:
            self._make_head(self._made_of)
        tail = self._tail()
        await self._scope.settled()
        if not self.head_sent:
            await self._send_head()
        last = self._passed(tail)
        if self._passing is not None:
            last += self._passing.end()
        if self._side is not None:
            await self._side_written()
        if self._stream.state is State.ENDING:
            await self._send(self._outlet.end(last), len(last))
        if self._stream.state is State.ENDING:
            self._stream.tell(Event.END_SENT)

    # Writing

    async def flush(self) -> None:
        """Send everything that waits; the first time, the head before it."""
        if self._side is not None:
            await self._side_written()
        if not self.outbox:
            return
        self.produced_at = turn = self._loop.time()
        try:
            if not self.head_sent:
                await self._send_head()
            while data := self.outbox.take():
                size = len(data)
                if (data := self._passed(data)) and not self._stream.client_gone:
                    await self._send(self._outlet.send_body(data), len(data))
                self._took(size)
                if self.produced_at - turn > SLICE:  # a producer may keep up with a server that never waits
                    await asyncio.sleep(0)
                    turn = self._loop.time()
        except BaseException:
            self.outbox.close()  # after a gap nothing more may follow
            raise

    async def _side_written(self) -> None:
        # A task that is done may not have said so yet: to await it would leave no turn in which it could.
        while self._side is not None and not self._side.done():
            await self._side

    def _make_head(self, body: Body) -> None:
        head = body.make_head()
        if head.describes_body:
            self._passing = passing_for(head, body.transforms)
            self._opening = self._encoder.head()
        if self._passing is None:
            self._passing = self._length = declared_length(head, self._stream.route)
        if self._length is not None:  # while the status can still be an honest one
            self._length.require_room(len(self._opening) + self.outbox.ahead)
        self._head = head
        self._made_of = None

    async def _send_head(self) -> None:
        stream = self._stream
        if self._made_of is not None:
            self._make_head(self._made_of)
        head = self._head
        assert head is not None  # noqa: S101  a head leaves once
        if self._length is not None and self._length.is_nothing and stream.state not in COMMITTED:
            return  # a client would take it for the end
        self._head = None
        self.head_sent = True
        if stream.state is State.WAITING:
            stream.tell(Event.HEAD_SENT)
        self.wrote_at = self._loop.time()
        stream.first_byte = (
            time.perf_counter() - stream.started
        )  # a loop's own clock may be as coarse as 1 ms
        if not stream.client_gone:
            await self._send(self._outlet.send_head(head), 0)

    def _tail(self) -> bytes:
        """What the format ends with.

        Raises:
            WrongLength: when the body is shorter or longer with it than its head declares.
        """
        if self._length is None:
            return self._encoder.tail()
        tail = self._encoder.tail() if self._length.is_of_body else b""
        self._length.require_met(len(self._opening) + len(tail))
        return tail

    def _passed(self, data: bytes) -> bytes:
        """What leaves for a piece: the first time, what the format begins with before it."""
        if self._opening:
            data, self._opening = self._opening + data, b""
        return data if self._passing is None else self._passing.chunk(data)

    def _took(self, size: int) -> None:
        """The server has a piece, of so many bytes as were produced."""
        outbox = self.outbox
        outbox.taken += size
        self.produced_at = self._loop.time()
        # What a producer yielded counts, not the pieces it came to.
        if self._expansion is not None:
            self._stream.items = self._expansion.items
        else:
            self._stream.items = outbox.items + (0 if self._batches is None else self._batches.more)
        self._drive.room()

    async def _send(self, sending: Awaitable[None], size: int) -> None:
        self.sending_since = now = self._loop.time()
        if self._terms.byte_time:  # credit for these bytes comes on top of what those before them have left
            begun = self.sent_by if self.sent_by > now else now + RATE_GRACE
            self.sent_by = begun + size * self._terms.byte_time
        try:
            await sending
        finally:
            self.sending_since = 0.0
        self.wrote_at = self._loop.time()
        self._stream.bytes += size

    # What deadlines ask for

    def look(self) -> None:
        """See `Timed`."""
        self._outlet.look()

    def send_head_now(self) -> None:
        """See `Timed`: the head leaves without its first item."""
        if not self.head_sent:
            self._aside(self._head_alone())

    def keep_alive_now(self) -> None:
        """See `Timed`: a sign of life, outside the producer."""
        self.wrote_at = self._loop.time()
        self._aside(self._write_keep_alive())

    def interrupt(self, reason: Reason) -> None:
        """See `Timed`."""
        self._stream.interrupt(reason)

    async def _write_keep_alive(self) -> None:
        if self._length is not None:  # a sign of life would count
            return
        if sign := self._passed(self._encoder.keep_alive):
            await self._send(self._outlet.send_body(sign), len(sign))

    async def _head_alone(self) -> None:
        await self._send_head()
        if (opening := self._passed(b"")) and not self._stream.client_gone:
            await self._send(self._outlet.send_body(opening), len(opening))

    def _aside(self, write: Coroutine[Any, Any, None]) -> None:
        """Write for a deadline while the driver waits for its producer; its next write waits for this."""
        if self._side is not None or self.sending_since or self._stream.client_gone:
            write.close()
            return
        self._side = self._loop.create_task(write, context=self._context)
        self._side.add_done_callback(self._side_done)

    def _side_done(self, side: asyncio.Task[None]) -> None:
        self._side = None
        if not side.cancelled() and (raised := side.exception()) is not None:
            _LOG.warning("%s: a write of its own failed: %r", self._stream.route, raised)

    # Ends that come from outside

    def _client_left(self) -> None:
        stream, terms = self._stream, self._terms
        stream.client_gone = True
        if terms.linger == 0 or not stream.may_detach(stream):
            stream.interrupt(Reason.CLIENT_GONE)
            return
        stream.tell(Event.CLIENT_DETACHED)
        if (most := min(terms.linger, terms.detached_lifetime)) < math.inf:
            reason = Reason.CLIENT_GONE if most == terms.linger else Reason.TIMED_OUT
            self._call_later(most, stream.interrupt, reason)

    def _cancel(self) -> None:
        """Wake the task wherever it waits; again after a while, for a cleanup that never ends."""
        if self._stream.on_interrupt is None:
            return
        if asyncio.current_task(self._loop) is self._task:
            self._loop.call_soon(self._cancel)
            return
        self._call_later(self._terms.close_timeout, self._cancel_once_more)
        self._cancel_once_more()

    def _call_later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        self._timers = (*self._timers, self._loop.call_later(seconds, function, *args))

    def _cancel_once_more(self) -> None:
        self._cancels += 1
        self._task.cancel()
