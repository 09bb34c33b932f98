"""Pins: which sessions hold a connection, and for how long; the long ones are told of, once."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from millstream.database.lease import Lease
from millstream.database.statements import Effect

_LOG: Final = logging.getLogger("millstream")


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """One session that holds a pooled connection."""

    route: str  # the action, as `RootController.orders`
    stream_id: str
    seconds: float  # since it took the connection
    wrote: bool  # whether it has something to commit, as far as its statements tell


class Pins:
    """The sessions of all open requests; looked at from time to time, so that taking a lease stays free."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._leases: dict[int, Lease] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # where the next look is planned

    @property
    def reports(self) -> tuple[LeaseReport, ...]:
        """Who holds a connection at this moment, the longest first."""
        found = (_report(lease) for lease in tuple(self._leases.values()))
        return tuple(sorted(filter(None, found), key=lambda report: -report.seconds))

    def enter(self, lease: Lease, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """A session was made; from any thread. It is looked after from the loop, if one is given."""
        self._leases[id(lease)] = lease
        if loop is not None and self._loop is not loop:
            self._loop = loop
            loop.call_soon_threadsafe(self._plan, loop)

    def leave(self, lease: Lease) -> None:
        """It was closed; from any thread."""
        self._leases.pop(id(lease), None)

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._limit / 2, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = None
        for lease in tuple(self._leases.values()):
            report = _report(lease)
            if report is not None and report.seconds >= self._limit and not lease.warned:
                lease.warned = True
                _LOG.warning(
                    "%s has kept a database connection for %.1f s: %s",
                    report.route,
                    report.seconds,
                    _WRITES if report.wrote else _READS,
                )
        if self._leases:
            self._loop = loop
            self._plan(loop)


def _report(lease: Lease) -> LeaseReport | None:
    since, handle = lease.since, lease.handle
    if since is None or handle is None:
        return None
    told = handle.statistics
    return LeaseReport(told.route, told.id, time.monotonic() - since, lease.effect is Effect.WRITES)


_WRITES: Final = "it has written and not committed; a long job commits on its way, with stream.commit()"
_READS: Final = "it is in a step that takes long, or reads a result slowly; stream.sleep() waits without it"
