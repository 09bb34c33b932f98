"""The driver of asynchronous sources: steps a generator by hand, in its own task.

`__anext__().send(None)` says more than `await` does: an item that comes back at once joins what waits in
the outbox, and only a suspension tells that the producer has nothing more for now, so everything leaves
before it. The awaitable that suspended is then simply gone on with.

All steps and the close happen in one task and one context: task groups, time-outs and context-variable
tokens of the author's live across a `yield`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

from millstream.engine.batches import TakeApart
from millstream.engine.buffer import Outbox
from millstream.engine.holding import Holding
from millstream.engine.pace import BREATH
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource, SyncSource
from millstream.engine.stepping import go_on
from millstream.protocol.ports import Flush, ManyRows

SLICE: Final = 0.001
"""Seconds a producer that never suspends may keep the loop before others get their turn."""

PROMPT: Final = 0.0002
"""Seconds; an item that took longer is followed by another slow one, likely: it does not wait for it."""


class AsyncDrive:
    """Pulls one asynchronous source into an outbox until it is exhausted, broken or interrupted."""

    __slots__ = ("_encode", "_flush", "_freeze", "_holding", "_outbox", "_scope", "_source", "_take_apart")

    def __init__(
        self,
        source: AsyncSource,
        encode: Callable[[Any], bytes],
        outbox: Outbox,
        scope: Scope,
        flush: Flush,
        *,
        freeze: Callable[[], None],
        take_apart: TakeApart,
        holding: Holding | None = None,
    ) -> None:
        self._source = source
        self._encode = encode
        self._outbox = outbox
        self._scope = scope
        self._flush = flush
        self._freeze = freeze
        self._take_apart = take_apart
        self._holding = holding

    async def run(self) -> None:  # noqa: C901  one coroutine, as said below
        """Pull everything, and close the source on every way out."""
        try:  # in one coroutine with all the rest: every frame is there as often as there are streams
            outbox, put, encode = self._outbox, self._outbox.put, self._encode
            stream, units, high_water = self._scope.stream, self._scope.units, self._outbox.high_water
            step, clock = self._source.generator.__anext__, stream.loop.time
            turn, before, flush = clock(), -math.inf, self._flush_first  # the first item leaves at once
            while not stream.interrupted:
                pending = step()
                try:
                    try:
                        suspended_on = pending.send(None)
                    except StopIteration as produced:
                        item = produced.value
                    else:
                        if outbox or self._holding is not None:
                            await self._flush_before(pending, suspended_on)
                        item = await go_on(pending, suspended_on)
                        turn = clock()
                except StopAsyncIteration:
                    return
                if stream.interrupted:  # by its own producer: what it yields from then on is unwanted
                    return
                try:
                    chunk = encode(item)
                except (
                    ManyRows
                ) as many:  # and no more in here: generators that run in a handler keep its error
                    chunk, apart = None, self._take_apart(many)
                if chunk is None:
                    item = None  # it may hold what its rows are read from
                    await self._pull_rows(*apart)
                    flush, turn, before = self._flush, clock(), -math.inf
                    continue
                put(chunk)
                outbox.produced += len(chunk)
                if units:
                    await self._scope.rest()
                now = clock()
                if now - before > PROMPT or outbox.ahead >= high_water:
                    await flush()
                    flush = self._flush
                if now - turn > SLICE:
                    await self._give_way()
                    turn = now = clock()
                before = now
        finally:
            await self._source.close()

    async def _pull_rows(self, source: SyncSource, encode: Callable[[Any], bytes]) -> None:
        """Pull the rows of an item on the request's thread: they may have to be read from somewhere."""
        call, outbox = self._scope.call, self._outbox
        try:
            while not self._scope.stream.interrupted:
                inner = None
                try:
                    chunk = await call(_encoded_next, source.iterator, encode)
                except ManyRows as many:
                    inner = self._take_apart(many)
                if inner is not None:
                    await self._pull_rows(*inner)
                    continue
                if chunk is None:
                    return
                outbox.put(chunk)
                outbox.produced += len(chunk)
                await self._flush_first()
        finally:
            await call(source.close)

    async def _flush_first(self) -> None:
        self._freeze()
        await self._flush()

    async def _give_way(self) -> None:
        await self._flush()
        time.sleep(BREATH)  # noqa: ASYNC251  it is other threads that get their turn here
        await asyncio.sleep(0)

    async def _flush_before(self, pending: Any, suspended_on: Any) -> None:
        """Send what waits while the producer's step is suspended, and never drop the step.

        A step that is given up is told so by a cancellation, as in any wait of its own, and so is whatever
        it waits for; otherwise its generator would stay running for ever, with nobody left to close it.
        """
        try:
            if self._holding is not None:
                self._holding.let_go()
            await self._flush()
        except BaseException:
            task = cast("asyncio.Task[Any]", asyncio.current_task())  # a coroutine runs in a task
            task.cancel()
            try:
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await go_on(pending, suspended_on)
            finally:
                task.uncancel()
            raise

    def room(self) -> None:
        """Nothing to do: this driver waits in its own flush."""


def _encoded_next(rows: Iterator[Any], encode: Callable[[Any], bytes]) -> bytes | None:
    """The next chunk of some rows; None when there are no more."""
    for row in rows:
        return encode(row)
    return None
