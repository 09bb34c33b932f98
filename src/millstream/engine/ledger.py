"""The ledger: which streams are alive in this process, how many may be, and how they are told to end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from millstream.config import Settings
from millstream.engine.stream import Stream
from millstream.engine.watchdog import Watchdog
from millstream.errors import Overloaded
from millstream.protocol.events import Reason, Statistics


class Ledger:
    """Every open stream of one application in one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._streams: dict[int, Stream] = {}
        self._by_client: Counter[str] = Counter()
        self._watchdog = Watchdog(settings.slow_step) if settings.debug else None
        self._empty: asyncio.Event | None = None
        self.draining = False

    @property
    def live(self) -> tuple[Statistics, ...]:
        """What every open stream has done until now, oldest first."""
        return tuple(stream.statistics for stream in list(self._streams.values()))  # asked from any thread

    def __len__(self) -> int:
        return len(self._streams)

    def enter(self, stream: Stream) -> None:
        """A stream opens.

        Raises:
            Overloaded: when the process or the client has as many as it may (RFC 9110 §15.6.4, RFC 6585 §4).
        """
        settings = self._settings
        if self.draining:
            raise Overloaded("this process is about to end", retry_after=1)
        if len(self._streams) >= settings.max_streams:
            raise Overloaded(f"{settings.max_streams} streams are open, and no more are allowed")
        most = settings.max_streams_per_client
        if most is not None and stream.client and self._by_client[stream.client] >= most:
            raise Overloaded(f"{most} streams are open for this client, and no more are allowed", status=429)
        self._streams[id(stream)] = stream
        self._by_client[stream.client] += 1
        if self._watchdog is not None:
            self._watchdog.enter()

    def leave(self, stream: Stream) -> None:
        """A stream has ended and was cleaned up; told once for each that entered."""
        if self._streams.pop(id(stream), None) is None:
            return
        if self._watchdog is not None:
            self._watchdog.leave()
        self._by_client[stream.client] -= 1
        if not self._by_client[stream.client]:
            del self._by_client[stream.client]
        if not self._streams and self._empty is not None:
            self._empty.set()

    def stop(self, stream_id: str, reason: Reason = Reason.STOPPED) -> bool:
        """End one stream on purpose; False when there is none of that name that could be."""
        return any(s.interrupt(reason) for s in self._streams.values() if s.id == stream_id)

    async def drain(self) -> None:
        """Tell the streams that the process ends, let them, and end those that do not."""
        self.draining = True
        await self._wait_empty(self._settings.drain_timeout)
        for stream in list(self._streams.values()):
            stream.interrupt(Reason.SHUTDOWN)
        await self._wait_empty(self._settings.close_timeout)

    async def _wait_empty(self, seconds: float) -> None:
        if not self._streams:
            return
        if self._empty is None or self._empty.is_set():  # a signal and the server may both drain, at once
            self._empty = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
