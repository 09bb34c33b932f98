"""The in-process client for tests that are plain functions: the same verbs, blocking.

::

    with SyncClient(app) as client, client.stream("GET", "/ticks") as ticks:
        assert ticks.next_chunk() == b"1"

The application and the client proper live in an event loop on a thread of its own; here is only the way
there.
"""

# ruff: noqa: D102  what the methods of SyncStreamReply do is written at StreamReply's, once

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from millstream.testing.bodies import RequestOptions
from millstream.testing.client import Client, ClientOptions, StreamOptions
from millstream.testing.events import EventReader, ReceivedEvent
from millstream.testing.failures import Misused
from millstream.testing.reply import Reply, StreamReply

T = TypeVar("T")


class SyncStreamReply:
    """A `StreamReply`, blocking; what each method does is written there."""

    def __init__(self, reply: StreamReply, portal: BlockingPortal) -> None:
        self._reply = reply
        self._portal = portal

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Headers:
        return self._reply.headers

    @property
    def events(self) -> EventReader:
        return self._reply.events

    @property
    def unread(self) -> int:
        return self._reply.unread

    @property
    def ended(self) -> bool:
        return self._reply.ended

    def wait_head(self, timeout: float | None = None) -> Self:
        self._portal.call(self._reply.wait_head, timeout)
        return self

    def next_chunk(self, timeout: float | None = None) -> bytes | None:
        return self._portal.call(self._reply.next_chunk, timeout)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.next_chunk, None)

    def next_line(self, timeout: float | None = None) -> str | None:
        return self._portal.call(self._reply.next_line, timeout)

    def next_event(self, timeout: float | None = None) -> ReceivedEvent | None:
        return self._portal.call(self._reply.next_event, timeout)

    def rest(self, timeout: float | None = None) -> bytes:
        return self._portal.call(self._reply.rest, timeout)

    def stall(self, window: int | None = None) -> None:
        self._portal.call(self._reply.stall, window)

    def resume(self) -> None:
        self._portal.call(self._reply.resume)

    def wait_blocked(self, timeout: float | None = None) -> None:
        self._portal.call(self._reply.wait_blocked, timeout)

    def disconnect(self, *, wait: bool = False, timeout: float | None = None) -> None:
        self._portal.call(partial(self._reply.disconnect, wait=wait, timeout=timeout))

    def wait_ended(self, timeout: float | None = None) -> None:
        self._portal.call(self._reply.wait_ended, timeout)


class SyncClient:
    """A `Client` for blocking tests; takes the same options and raises the same errors."""

    def __init__(self, app: ASGIApp, **options: Unpack[ClientOptions]) -> None:
        self.app = app
        self._client = Client(app, **options)
        self._portal: BlockingPortal | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal())
            opening.enter_context(portal.wrap_async_context_manager(self._client))
            self._portal = portal
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        self._portal = None

    def shutdown(self, timeout: float | None = None) -> None:
        """Shut the application down and wait for it; open streams may be read afterwards."""
        self._call(partial(self._client.shutdown, timeout))

    @contextmanager
    def stream(self, method: str, path: str, **options: Unpack[StreamOptions]) -> Iterator[SyncStreamReply]:
        """Send a request and read its reply while it is produced; leaving the block disconnects."""
        portal = self._running()
        with portal.wrap_async_context_manager(self._client.stream(method, path, **options)) as reply:
            yield SyncStreamReply(reply, portal)

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send a request and read the whole reply."""
        return self._call(partial(self._client.request, method, path, **options))

    def get(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with GET."""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with HEAD."""
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with OPTIONS."""
        return self.request("OPTIONS", path, **options)

    def post(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """`request` with DELETE."""
        return self.request("DELETE", path, **options)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        return self._running().call(function)

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise Misused("the client is closed; send requests inside `with SyncClient(app)`")
        return self._portal
