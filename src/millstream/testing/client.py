"""An in-process client for any ASGI application: no sockets, no buffering, nothing left behind.

::

    async with Client(app) as client:
        reply = await client.get("/orders", params={"since": "2026-01-01"})
        assert reply.status == 200

        async with client.stream("GET", "/ticks") as ticks:  # may be infinite
            assert (await ticks.next_event()).data == "1"
            await ticks.disconnect()
"""

# ruff: noqa: ASYNC109  these waits end with a sentence on what did not come, asyncio.timeout's with none

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack
from urllib.parse import quote, unquote, urlencode

from starlette.types import ASGIApp, Scope

from millstream.testing.bodies import Pairs, RequestOptions, encode, pairs
from millstream.testing.exchange import Exchange
from millstream.testing.failures import Misused
from millstream.testing.leaks import PATIENCE, no_leaks
from millstream.testing.lifespan import Lifespan
from millstream.testing.reply import Reply, StreamReply
from millstream.testing.waiting import TIMEOUT

WINDOW: Final = 64 * 1024
"""Bytes an application may be ahead of a client that does not read; what uvicorn allows, too."""


class ClientOptions(TypedDict, total=False):
    """How a client behaves."""

    timeout: float  # of every wait, unless the call says otherwise; 5 s
    window: int  # bytes an application may be ahead of the reader; 64 KiB
    headers: Pairs  # sent with every request
    root_path: str  # as if the application were mounted there
    address: tuple[str, int]  # of the client
    lifespan: bool  # whether to start the application and shut it down; True
    raise_app_errors: bool  # whether its exceptions reach the test, or look as behind a server; True
    send_raises: bool  # whether `send` after a disconnect raises OSError, or swallows as uvicorn does; False
    require_no_leaks: bool  # whether nothing may be left over when the client closes; False


class StreamOptions(RequestOptions, total=False):
    """What `stream` takes besides what every verb takes."""

    window: int
    await_head: bool  # whether to wait for the head before the block begins; True


class Client:
    """Sends requests into an application that runs in this event loop.

    Each request runs in its own task, in a copy of the context that the client was opened in. Messages are
    checked against ASGI and HTTP; what they break is a `ProtocolViolation` here. What the application raises
    is raised here, except `millstream.errors.Truncated`, which only breaks the body off.
    """

    def __init__(self, app: ASGIApp, **options: Unpack[ClientOptions]) -> None:
        self.app = app
        self._timeout = options.get("timeout", TIMEOUT)
        self._window = options.get("window", WINDOW)
        self._usual_headers = options.get("headers", ())
        self._root_path = options.get("root_path", "")
        self._address = options.get("address", ("127.0.0.1", 50000))
        self._has_lifespan = options.get("lifespan", True)
        self._raise_app_errors = options.get("raise_app_errors", True)
        self._asgi = {"version": "3.0", "spec_version": "2.4" if options.get("send_raises", False) else "2.3"}
        self._require_no_leaks = options.get("require_no_leaks", False)
        self._context = Context()
        self._lifespan: Lifespan | None = None
        self._exchanges: set[Exchange] = set()
        self._opened: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise Misused("this client is open already: make one for each block")
        async with AsyncExitStack() as opening:
            if self._require_no_leaks:
                await opening.enter_async_context(no_leaks(self.app, timeout=min(PATIENCE, self._timeout)))
            self._context = copy_context()
            if self._has_lifespan:
                lifespan = Lifespan(self.app, self._context.copy(), timeout=self._timeout)
                self._lifespan = await opening.enter_async_context(lifespan)
            opening.push_async_exit(self._close_exchanges)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(kind, error, trace)

    async def _close_exchanges(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for exchange in tuple(self._exchanges):  # of streams that other tasks still hold open
            await exchange.close(self._timeout, error)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Shut the application down and wait for it; open streams may be read meanwhile.

        Raises:
            LifespanFailed: when it fails.
            TimedOut: when it does not end.
        """
        if self._lifespan is not None:
            await self._lifespan.shutdown(self._timeout if timeout is None else timeout)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **options: Unpack[StreamOptions]
    ) -> AsyncIterator[StreamReply]:
        """Send a request and read its reply while it is produced; leaving the block disconnects.

        Raises:
            StillRunning: when the application's call does not end after that.
        """
        timeout = options.get("timeout", self._timeout)
        exchange = self._send(method, path, options)
        self._exchanges.add(exchange)
        try:
            reply = StreamReply(exchange, timeout=timeout)
            if options.get("await_head", True):
                await reply.wait_head()
            yield reply
        except BaseException as error:
            await exchange.close(timeout, error)
            raise
        else:
            await exchange.close(timeout, None)
        finally:
            self._exchanges.discard(exchange)

    async def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send a request and read the whole reply.

        Raises:
            BodyTruncated: when it has no end; its `received` is what came.
        """
        async with self.stream(method, path, **options) as stream:
            body = await stream.rest()
            await stream.wait_ended()
            return Reply(stream.status, stream.headers, body)

    async def get(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with GET."""
        return await self.request("GET", path, **options)

    async def head(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with HEAD."""
        return await self.request("HEAD", path, **options)

    async def options(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with OPTIONS."""
        return await self.request("OPTIONS", path, **options)

    async def post(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with POST."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with PUT."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with PATCH."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with DELETE."""
        return await self.request("DELETE", path, **options)

    def _send(self, method: str, path: str, options: StreamOptions) -> Exchange:
        if self._opened is None:
            raise Misused(
                f"{method} {path}: the client is closed; send requests inside `async with Client(app)`"
            )
        window = options.get("window", self._window)
        if window < 1:
            raise Misused(f"{method} {path}: the window is {window}; it must be 1 byte or more")
        body, described = encode(options)
        return Exchange(
            self.app,
            self._scope(method, path, options, described),
            body,
            context=self._context.copy(),
            window=window,
            raise_app_errors=self._raise_app_errors,
        )

    def _scope(self, method: str, path: str, options: RequestOptions, described: dict[str, str]) -> Scope:
        if not path.startswith("/"):
            raise Misused(f"{method} {path}: a path begins with /")
        raw_path, _, query = path.partition("?")
        raw_path = self._root_path + quote(raw_path, safe=_SAFE)
        params = urlencode(pairs(options.get("params", ())))
        return {
            "type": "http",
            "asgi": dict(self._asgi),
            "http_version": "1.1",
            "method": method.upper(),
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": "&".join(filter(None, (quote(query, safe=_SAFE + "?"), params))).encode(),
            "root_path": self._root_path,
            "headers": self._headers(options.get("headers", ()), described),
            "client": self._address,
            "server": ("testserver", 80),
            "state": dict(self._lifespan.state) if self._lifespan else {},
        }

    def _headers(self, asked: Pairs, described: dict[str, str]) -> list[tuple[bytes, bytes]]:
        """The most particular first; each name comes from one place only."""
        found: dict[str, list[tuple[bytes, bytes]]] = {}
        for source in (asked, self._usual_headers, described, _USUAL):
            named: dict[str, list[tuple[bytes, bytes]]] = {}
            for name, value in pairs(source):
                key = name.lower()
                named.setdefault(key, []).append((key.encode("latin-1"), str(value).encode("latin-1")))
            found = named | found
        return [pair for named_pairs in found.values() for pair in named_pairs]


# RFC 3986 §3.3: what may stand in a path as it is; % because it may come encoded.
_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_USUAL: Final = {"host": "testserver", "accept": "*/*", "user-agent": "millstream.testing"}
