"""A request body on its way to the application, at the pace the application takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable

from millstream.testing.failures import Misused
from millstream.testing.waiting import TIMEOUT, Change


class Upload:
    """One request body, piece by piece; never more than one piece ahead.

    A body that is produced gets a task of its own: an application may cancel its `receive()` at any
    time (Starlette does), and that must not tear a piece out of the producer.

    Args:
        body: all of it, or its producer.
        change: told whenever a piece is there or the producer failed.
    """

    def __init__(self, body: bytes | AsyncIterable[bytes], change: Change) -> None:
        self._change = change
        self._piece: bytes | None = None
        self._last = False
        self._feeding: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        if isinstance(body, bytes):
            self._piece, self._last = body, True
        else:
            self._feeding = asyncio.create_task(self._feed(body))
            self._feeding.add_done_callback(self._fed)

    @property
    def ready(self) -> bool:
        """Whether a piece waits to be taken."""
        return self._piece is not None

    def take_nowait(self) -> tuple[bytes, bool]:
        """The piece that waits, and whether more follow."""
        piece, self._piece = self._piece or b"", None
        self._change.tell()
        return piece, not self._last

    async def aclose(self) -> None:
        """Stop the producer and wait until it is closed."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait({self._feeding}, timeout=TIMEOUT)

    async def _feed(self, body: AsyncIterable[bytes]) -> None:
        try:
            async for piece in body:
                if not isinstance(piece, bytes):
                    raise Misused(f"a request body yielded {type(piece).__name__}: yield bytes")
                await self._offer(piece)
            await self._offer(b"", last=True)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()

    async def _offer(self, piece: bytes, *, last: bool = False) -> None:
        await self._change.wait_for(lambda: self._piece is None)
        self._piece, self._last = piece, last
        self._change.tell()

    def _fed(self, feeding: asyncio.Task[None]) -> None:
        if not feeding.cancelled():
            self.error = feeding.exception()
            self._change.tell()
