"""The driver of synchronous sources: a pump on the stream's thread, a drain in its task, an outbox between.

The pump never hops: it produces, encodes and appends, and wakes the loop only when the drain went to sleep,
so that a hundred thousand small items cost a few wake-ups. When it is too far ahead it waits for its
bell, which the drain rings when there is room again, and an interruption rings at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any, Final

from millstream.engine.batches import TakeApart
from millstream.engine.buffer import Outbox
from millstream.engine.holding import MOMENT, Holding
from millstream.engine.inbox import inbox_of
from millstream.engine.pace import BREATH
from millstream.engine.scope import Scope
from millstream.engine.source import SyncSource
from millstream.engine.stepping import go_on
from millstream.engine.threads import Lane, ThreadResult
from millstream.engine.watchdog import authored_line
from millstream.errors import ThreadGivenUp
from millstream.protocol.ports import Flush, ManyRows

_LOG: Final = logging.getLogger("millstream")


class SyncDrive:
    """Pulls one synchronous source into an outbox until it is exhausted, broken or interrupted."""

    __slots__ = (
        "_begun",
        "_by_hand",
        "_drain_sleeps",
        "_encode",
        "_flush",
        "_freeze",
        "_holding",
        "_inbox",
        "_loop",
        "_outbox",
        "_patience",
        "_pump_sleeps",
        "_scope",
        "_source",
        "_stream",
        "_take_apart",
        "_waiter",
    )

    def __init__(
        self,
        source: SyncSource,
        encode: Callable[[Any], bytes],
        outbox: Outbox,
        scope: Scope,
        flush: Flush,
        *,
        freeze: Callable[[], None],
        take_apart: TakeApart,
        patience: float,
        holding: Holding | None = None,
        by_hand: bool = False,
    ) -> None:
        self._source = source
        self._encode = encode
        self._outbox = outbox
        self._scope = scope
        self._stream = scope.stream
        self._flush = flush
        self._freeze = freeze
        self._take_apart = take_apart
        self._patience = patience  # seconds until a producer that goes on after its end is named
        self._holding = holding
        self._loop = scope.stream.loop
        self._inbox = inbox_of(self._loop)
        self._by_hand = by_hand and holding is None
        self._begun: tuple[Coroutine[Any, Any, None], Any] | None = None  # a flush, and what it waits for
        self._waiter: asyncio.Future[None] | None = None
        self._drain_sleeps = False  # set by the drain, cleared by whoever wakes it
        self._pump_sleeps = False  # set by the pump, cleared by whoever rings

    async def run(self) -> None:
        """Pull everything; the source is closed on its thread before this ends, on every way out."""
        pump = self._scope.start(self._pump)
        pump.add_done_callback(self._finished)
        waits = False
        try:
            while True:
                await self._flush()
                if pump.done() and not self._outbox:
                    break
                waits = True
                await self._wait_for_items(pump)
                waits = False
        except BaseException:
            self._stop()
            await self._let_finish(pump)
            if self._begun is not None:  # a write is cut off here
                self._begun[0].close()
            elif waits:  # no write was cut off: what was yielded before the end is the client's
                await self._flush()
            raise
        await pump

    # On the loop

    async def _wait_for_items(self, pump: ThreadResult) -> None:
        self._waiter = self._loop.create_future()
        self._drain_sleeps = True
        if self._outbox or pump.done():  # it came between the flush and the flag: nobody will wake us
            self._drain_sleeps = False
            await asyncio.sleep(0)
        elif self._holding is None or not self._holding.holds:
            await self._waiter
            if self._begun is not None:
                await go_on(*self._begun)
                self._begun = None
        elif not (await asyncio.wait({self._waiter}, timeout=MOMENT))[0]:
            self._drain_sleeps = False
            self._holding.let_go()

    def _finished(self, _: Any) -> None:
        self._drain_sleeps = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake(self) -> None:
        """Items came: send them from here if that can be done at once, and wake the drain if not.

        To wake it costs more than to send: a turn of the loop, and all the frames between it and its task.
        """
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        failed = None
        try:
            if self._by_hand and self._flushed():
                return
        except BaseException as raised:  # noqa: BLE001  it belongs to the drain
            failed = raised
        if waiter.done():  # a write that found the client gone has cancelled the drain
            return
        if failed is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(failed)

    def _flushed(self) -> bool:
        """Whether all was sent at once, and the drain sleeps on; else it goes on with what was begun."""
        flush = self._flush()
        try:
            self._begun = flush, flush.send(None)
        except StopIteration:
            self._drain_sleeps = True
            if not self._outbox:
                return True
            self._drain_sleeps = False  # more came meanwhile
        return False

    def room(self) -> None:
        """The socket took something: let a waiting pump go on when half of its room is free."""
        if self._pump_sleeps and self._outbox.ahead <= self._outbox.high_water // 2:
            self._pump_sleeps = False
            self._scope.lane.bell.put(None)

    def _stop(self) -> None:
        self._stream.unwanted = True
        self._stream.unblock()
        self._scope.lane.bell.put(None)

    async def _let_finish(self, pump: ThreadResult) -> None:
        late = self._loop.call_later(self._patience, self._tell_late, self._scope.lane)
        try:
            await pump
        except ThreadGivenUp:  # which was logged
            return
        except asyncio.CancelledError:
            raise
        except BaseException:  # noqa: BLE001  it is logged, and the reason of the end stands already
            _LOG.exception("%s: the producer failed while it was closed", self._stream.route)
        finally:
            late.cancel()

    def _tell_late(self, lane: Lane) -> None:
        line = authored_line(lane.ident)
        _LOG.warning(
            "%s was ended %g s ago (%s), but its thread is still at work%s: ask stream.client_gone there, or "
            "give stream.on_interrupt what ends the wait, such as the kill of a process",
            self._stream.route,
            self._patience,
            self._stream.reason or "its task was cancelled",
            "" if line is None else f" at {line.filename}:{line.lineno} in {line.name}",
        )

    # On the stream's thread

    def _pump(self) -> None:
        stream = self._stream
        try:
            if not stream.unwanted:
                self._pull(self._source.iterator, self._encode, 0)  # the first item goes first
        except GeneratorExit:
            if not stream.unwanted:
                raise
        finally:
            stream.heard = stream.unwanted
            self._source.close()

    def _pull(self, items: Iterator[Any], encode: Callable[[Any], bytes], most: int) -> int:
        """Pull and encode while items are wanted; how many bytes may be ahead of the socket next."""
        outbox, put = self._outbox, self._outbox.put
        stream, units = self._stream, self._scope.units
        for item in items:
            if stream.unwanted:  # since the step began
                break
            try:
                chunk = encode(item)
            except ManyRows as many:  # and no more in here: generators that run in a handler keep its error
                chunk, apart = None, self._take_apart(many)
            if chunk is None:
                with closing(apart[0]):
                    most = self._pull(apart[0].iterator, apart[1], most)
                if stream.unwanted:
                    break
                continue
            put(chunk)
            outbox.produced += len(chunk)
            if self._drain_sleeps:
                self._drain_sleeps = False
                self._inbox.call(self._wake)
            if units:
                self._scope.rest_here()
            if outbox.produced - outbox.taken >= most:
                most = self._make_room(most)
            if stream.unwanted:
                break
        return most

    def _make_room(self, most: int) -> int:
        """Wait for the socket, after the first item for a moment at least; how much may be ahead next."""
        if not most:
            self._freeze()
            time.sleep(BREATH)
        self._wait_for_room()
        return self._outbox.high_water

    def _wait_for_room(self) -> None:
        outbox, lane, stream = self._outbox, self._scope.lane, self._stream
        while outbox.ahead >= outbox.high_water and not stream.unwanted:
            self._pump_sleeps = True
            if outbox.ahead >= outbox.high_water and not stream.unwanted:
                lane.wait(None)
