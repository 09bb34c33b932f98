"""Tending: what the holder of a lease does beside producing. It gives signs of life, and hears of a stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from millstream.durable.leasing import Lease
from millstream.durable.log import Log
from millstream.durable.refusals import LogRefused
from millstream.durable.runs.names import run_in
from millstream.durable.state import State

BEATS: Final = 6
"""Signs of life in the time of a lease: some of them may be late, or lost."""

PAUSE: Final = 0.25
"""Seconds between two looks at a stream that changes all the time, mostly by what is appended here."""

_logger: Final = logging.getLogger("millstream.durable")


class Tending:
    """One lease, from when it is given until its run has ended.

    Args:
        log: an open log.
        lease: what is held.
        on_stop: called once, when somebody asks the run to stop.
        on_lost: called once, when somebody else may produce by now: nothing more must be.
    """

    def __init__(
        self, log: Log, lease: Lease, on_stop: Callable[[], object], on_lost: Callable[[], object]
    ) -> None:
        self._log = log
        self._lease = lease
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._stopping = False
        self._task = asyncio.create_task(self._tend(), name=f"tending of {lease.name}")

    def end(self) -> None:
        """The run has ended."""
        self._task.cancel()

    async def _tend(self) -> None:
        seconds, clock = self._lease.tenure.seconds, asyncio.get_running_loop().time
        beaten = clock()
        while True:
            began = clock()
            try:
                state = await self._log.renew(self._lease)
                beaten = began
                await self._watch(state, began + seconds / BEATS)
            except LogRefused as refusal:  # LeaseLost, or the stream is gone with its lease
                _logger.warning("the run %s has to end: %s", run_in(self._lease.name), refusal)
                self._on_lost()
                return
            except Exception as failed:  # noqa: BLE001  whatever a database raises, it may be back soon
                self._log.outage.note(failed)
                if clock() - beaten >= seconds:
                    self._on_lost()
                    return
                await asyncio.sleep(seconds / BEATS)

    async def _watch(self, state: State, until: float) -> None:
        """Look out for a stop, until the next sign of life is due."""
        clock = asyncio.get_running_loop().time
        self._look(state)
        while (left := until - clock()) > 0:
            await asyncio.sleep(min(PAUSE, left))
            if self._stopping:
                continue
            state = await self._log.wait_until(state.name, partial(_differs, state), max(0, until - clock()))
            self._look(state)

    def _look(self, state: State) -> None:
        lost = state.incarnation != self._lease.state.incarnation
        if state.stopping and not self._stopping and not lost:
            self._stopping = True
            self._on_stop()


def _differs(before: State, now: State) -> bool:
    return now.stopping or now.tail != before.tail or now.incarnation != before.incarnation
