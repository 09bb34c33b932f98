"""The ASGI gateway: one connection's messages, with exactly one owner of `receive`.

`send` of an ASGI server swallows writes to a client that has left; only `receive` tells of it. Two readers
of `receive` steal each other's messages, so everything that wants one asks here: the reader of the request's
body, and the watch for the client's leaving.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette._utils import get_route_path
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Message, Receive, Scope, Send

from millstream.dispatch.survey import mounted
from millstream.errors import Truncated
from millstream.pipeline.hallway import House, Visit
from millstream.protocol.ports import Head

AHEAD: Final = 256 * 1024
"""Bytes of a request's body that are received before anybody asks for them."""

_GONE: Final[Message] = {"type": "http.disconnect"}


class Connection:
    """One HTTP exchange under ASGI; the port `Outlet`, and the `receive` of its request."""

    __slots__ = (
        "_ahead",
        "_body_came",
        "_inbox",
        "_listener",
        "_news",
        "_on_gone",
        "_receive",
        "_send",
        "_turn",
        "_wanted",
        "body_ended",
        "gone",
        "head_sent",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._inbox: deque[Message] = deque()
        self._ahead = 0  # bytes in the inbox
        self._body_came = False
        self._listener: asyncio.Task[None] | None = None
        self._news: asyncio.Event | None = None  # something came in, for whoever reads the body
        self._wanted: asyncio.Event | None = None  # the body may come on, for the listener
        self._on_gone: Callable[[], None] | None = None
        self._turn = asyncio.Lock()  # a reader may wait for the server when the watch begins
        self.gone = False
        self.head_sent = False
        self.body_ended = False

    # The client's side of the exchange

    async def receive(self) -> Message:
        """The next message of the request's body, or `http.disconnect`; for one reader at a time."""
        while not self._inbox:
            if self.gone:
                return _GONE
            if self._listener is None:
                async with self._turn:
                    self._take(await self._receive())
            else:
                await self._listened()
        message = self._inbox.popleft()
        self._ahead -= len(message.get("body", b""))
        return message

    def watch(self, on_gone: Callable[[], None], /) -> None:
        """See `Outlet.watch`."""
        self._on_gone = on_gone
        if self.gone:
            asyncio.get_running_loop().call_soon(self._tell_gone)
        elif self._listener is None:
            self._news, self._wanted = asyncio.Event(), asyncio.Event()
            self._listener = asyncio.create_task(self._listen())

    def unwatch(self) -> None:
        """See `Outlet.unwatch`."""
        self._on_gone = None
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None
            if self._news is not None:
                self._news.set()

    async def _listened(self) -> None:
        assert self._news is not None  # noqa: S101  the listener and its events come and go together
        assert self._wanted is not None  # noqa: S101  as above
        self._news.clear()
        self._wanted.set()
        await self._news.wait()

    async def _listen(self) -> None:
        """Receive ahead of the body's reader, within bounds: the rest waits at the client."""
        assert self._wanted is not None  # noqa: S101  set by `watch`
        assert self._news is not None  # noqa: S101  as above
        while not self.gone:
            if self._ahead >= AHEAD and not self._body_came:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            async with self._turn:
                if not self.gone:
                    self._take(await self._receive())
            self._news.set()
        self._tell_gone()

    def _take(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.gone = True
            return
        self._inbox.append(message)
        self._ahead += len(message.get("body", b""))
        self._body_came = not message.get("more_body", False)

    def _tell_gone(self) -> None:
        on_gone, self._on_gone = self._on_gone, None
        if on_gone is not None:
            on_gone()

    # Our side

    async def send_head(self, head: Head, /) -> None:
        """See `Outlet.send_head`."""
        self.head_sent = True
        await self._write({"type": "http.response.start", "status": head.status, "headers": head.headers.raw})

    async def send_body(self, data: bytes, /) -> None:
        """See `Outlet.send_body`."""
        await self._write({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes, /) -> None:
        """See `Outlet.end`."""
        await self._write({"type": "http.response.body", "body": data, "more_body": False})
        self.body_ended = True

    async def forward(self, message: Message) -> None:
        """Send what another application made, keeping account of where the response stands."""
        if message["type"] == "http.response.start":
            self.head_sent = True
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
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
            self.gone = True
            self._tell_gone()

    async def break_off(self, why: Truncated) -> None:
        """Make sure that raising `why` will look like a truncation to the client.

        Servers, and middlewares that call us directly, take the exception for one. But Starlette's
        `BaseHTTPMiddleware` runs us in a task of its own, and ends the body well before it raises what we
        raised. So it is handed a piece that fails in the server, wherever it stands among its like; and if
        a compressor between refuses that, a `pathsend`, after which it leaves the end to others. It is
        known by the `receive` it gives: others pass that on as it is.
        """
        if self.head_sent and getattr(self._receive, "__module__", "") == BaseHTTPMiddleware.__module__:
            with suppress(Truncated, TypeError):
                await self._send({"type": "http.response.body", "body": _Unsendable(why), "more_body": True})
            await self._send({"type": "http.response.pathsend"})


class _Unsendable:
    """A piece of a body that raises in the hands of whoever would write it."""

    __slots__ = ("_why",)

    def __init__(self, why: Truncated) -> None:
        self._why = why

    def __bool__(self) -> bool:
        return True  # an empty piece would be passed over

    def __len__(self) -> int:
        raise self._why


class Gateway:
    """The ASGI application around a pipeline."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scope by its kind.

        Raises:
            Truncated: to the server, when a body had to be broken off.
            NotImplementedError: for a kind of scope nobody here knows, as ASGI asks.
        """
        match scope["type"]:
            case "http":
                await self._http(Connection(scope, receive, send))
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case unknown:
                raise NotImplementedError(f"Millstream does not speak {unknown!r}")

    async def _http(self, connection: Connection) -> None:
        try:
            await Visit(self._house, connection).run()
        except Truncated as truncated:
            await connection.break_off(truncated)
            raise

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._house.ledger.draining = False  # one application may be served again, as tests do
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._house.ledger.drain()
                self._house.lanes.close()
                await self._house.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mounted applications may speak it; ours end it before it opens, which a server makes a 403."""
        mount = mounted(self._house.tree, get_route_path(scope))
        if mount is None:
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        root = scope.get("root_path", "") + mount.mount_path
        await mount.app({**scope, "root_path": root}, receive, send)
