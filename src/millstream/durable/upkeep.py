"""The upkeep of a log: what has expired is swept, and runs whose producer died are ended.

Every process does it; the log decides who was first. A producer is dead when its beat stood still for as
long as its lease lasts, watched on this process' own monotonic clock: no jump of a wall clock kills a run,
and none keeps a dead one alive. Whoever has just been started has to watch for a whole lease first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from millstream.durable.log import Log
from millstream.durable.refusals import LeaseLost, LogRefused
from millstream.durable.state import State, Tenure

EVERY: Final = 5.0
"""Seconds between two rounds."""

OnDead = Callable[[State], Awaitable[object]]
"""What to do about a run whose producer is dead; may take it over. LeaseLost: it was not dead."""

_logger: Final = logging.getLogger("millstream.durable")


@dataclass(frozen=True, slots=True)
class _Sighting:
    incarnation: str
    tenure: Tenure
    since: float


class Upkeep:
    """Rounds over a log, as long as it is entered.

    Args:
        log: an open log.
        every: seconds between two rounds.
        on_dead: what happens to a run whose producer is dead; it is closed as failed, unless given.
        monotonic: a clock that never jumps.
    """

    def __init__(
        self,
        log: Log,
        *,
        every: float = EVERY,
        on_dead: OnDead | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._every = every
        self._on_dead = on_dead or log.reap
        self._monotonic = monotonic
        self._sightings: dict[str, _Sighting] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._rounds(), name="upkeep of a durable log")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def go_round(self) -> None:
        """Look after everything once."""
        await self._log.sweep()
        leased = {state.name: state for state in await self._log.leased()}
        self._sightings = {name: self._sighted(state) for name, state in leased.items()}
        for name, seen in self._sightings.items():
            if self._monotonic() - seen.since >= seen.tenure.seconds:
                await self._bury(leased[name])

    def _sighted(self, state: State) -> _Sighting:
        """Since when the lease has stood as it stands now."""
        assert state.tenure is not None  # noqa: S101  that is what `leased` means
        last = self._sightings.get(state.name)
        if last is not None and (last.incarnation, last.tenure) == (state.incarnation, state.tenure):
            return last
        return _Sighting(state.incarnation, state.tenure, self._monotonic())

    async def _bury(self, state: State) -> None:
        try:
            await self._on_dead(state)
        except LeaseLost:
            return  # it gave a sign of life at last, or another process was faster
        except LogRefused as refusal:
            _logger.warning("the dead run %r could not be ended: %s", state.name, refusal)
            return
        _logger.warning("the producer of the stream %r died", state.name)

    async def _rounds(self) -> None:
        while True:
            try:
                await self.go_round()
                self._log.outage.look()
            except self._log.failures as failed:
                self._log.outage.note(failed)
            except Exception:
                _logger.exception("the upkeep of the durable log failed and goes on")
            await asyncio.sleep(self._every)
