"""A mounted application: it answers by itself, and what it did with our participants settles before the end.

Its messages pass as they are. A head that declares a length waits for the first piece of its body, so that a
commit that fails may still be an honest status; the last declared byte, and the last message, wait for the
commit. What an application did that answers with an error is undone, as an action's is.
"""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive

from millstream.engine.passing import DeclaredLength, declared_length
from millstream.engine.scope import Scope
from millstream.errors import ControllerError
from millstream.pipeline.heads import framed
from millstream.protocol.lifecycle import Event, State
from millstream.protocol.ports import Exchange, Head, is_end

Message = MutableMapping[str, Any]


class Mounted:
    """One response of a mounted application.

    Args:
        scope: what settles.
        exchange: where it goes.
    """

    __slots__ = ("_exchange", "_held", "_is_all", "_length", "_scope", "_status", "_stream")

    def __init__(self, scope: Scope, exchange: Exchange) -> None:
        self._scope = scope
        self._stream = scope.stream
        self._exchange = exchange
        self._held: Message | None = None  # a head that waits
        self._is_all = False  # a client has the whole response with the head
        self._length: DeclaredLength | None = None
        self._status = 0

    async def deliver(self, app: ASGIApp, scope: Message, receive: Receive) -> None:
        """Let it answer.

        Args:
            app: the application.
            scope: the request, as it is to see it.
            receive: the same of its body.

        Raises:
            WrongLength: to the application, which passes it on, when its body has not the declared length.
            ControllerError: when it returns before its response has ended.
            ClientDisconnect: when it does so because its client has left.
            Exception: whatever it, or a participant, raised.
        """
        await app(scope, receive, self._send)
        if self._exchange.body_ended:
            await self._scope.commit()  # what it did after the end, in a background task
            return
        if self._exchange.gone:
            raise ClientDisconnect
        raise ControllerError(f"the application mounted at {self._stream.route} returned before its end")

    def _send(self, message: Message) -> Awaitable[None]:
        """ASGI's `send`; a piece of a body whose length is not declared passes at once: there are many."""
        if message.get("more_body", False) and self._held is None and self._length is None:
            self._stream.bytes += len(message.get("body", b""))
            return self._exchange.forward(message)
        return self._pass(message)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            head = self._head(message)
            if self._waits(head):
                self._held = {**message, "headers": head.headers.raw}
                return
        elif is_end(message):
            message = await self._settled(message)
        elif self._length is not None and "body" in message:
            message = {**message, "body": self._length.chunk(bytes(message["body"]))}
        if self._held is not None:
            if self._is_all and not is_end(message):
                return
            held, self._held = self._held, None
            await self._forward(held)
        await self._forward(message)

    def _head(self, message: Message) -> Head:
        self._status = message["status"]
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        return framed(Head(self._status, headers, self._exchange.scope["method"]))

    def _waits(self, head: Head) -> bool:
        """Whether a head declares how much follows, which may be nothing."""
        if head.has_body and head.headers.get("content-length", "0").isdecimal():
            self._length = declared_length(head, self._stream.route)
        self._is_all = not head.has_body or (self._length is not None and self._length.is_nothing)
        return self._is_all or self._length is not None

    async def _settled(self, message: Message) -> Message:
        """The last message, once it may be sent."""
        body = bytes(message.get("body", b""))
        if self._length is not None and message["type"] == _BODY:
            self._length.require_met(len(body))
            message = {**message, "body": self._length.end() + body}
        if self._status >= _FIRST_ERROR:
            await self._scope.abort()
        await self._scope.settled()
        return message

    async def _forward(self, message: Message) -> None:
        stream = self._stream
        await self._exchange.forward(message)
        if message["type"] == "http.response.start":
            if stream.state is State.WAITING:
                stream.tell(Event.HEAD_SENT)
        else:
            stream.bytes += len(message.get("body", b""))
            if self._exchange.body_ended and stream.state is State.ENDING:
                stream.tell(Event.END_SENT)


_BODY: Final = "http.response.body"
_FIRST_ERROR: Final = 400
