"""The bodies that an endpoint waits for: how long one may be, how long it may take, how many there may be.

What is appended is stored in one commit, so its body has to be there whole. A client is asked for its right
before; then it may take up memory, but not for as long as it likes, and not more than all may together.
"""

from __future__ import annotations

import asyncio
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
        stall: seconds that its next piece may take, and a quarter more at most.
        most: bodies that are waited for at once.
    """

    def __init__(self, longest: int, stall: float, most: int) -> None:
        self._longest = longest
        self._stall = stall
        self._most = most
        self._held = 0  # bytes of all that are waited for
        self._waiting: set[_Waiting] = set()
        self._rounds: asyncio.TimerHandle | None = None
        self._over = False

    def start(self) -> None:
        """Wait for bodies, after an earlier `stop`, perhaps in another loop."""
        self._over = False
        self._rounds = None

    def stop(self) -> None:
        """Wait no longer: a client that is still sending is told to come again."""
        self._over = True
        for waiting in self._waiting:
            waiting.give_up(_ending())

    async def read(self, asked: Asked, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            HTTPError: 413 when it is longer than allowed, 408 when it does not come in time, 503 when there
                are too many of them, or the process ends.
            PeerLeft: when the client does not send it to the end.
        """
        if asked.declared > self._longest:
            raise self._too_long()
        if self._over:
            raise _ending()
        if len(self._waiting) >= self._most:
            raise Overloaded("too many requests wait for their bodies here")
        waiting = _Waiting()
        self._waiting.add(waiting)
        try:
            return await self._pieces(waiting, receive)
        except asyncio.CancelledError:
            if waiting.error is None or waiting.task.uncancel():
                raise
            raise waiting.error from None
        finally:
            self._waiting.discard(waiting)
            self._held -= waiting.size

    async def _pieces(self, waiting: _Waiting, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        more = True
        while more:
            waiting.wait_until(self._stall)
            self._look_later()
            message = await receive()
            if message["type"] != "http.request":
                raise PeerLeft
            piece, more = message.get("body", b""), message.get("more_body", False)
            pieces.append(piece)
            self._hold(waiting, len(piece))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, waiting: _Waiting, size: int) -> None:
        waiting.size += size
        self._held += size
        if waiting.size > self._longest:
            raise self._too_long()
        if self._held > TOGETHER * self._longest:
            raise Overloaded("the requests that wait for their bodies take up too much memory here")

    def _look_later(self) -> None:
        """One timer for all, as long as there are any: most bodies are there at once, and need none."""
        if self._rounds is None:
            loop = asyncio.get_running_loop()
            self._rounds = loop.call_later(self._stall / 4, self._look)

    def _look(self) -> None:
        self._rounds = None
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if now > waiting.until:
                waiting.give_up(HTTPError(408, "the rest of the request's body did not come in time"))
        if self._waiting:
            self._look_later()

    def _too_long(self) -> HTTPError:
        return HTTPError(413, f"one request may append {self._longest} bytes at most")


class _Waiting:
    """One body that is waited for.

    Attributes:
        task: which waits.
        size: what has come of it.
        until: when the next piece has to be there, by the loop's clock.
        error: why it is waited for no longer.
    """

    __slots__ = ("_begun", "_clock", "error", "size", "task", "until")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in a task
        self.task = task
        self.size = 0
        self.until = 0.0
        self.error: HTTPError | None = None
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()

    def wait_until(self, stall: float) -> None:
        """Wait for the next piece, however much has come, and for all at a rate that is worth it."""
        self.until = min(self._clock(), self._begun + self.size / MIN_RATE) + stall

    def give_up(self, error: HTTPError) -> None:
        """Interrupt it, wherever it waits: that is always for a piece."""
        if self.error is None:
            self.error = error
            self.task.cancel()


def _ending() -> Overloaded:
    return Overloaded("this process is about to end")
