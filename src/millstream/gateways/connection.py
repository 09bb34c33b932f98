"""One HTTP exchange under ASGI: everything a request receives, and everything that is sent for it.

`send` of an ASGI server swallows writes to a client that has left; only `receive` tells of it. Two readers
of `receive` steal each other's messages, so everything that wants one asks here: the reader of the request's
body, and the watch for the client's leaving.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import cache
from typing import Any, Final

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Message, Receive, Scope, Send

from millstream.errors import Truncated
from millstream.gateways.listening import Alarm, Listening, ended, listen
from millstream.gateways.severing import ENDED_BY_CLOSING
from millstream.gateways.uvicorn import (
    UNSENT,
    is_closing,
    is_plain,
    keep_little_unsent,
    tell_gone,
    transport_of,
)
from millstream.protocol.ports import Head, is_end

AHEAD: Final = 256 * 1024
"""Bytes of a request's body that are received before anybody asks for them."""

_LOG: Final = logging.getLogger("millstream")
_GONE: Final[Message] = {"type": "http.disconnect"}
_NO_BODY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}


Cut = Callable[[Scope, Send, Truncated], Awaitable[None]]
"""Lets go of a server's exchange whose body was broken off."""


class Connection:
    """One HTTP exchange under ASGI; the port `Exchange`.

    Args:
        scope: the server's.
        receive: the server's.
        send: the server's.
        told: what trusted proxies make of the scope.
        cut: is told of a body that was broken off, and sees to it that the connection goes.
    """

    __slots__ = (
        "_ahead",
        "_asked",
        "_body_came",
        "_cut",
        "_given_up",
        "_inbox",
        "_is_hearing",
        "_listening",
        "_on_gone",
        "_reader",
        "_receive",
        "_send",
        "_transport",
        "_untold",
        "body_ended",
        "gone",
        "head_sent",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, told: Scope | None = None, cut: Cut | None = None
    ) -> None:
        self.scope = scope if told is None else told
        self._asked = scope
        self._cut = cut
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport | None = None  # once the head has left, if it can be had
        self._untold: float = UNSENT  # bytes before the kernel is told its share: most bodies are short
        self._inbox: list[Message] = []
        self._ahead = 0  # bytes in the inbox
        self._body_came = False
        self._listening: Listening | None = None
        self._given_up: Listening | None = None  # the last one, which may take a turn to end
        self._is_hearing = False  # a reader waits for the server by itself, because nobody listened
        self._reader: asyncio.Future[None] | None = None  # a reader that waits for the listener
        self._on_gone: Callable[[], None] | None = None
        self.gone = False
        self.head_sent = False
        self.body_ended = False

    # The client's side of the exchange

    async def receive(self) -> Message:
        """The next message of the request's body, or `http.disconnect`; for one reader at a time."""
        while not self._inbox:
            if self.gone:
                return _GONE
            if self._listening is None or isinstance(self._listening, Alarm):
                await self._hear()
            else:
                await self._listened()
        message = self._inbox.pop(0)
        self._ahead -= len(message.get("body", b""))
        return message

    def watch(self, on_gone: Callable[[], None], /) -> None:
        """See `Outlet.watch`."""
        self._on_gone = on_gone
        if self.gone:
            asyncio.get_running_loop().call_soon(self._tell_gone)
        elif not self._is_hearing:
            self._listen_on()

    def look(self) -> None:
        """See `Outlet.look`: of several requests in a pipeline uvicorn tells only the newest."""
        if is_closing(self._send) and not self.body_ended:
            self._found_gone()

    def unwatch(self) -> None:
        """See `Outlet.unwatch`."""
        self._on_gone = None
        if self._listening is not None:
            self._listening.cancel()
            self._given_up, self._listening = self._listening, None
            self._tell_reader()

    async def _hear(self) -> None:
        """Receive one message in the reader's own task; a watch that begins meanwhile begins after it."""
        self._is_hearing = True
        try:
            await self.be_alone()
            self._take(await self._receive())
        finally:
            self._is_hearing = False
            if self._on_gone is not None:
                self._listen_on()

    async def _listened(self) -> None:
        """Wait until the listener has heard something."""
        self._reader = asyncio.get_running_loop().create_future()
        self._listen_on()
        await self._reader

    def _listen_on(self) -> None:
        if self.gone:
            asyncio.get_running_loop().call_soon(self._tell_gone)
        elif self._listening is None or self._listening.done():
            self._listening = listen(self._receive, self)

    # As a `Hearer`

    def wants(self) -> bool:
        """Whether more is taken ahead of the body's reader, within bounds: the rest waits at the client."""
        return not self.gone and (self._ahead < AHEAD or self._body_came)

    def hear(self, message: Message) -> None:
        """Take a message."""
        self._take(message)
        self._tell_reader()
        if self.gone:
            asyncio.get_running_loop().call_soon(self._tell_gone)

    async def be_alone(self) -> None:
        """Wait until the listener that was given up has ended."""
        if self._given_up is not None:
            await ended(self._given_up)
            self._given_up = None

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.gone = True
            return
        self._body_came = not message.get("more_body", False)
        self._ahead += len(message.get("body", b""))
        # Most requests have no body, and most streams do not ask: what says so is kept as long as they live.
        self._inbox.append(_NO_BODY if message == _NO_BODY else message)

    def _tell_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _tell_gone(self) -> None:
        self._tell_reader()
        on_gone, self._on_gone = self._on_gone, None
        if on_gone is not None:
            on_gone()

    # Our side

    @property
    def is_plain(self) -> bool:
        """See `Outlet.is_plain`."""
        return is_plain(self._send)

    def send_head(self, head: Head, /) -> Coroutine[Any, Any, None]:
        """See `Outlet.send_head`."""
        self.head_sent = True
        if self._asked.get("http_version") in ENDED_BY_CLOSING and "content-length" not in head.headers:
            _warn_of_http_1_0()
        self._transport = transport_of(self._send)
        return self._write(
            {"type": "http.response.start", "status": head.status, "headers": head.headers.raw}
        )

    def send_body(self, data: bytes, /) -> Coroutine[Any, Any, None]:
        """See `Outlet.send_body`."""
        self._untold -= len(data)
        if self._untold < 0:
            self._untold = math.inf
            keep_little_unsent(self._send)
        return self._write({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes, /) -> None:
        """See `Outlet.end`."""
        await self._write({"type": "http.response.body", "body": data, "more_body": False})
        self.body_ended = True

    async def forward(self, message: Message) -> None:
        """Send what another application made, keeping account of where the response stands."""
        if message["type"] == "http.response.start":
            self.head_sent = True
        elif not message.get("more_body", False) and is_end(message):
            self.body_ended = True
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    async def _write(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # how servers tell of a client that has left, from version 2.4 of ASGI on
            self._found_gone()
        except RuntimeError:  # and uvloop, of a connection that is closed
            if not is_closing(self._send):
                raise
            self._found_gone()
        else:
            # Of several requests in a pipeline uvicorn tells only the newest that the client has left.
            transport = self._transport
            if transport is not None and transport.is_closing() and message.get("more_body", False):
                self._found_gone()

    def _found_gone(self) -> None:
        self.gone = True
        tell_gone(self._send)
        self._tell_gone()

    async def break_off(self, why: Truncated, /) -> None:
        """See `Exchange.break_off`.

        Servers, and middlewares that call us directly, take the exception for one. But Starlette's
        `BaseHTTPMiddleware` runs us in a task of its own, and ends the body well before it raises what we
        raised. So it is handed a piece that fails in the server, wherever it stands among its like; and if
        a compressor between refuses that, a `pathsend`, after which it leaves the end to others. It is
        known by the `receive` it gives: others pass that on as it is.
        """
        if self._cut is not None:  # before a server can close the connection
            await self._cut(self._asked, self._send, why)
        if self.head_sent and getattr(self._receive, "__module__", "") == BaseHTTPMiddleware.__module__:
            with suppress(Truncated, TypeError):
                await self._send({"type": "http.response.body", "body": _Unsendable(why), "more_body": True})
            await self._send({"type": "http.response.pathsend"})


@cache
def _warn_of_http_1_0() -> None:
    """Say it once a process."""
    _LOG.warning(
        "a request came by HTTP/1.0, which ends a body by closing the connection; a body that is broken off "
        "can only be reset, which not every client reports: if nginx sends it, set `proxy_http_version 1.1`"
    )


class _Unsendable:
    """A piece of a body that raises in the hands of whoever would write it."""

    __slots__ = ("_why",)

    def __init__(self, why: Truncated) -> None:
        self._why = why

    def __bool__(self) -> bool:
        return True  # an empty piece would be passed over

    def __len__(self) -> int:
        raise self._why
