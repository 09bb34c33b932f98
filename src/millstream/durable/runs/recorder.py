"""The recorder: what one run produces, appended to its stream under its lease.

Producing does not wait for a commit: what comes while one is under way leaves together with the next, and a
run commits some twenty times a second however it yields. Only when too much is not acknowledged the producer
waits. An append whose outcome is unknown is repeated under the same claim, which the log counts once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, unique
from typing import Final

from millstream.durable.appending import Append
from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.offsets import At
from millstream.durable.refusals import LogRefused
from millstream.durable.runs.again import Again
from millstream.durable.runs.marks import Marks
from millstream.durable.runs.names import run_in
from millstream.durable.state import State

BATCH: Final = 256 * 1024
"""Bytes that leave together, unless one piece is longer; so many waiting leave at once."""

AHEAD: Final = 1024 * 1024
"""Bytes that may be produced and not acknowledged."""

LINGER: Final = 0.05
"""Seconds between the beginnings of two appends, for a producer that has little to say but often."""

RETRY: Final = 0.2
"""Seconds until an append is repeated that the database did not answer."""


@unique
class End(Enum):
    """What the last append leaves behind."""

    COMPLETE = "complete"
    FAILED = "failed"
    OPEN = "open"  # for another producer


class Recorder:
    """One producer's pen.

    Args:
        log: an open log.
        lease: under which is appended.
        marked: whether it is an event stream, whose events are given ids.
        keep: bytes that are kept; all, if None.
        on_fenced: called once, when nothing of this producer is taken any more.
    """

    def __init__(
        self, log: Log, lease: Lease, *, marked: bool, keep: int | None, on_fenced: Callable[[], object]
    ) -> None:
        self._log = log
        self._lease = lease
        self._again = Again(log, lease.state)
        self._marks = Marks(run_in(lease.name), lease.offset_at) if marked else None
        self._keep = keep
        self._on_fenced = on_fenced
        self._ends: deque[int] = deque()  # of appends: places at which may be trimmed
        self._waiting: deque[bytes] = deque()
        self._ahead = 0  # bytes that are not acknowledged
        self._seq = 0
        self._begun_at = 0.0  # the last append
        self._end: End | None = None  # None: there is more to come
        self._broken: Exception | None = None
        self._news, self._hurry, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._append_all(), name=f"recorder of {lease.name}")

    async def write(self, data: bytes) -> None:
        """Take in what was produced; waits while too much is on its way.

        Raises:
            LogRefused: when the lease is lost.
            ControllerError: when it is not what an earlier producer has recorded.
            Exception: whatever the database raised for too long.
        """
        if self._marks is not None:
            data = self._marks.marked(data)
        if self._again.is_behind:
            data = await self._again.beyond(data)
        self._put(data)
        while self._ahead >= AHEAD and self._broken is None:
            self._room.clear()
            await self._room.wait()
        self._require_whole()

    async def complete(self, data: bytes) -> None:
        """Append the last of it and close the stream, in one commit; returns when that is done.

        Raises:
            Exception: as `write`.
        """
        await self.write(data)
        rest = b"" if self._marks is None else self._marks.rest()
        self._put(await self._again.beyond(rest))
        self._again.require_over()
        await self._finish(End.COMPLETE)

    async def fail(self, words: bytes) -> None:
        """Close the stream as that of a run that failed, after its last words.

        Raises:
            Exception: as `write`.
        """
        self._put(words)  # and not what an event of it has begun with: nobody takes that for one
        await self._finish(End.FAILED)

    async def leave(self) -> None:
        """Append what waits, and leave the stream open for another producer.

        Raises:
            Exception: as `write`.
        """
        await self._finish(End.OPEN)

    def abandon(self) -> None:
        """Forget what waits."""
        self._task.cancel()

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._waiting.append(data)
        self._ahead += len(data)
        self._news.set()
        if self._ahead >= BATCH:
            self._hurry.set()

    def _require_whole(self) -> None:
        if self._broken is not None:
            raise self._broken

    async def _finish(self, end: End) -> None:
        self._end = self._end or end  # what is complete is committed, and stays so
        self._hurry.set()
        self._news.set()
        await asyncio.wait((self._task,))  # whoever waits may be cancelled, the last append may not
        self._require_whole()

    # Appending

    async def _append_all(self) -> None:
        try:
            over = False
            while not over:
                await self._news.wait()
                await self._linger()
                self._news.clear()
                over = await self._append_some()
        except Exception as broken:  # noqa: BLE001  it is raised to whoever produces
            self._broken = broken
            self._room.set()
            if isinstance(broken, LogRefused):  # else the next item will say so
                self._on_fenced()

    async def _linger(self) -> None:
        """Let a producer that speaks often say some more."""
        left = self._begun_at + LINGER - asyncio.get_running_loop().time()
        if left > 0 and not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()

    async def _append_some(self) -> bool:
        """Append what waits, or some of it; whether that was the last."""
        data = self._taken()
        end = None if self._waiting else self._end
        closes = end in _CLOSING
        if not data and not closes:
            return end is not None
        request = Append(
            records=[data[place : place + BATCH] for place in range(0, len(data), BATCH)],
            producer=self._lease.claim(self._seq),
            close=closes,
            failed=end is End.FAILED,
        )
        self._begun_at = asyncio.get_running_loop().time()
        state = await self._appended(request)
        self._seq += 1
        self._ahead -= len(data)
        self._room.set()
        if self._ahead < BATCH and self._end is None:
            self._hurry.clear()
        if self._keep is not None:
            await self._trim(state, self._keep)
        return end is not None

    def _taken(self) -> bytes:
        """Some of what waits; what is left is news."""
        pieces: list[bytes] = []
        size = 0
        while self._waiting and (not pieces or size + len(self._waiting[0]) <= BATCH):
            pieces.append(self._waiting.popleft())
            size += len(pieces[-1])
        if self._waiting:
            self._news.set()
        return b"".join(pieces)

    async def _appended(self, request: Append) -> State:
        """The state after an append; tried as long as the lease may still be ours."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._lease.tenure.seconds
        while True:
            try:
                return (await self._log.append(self._lease.name, request)).state
            except LogRefused:
                raise
            except Exception as failed:
                if clock() >= deadline:
                    raise
                self._log.outage.note(failed)
                await asyncio.sleep(RETRY)

    async def _trim(self, state: State, keep: int) -> None:
        """Forget what is too much, in steps of an eighth, and never in the middle of what left together."""
        ends, place = self._ends, state.start
        ends.append(state.tail)
        if state.tail - state.start <= keep + keep // 8:
            return
        while ends and ends[0] <= state.tail - keep:
            place = ends.popleft()
        if place > state.start:
            await self._log.trim(state.name, At(place, state.incarnation))


_CLOSING: Final = frozenset({End.COMPLETE, End.FAILED})
