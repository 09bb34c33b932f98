"""One request and its response, between an application and a client that both run in this event loop.

The exchange is what a server is to an application: it owns `receive` and `send`, runs the call in a task
of its own, blocks `send` while the client does not read, and tells the application when the client leaves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from contextvars import Context
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

from millstream.errors import Truncated
from millstream.testing.failures import Misused, ProtocolViolation, StillRunning, raise_or_note
from millstream.testing.problems import ClientGone, Problems
from millstream.testing.rules import Piece, ResponseRules, Start
from millstream.testing.uploads import Upload
from millstream.testing.waiting import Change, stands_at


class Exchange:
    """One call of an application.

    Args:
        app: any ASGI application.
        scope: of the request.
        body: of the request.
        context: the call runs in it.
        window: bytes of the response the application may be ahead of the client.
        raise_app_errors: whether the application's own exceptions reach the test; if not, the client sees
            what it would see of a server: a 500, or a broken body.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: bytes | AsyncIterable[bytes],
        *,
        context: Context,
        window: int,
        raise_app_errors: bool,
    ) -> None:
        self.where = f"{scope['method']} {scope['path']}"
        self.head: Start | None = None
        self.window = window
        self.unread = 0  # bytes
        self.complete = False  # the application sent the end of the body
        self.gone = False  # the client left
        self.ended = False  # the application's call has returned or raised
        self._blocked = 0  # calls of send() that wait for the client to read
        self._invent_500 = not raise_app_errors
        self._send_raises = scope["asgi"]["spec_version"] >= "2.4"
        self._rules = ResponseRules(self.where, scope["method"])
        self._pieces: deque[bytes] = deque()
        self._problems = Problems(self.where, raise_app_errors=raise_app_errors)
        self._change = Change()
        self._upload = Upload(body, self._change)
        self._call = asyncio.create_task(self._run(app, scope), name=self.where, context=context)
        self._call.add_done_callback(self._note_end)

    @property
    def stands_at(self) -> str:
        """Where the application's call is, in words."""
        return "its end" if self.ended else stands_at(self._call)

    # What the application calls

    async def receive(self) -> Message:
        """The ASGI `receive`."""
        await self._change.wait_for(lambda: self._upload.ready or self._over)
        if self._over:
            return {"type": "http.disconnect"}
        piece, more = self._upload.take_nowait()
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Message) -> None:
        """The ASGI `send`."""
        if self.unread >= self.window:
            await self._wait_for_room()
        if self.gone:
            # Give way, or an application that never looks would hold the loop and outlive every time-out.
            await asyncio.sleep(0)
            if self._send_raises:
                raise ClientGone(f"{self.where}: the client has left")
            return
        try:
            fact = self._rules.take(message)
        except ProtocolViolation as violation:
            self._problems.add(violation)
            self._change.tell()
            raise
        await self._pass_on(fact)

    async def _wait_for_room(self) -> None:
        self._blocked += 1
        self._change.tell()
        try:
            await self._change.wait_for(lambda: self.unread < self.window or self.gone)
        finally:
            self._blocked -= 1

    async def _pass_on(self, fact: Start | Piece) -> None:
        match fact:
            case Start():
                self.head = fact
            case Piece(data, last):
                self.complete = last
                if data:
                    self._pieces.append(data)
                    self.unread += len(data)
                elif not last:
                    await asyncio.sleep(0)  # fills no window: give way, for the same reason as above
        self._change.tell()

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self.receive, self.send)

    def _note_end(self, call: asyncio.Task[None]) -> None:
        self.ended = True
        cancelled = call.cancelled()
        error = None if cancelled else call.exception()
        self._problems.app_error = error
        if self.head is None and error is None and not cancelled and not self.gone:
            self._problems.add(ProtocolViolation(self.where, "the application returned without a head"))
        if self.head is None and self._invent_500 and error and not isinstance(error, Truncated):
            self.head, self.complete = _SERVER_ERROR, True
            self._pieces.append(_SERVER_ERROR_BODY)
        self._change.tell()

    @property
    def _over(self) -> bool:
        return self.gone or self.complete or self.ended

    # What the client calls

    async def take_head(self) -> Start:
        """Wait for the head.

        Raises:
            BodyTruncated: when the call broke off, on purpose, before the head.
            BaseException: what the application raised before it.
        """
        await self._change.wait_for(lambda: self.head or self._vain)
        if self.head is None:
            self._check_connected()
            self._problems.tell()
            self._problems.tell_app_error()
            raise self._problems.truncated("the application's call ended before the head")
        return self.head

    async def take(self) -> bytes | None:
        """Wait for the next piece of the body; None is its end.

        Raises:
            BodyTruncated: when the call ended without the end of the body.
            Misused: when this client has left.
            ProtocolViolation: when what the application sent next was none.
        """
        await self._change.wait_for(lambda: self._pieces or self.complete or self._vain)
        self._check_connected()
        if self._pieces:
            piece = self._pieces.popleft()
            self.unread = max(0, self.unread - len(piece))
            self._change.tell()
            return piece
        if self.complete:
            return None
        self._problems.tell()
        raise self._problems.truncated("the application's call ended without the end of the body")

    async def wait_blocked(self) -> None:
        """Wait until a `send` of the application waits for the client to read.

        Raises:
            Misused: when that cannot happen any more.
        """
        await self._change.wait_for(lambda: self._blocked or self._vain)
        if not self._blocked:
            self._check_connected()
            self._problems.tell()
            raise Misused(f"{self.where}: the application's call has ended, nothing will block any more")

    async def wait_ended(self) -> None:
        """Wait until the application's call has ended."""
        await self._change.wait_for(lambda: self.ended)

    def set_window(self, window: int) -> None:
        """Change how far the application may be ahead."""
        self.window = window
        self._change.tell()

    def leave(self) -> None:
        """The client's connection ends: `receive` says so, and `send` waits for nobody any more."""
        self.gone = True
        self._change.tell()

    async def close(self, seconds: float, earlier: BaseException | None) -> None:
        """Leave, wait until the call has ended, and tell what the test has not been told.

        Raises:
            StillRunning: when it did not end in time.
            BaseException: what the application raised, unless an earlier error is on its way already.
        """
        since = "the end of the response" if self.complete else "its client had left"
        self.leave()
        try:
            await self._upload.aclose()
            await asyncio.wait({self._call}, timeout=seconds)
            if not self._call.done():
                self._problems.add(
                    StillRunning(self.where, since=since, seconds=seconds, stands_at=self.stands_at)
                )
        finally:
            self._call.cancel()
        if (await asyncio.wait({self._call}, timeout=seconds))[0]:
            await self.wait_ended()  # its callback runs a moment later
        self._problems.add(self._upload.error)
        raise_or_note(self._problems.last(), earlier)

    @property
    def _vain(self) -> bool:
        """Whether waiting on is useless."""
        self._problems.add(self._upload.error)
        return self.ended or self.gone or bool(self._problems)

    def _check_connected(self) -> None:
        if self.gone:
            raise Misused(f"{self.where}: this client has disconnected, there is nothing more to read")


_SERVER_ERROR_BODY: Final = b"Internal Server Error"
_SERVER_ERROR: Final = Start(
    500,
    Headers({"content-type": "text/plain; charset=utf-8", "content-length": str(len(_SERVER_ERROR_BODY))}),
)
