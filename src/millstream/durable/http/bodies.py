"""The bodies that an endpoint waits for: how long one may be, how long it may take, how many there may be.

What is appended is stored in one commit, so its body has to be there whole. A client is asked for its right
before; then it may take up memory, but not for as long as it likes, and not more than all may together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from starlette.types import Receive

from millstream.durable.http.requests import Asked, PeerLeft
from millstream.errors import HTTPError, Overloaded

TOGETHER: Final = 16
"""Bodies of the greatest length that may be in memory at once while their rest is waited for."""

MIN_RATE: Final = 240.0
"""Bytes a second that a body must bring on average, once its first `stall` seconds have passed."""


class Bodies:
    """What clients are sending.

    Args:
        longest: bytes of one body.
        stall: seconds that its next piece may take.
        most: bodies that are waited for at once.
    """

    def __init__(self, longest: int, stall: float, most: int) -> None:
        self._longest = longest
        self._stall = stall
        self._most = most
        self._count = 0
        self._held = 0  # bytes of all that are waited for
        self._deadlines: set[asyncio.Timeout] = set()
        self._over = False

    def start(self) -> None:
        """Wait for bodies, after an earlier `stop`."""
        self._over = False

    def stop(self) -> None:
        """Wait no longer: a client that is still sending is told to come again."""
        self._over = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)

    async def read(self, asked: Asked, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            HTTPError: 413 when it is longer than allowed, 408 when it does not come in time, 503 when there
                are too many of them, or the process ends.
            PeerLeft: when the client does not send it to the end.
        """
        if asked.declared > self._longest:
            raise self._too_long()
        clock = asyncio.get_running_loop().time
        begun = clock()
        pieces: list[bytes] = []
        with self._waited_for() as held:
            more = True
            while more:
                async with self._until(min(clock(), begun + held[0] / MIN_RATE) + self._stall):
                    message = await receive()
                if message["type"] != "http.request":
                    raise PeerLeft
                pieces.append(message.get("body", b""))
                self._hold(held, len(pieces[-1]))
                more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @contextmanager
    def _waited_for(self) -> Iterator[list[int]]:
        """Count one more; what it has brought until now."""
        if self._count >= self._most:
            raise Overloaded("too many requests wait for their bodies here")
        held = [0]
        self._count += 1
        try:
            yield held
        finally:
            self._count -= 1
            self._held -= held[0]

    def _hold(self, held: list[int], size: int) -> None:
        held[0] += size
        self._held += size
        if held[0] > self._longest:
            raise self._too_long()
        if self._held > TOGETHER * self._longest:
            raise Overloaded("the requests that wait for their bodies take up too much memory here")

    @asynccontextmanager
    async def _until(self, moment: float) -> AsyncIterator[None]:
        """Wait for the next piece until a moment of the loop's clock, or until the process ends."""
        deadline = asyncio.timeout_at(moment)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                if self._over:
                    deadline.reschedule(0)
                yield
        except TimeoutError:
            if self._over:
                raise Overloaded("this process is about to end") from None
            raise HTTPError(408, "the rest of the request's body did not come in time") from None
        finally:
            self._deadlines.discard(deadline)

    def _too_long(self) -> HTTPError:
        return HTTPError(413, f"one request may append {self._longest} bytes at most")
