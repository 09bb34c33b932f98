"""A response of Starlette's, made a producer: its body is streamed as that of any other action.

The response runs in a task of its own, in step with the reader of its body: at any time one of the two
waits for the other. So it may use the request's session, as a generator may, and the last message it sends
returns when the end of the body was sent, which is after the commit. What a response does after that, its
background task, goes on then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Final, Self

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp

from millstream.engine.source import aclose
from millstream.errors import ControllerError
from millstream.pipeline.heads import framed
from millstream.protocol.ports import Exchange, Head
from millstream.web.fields import require_sendable, without_servers

_LOG: Final = logging.getLogger("millstream")


class ForeignBody:
    """The body of a response that sends itself; its pieces are the items.

    Args:
        response: the response, which may serve other requests, too: it is not changed.
        exchange: what it answers.
        action: which returned it.
    """

    def __init__(self, response: ASGIApp, exchange: Exchange, action: str) -> None:
        self._exchange = exchange
        self._action = action
        self._start: MutableMapping[str, Any] | None = None
        self._piece: bytes | None = None
        self._news: asyncio.Future[None] | None = None  # the reader waits for it
        self._turn: asyncio.Future[None] | None = None  # the response waits for it
        self._receiving: asyncio.Future[MutableMapping[str, Any]] | None = None
        self.has_background = getattr(response, "background", None) is not None
        self._producer = getattr(response, "body_iterator", None)  # which Starlette leaves to the collector
        self._has_ended = False  # the last piece was sent
        self._loop = asyncio.get_running_loop()
        scope = {**exchange.scope, "extensions": {}}  # a file sent by the server alone would not be counted
        self._task = self._loop.create_task(self._run(response, scope))
        self._task.add_done_callback(self._tell)

    async def begin(self) -> None:
        """Wait for its head.

        Raises:
            Exception: whatever the response raised.
        """
        await self._wait(lambda: self._start is not None)

    def head(self, status: int, own: Sequence[tuple[bytes, bytes]], method: str) -> Head:
        """Its head.

        Args:
            status: that the author set; it holds where the response says no other than 200.
            own: the headers likewise; they come on top where the response has nothing of that name.
            method: of the request.

        Raises:
            ControllerError: when its status is none of a response.
            ValueError: when it cannot be sent.
        """
        assert self._start is not None  # noqa: S101  it has begun
        if self._start["status"] != _SILENT:
            status = self._start["status"]
        if status not in _STATUSES:
            raise ControllerError(f"{self._action} returned a response with the status {status!r}")
        raw = without_servers(self._start.get("headers", ()))
        there = {name.lower() for name, _ in raw} - {b"set-cookie"}
        raw.extend((name, value) for name, value in own if name.lower() not in there)
        require_sendable(raw)
        return framed(Head(status, MutableHeaders(raw=raw), method))

    @property
    def is_events(self) -> bool:
        """Whether its head says "connected" to its client, which waits for that."""
        headers = () if self._start is None else self._start.get("headers", ())
        return any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )

    @property
    def whole(self) -> bytes | None:
        """All of the body, when that was sent at once; None when it is still to be produced."""
        return self._piece if self._has_ended else None

    # As an asynchronous generator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        Raises:
            StopAsyncIteration: after the last one.
            Exception: whatever the response raised.
        """
        await self._wait(lambda: self._piece is not None or self._has_ended)
        piece, self._piece = self._piece, None
        if piece is None or (not piece and self._has_ended):
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Stop it; not when its body was sent, because then it goes on after the end of that."""
        if not self._has_ended:
            await self.give_up()

    # Its end

    async def finish(self) -> None:
        """The end of the body was sent: let the response go on, and wait for the end of what it does.

        Raises:
            Exception: whatever that raised.
        """
        self._go_on()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            await self.give_up()
            raise
        self._hear_no_more()
        self._task.result()

    async def give_up(self) -> None:
        """Its body will not end well: stop it wherever it is."""
        self._task.cancel()
        await asyncio.wait({self._task})
        self._hear_no_more()
        if not self._task.cancelled():
            self._task.exception()  # what it raised while it was stopped tells nothing new
        try:
            await aclose(self._producer)
        except Exception:  # noqa: BLE001  the reason of the end stands already
            _LOG.exception("%s: the body of a response failed while it was closed", self._action)

    def _hear_no_more(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()

    # The response's side

    async def _run(self, response: ASGIApp, scope: MutableMapping[str, Any]) -> None:
        await response(scope, self._receive, self._send)

    async def _receive(self) -> MutableMapping[str, Any]:
        """The next message; Starlette cancels its last wait for one.

        The server's own is not cancelled before the body has ended: granian then takes the client for gone.
        """
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._exchange.receive())
        message = await asyncio.shield(self._receiving)
        self._receiving = None
        if message["type"] == "http.disconnect":  # the reader of the body decides what that means
            await self._loop.create_future()
        return message

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        match message["type"]:
            case "http.response.start" if self._start is None:
                self._start = message
                self._tell()
            case "http.response.body" if self._start is not None and not self._has_ended:
                self._piece = bytes(message.get("body", b""))
                self._has_ended = not message.get("more_body", False)
                self._turn = self._loop.create_future()
                self._tell()
                await self._turn
            case kind:
                raise ControllerError(
                    f"{self._action} returned a response that sent {kind!r} out of its turn"
                )

    # Waiting

    async def _wait(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self._task.done():
                if not self._task.cancelled():
                    self._task.result()
                raise ControllerError(f"{self._action} returned a response that ended before its body did")
            self._news = self._loop.create_future()
            self._go_on()
            await self._news

    def _go_on(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _tell(self, _: object = None) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


_SILENT: Final = 200
_STATUSES: Final = range(200, 600)
