"""Runs: the durable log of one application in one process, and the tasks that produce into it.

Opened with the application, or by the first request that needs it where nobody tells of a start. Each process
looks after the whole log, too: what has expired is swept, and a run whose process died is ended or restarted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.types import Message, Receive, Send

from millstream.config import Settings
from millstream.dispatch.match import Match, Mount
from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.http.feeds import Feeds
from millstream.durable.log import Log
from millstream.durable.naming import OCTETS, Config
from millstream.durable.refusals import LeaseLost
from millstream.durable.runs.names import SECRET, run_in, stream_of, tag_in
from millstream.durable.runs.purging import purge
from millstream.durable.runs.remembered import forget, recall
from millstream.durable.runs.tending import BEATS
from millstream.durable.state import State
from millstream.durable.upkeep import Upkeep
from millstream.errors import ConfigurationError
from millstream.pipeline.plans import Owner, Planner
from millstream.pipeline.recording import Recording
from millstream.pipeline.restarting import request_again
from millstream.pipeline.resuming import PATH
from millstream.pipeline.told import Logbook, Told
from millstream.web.request import Request

RESTARTS: Final = 3
"""Times a run is taken over; what has ended so many processes is ended itself."""

_LOG: Final = logging.getLogger("millstream")


@dataclass(frozen=True, slots=True)
class Opened:
    """What there is while the log is open."""

    logbook: Logbook
    feeds: Feeds
    streams: DurableStreams  # the same streams for whoever speaks the protocol
    stack: AsyncExitStack

    @property
    def log(self) -> Log:
        """The log."""
        return self.logbook.log

    def mount(self, path: str) -> Mount:
        """Those streams, for what follows their place in a path."""
        return Mount(self.streams, PATH, f"/{path}")


class Runs:
    """The runs of one application.

    Args:
        url: of the log.
        settings: how long leases are, and how long runs are kept.
        planner: knows whose each run is.

    Attributes:
        failures: why the log cannot be had at the moment, or not be opened.
        outage: is told of each of those.
        answer: lets the hallway answer a request into a recording; set when there is a hallway.
        ends: whether the process is about to end; as above.

    Raises:
        ConfigurationError: when the URL means no log, or the log needs an extra that is not installed.
    """

    answer: Callable[[Recording], Awaitable[None]]
    ends: Callable[[], bool]

    def __init__(self, url: str, settings: Settings, planner: Planner) -> None:
        self._log = open_log(url)  # a wrong one is found at once
        self.failures: tuple[type[Exception], ...] = (ConfigurationError, *self._log.failures)
        self.outage = self._log.outage
        self._settings = settings
        self._planner = planner
        self._opened: Opened | None = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # Opening and closing

    async def open(self) -> Opened:
        """Open the log; what a further call returns is the same.

        Raises:
            ConfigurationError: when its database cannot be used.
        """
        async with self._opening:
            if self._opened is None:
                self._opened = await self._open()
            return self._opened

    async def close(self) -> None:
        """Wait for the last appends of the runs, which have been told, and close the log."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.close_timeout)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await opened.stack.aclose()

    def stop_followers(self) -> None:
        """The process is about to end: who follows by the streams' own protocol is told."""
        if self._opened is not None:
            self._opened.streams.stop_followers()

    def stop_bodies(self) -> None:
        """The drain is over: whoever still sends a body there is told."""
        if self._opened is not None:
            self._opened.streams.stop_bodies()

    def opened_first(self, receive: Receive, send: Send) -> Receive:
        """A lifespan's `receive`, which opens the log before the application hears of its start."""

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.open()
                except ConfigurationError as wrong:
                    await send({"type": "lifespan.startup.failed", "message": str(wrong)})
                    raise
            return message

        return received

    async def _open(self) -> Opened:
        log, lease = self._log, self._settings.durable_lease
        streams = _Streams(log, authorize=lambda _request, _name, act: act in _ALLOWED, upkeep=False)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(streams.opened())
            feeds = Feeds(log, time.time)
            stack.callback(feeds.stop)
            await stack.enter_async_context(Upkeep(log, every=lease / BEATS, on_dead=self._on_dead))
            logbook = Logbook(log, await _secret(log), lease, self._settings.durable_ttl)
            kept = stack.pop_all()
        return Opened(logbook, feeds, streams, kept)

    # Runs

    def owner_of(self, run: str) -> Owner | None:
        """Whose run an id names; None when it is no id, or of an action that is not here."""
        return self._planner.owners.get(tag_in(run))

    async def attend(self, request: Request, match: Match, wanted: str) -> tuple[Recording, Told]:
        """Have a request answered into a run, unless it wants one that there is.

        Raises:
            BaseException: what kept it from being answered at all.
        """
        opened = await self.open()
        recording = Recording(opened.logbook, request, match, wanted=wanted)
        self._produce(recording)
        return recording, await recording.told()

    async def purge(self, run: str) -> bool:
        """Forget a run, whether it has ended or not; False when there is none of that id.

        Raises:
            ConfigurationError: when the database cannot be used.
        """
        return await purge((await self.open()).log, run)

    def _produce(self, recording: Recording) -> None:
        task = asyncio.create_task(recording.carry(partial(self.answer, recording)), name="a durable run")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_dead(self, state: State) -> None:
        """End the run of a process that died, or take it over.

        Raises:
            LogRefused: when it was not dead, or somebody else was faster.
        """
        opened = self._opened
        if opened is None or self.ends():
            raise LeaseLost(state.name)  # not ours to care for any more
        log = opened.log
        remembered = await recall(log, state) if self._may_restart(state) else None
        if remembered is None:
            await log.reap(state)
            await forget(log, state)
            return
        lease = await log.take_over(state)
        _LOG.warning("the run %s is produced again, for the %d. time", run_in(state.name), lease.tenure.epoch)
        self._produce(Recording(opened.logbook, request_again(remembered), None, lease=lease))

    def _may_restart(self, state: State) -> bool:
        owner, tenure = self.owner_of(run_in(state.name)), state.tenure
        wanted = owner is not None and owner.durable.declared.restarts and not state.stopping
        return wanted and tenure is not None and tenure.epoch < RESTARTS


class _Streams(DurableStreams):
    """The runs' streams, each by its id and not by its name."""

    def _stream_at(self, path: str) -> str:
        return stream_of(path)


async def _secret(log: Log) -> bytes:
    """The secret under which keys become names: whoever opens the log first makes it."""
    await log.create(SECRET, Config(content_type=OCTETS), [secrets.token_bytes(32)], closed=True)
    return b"".join((await log.read(SECRET)).messages)


_ALLOWED: Final = frozenset({"read", "stop"})
