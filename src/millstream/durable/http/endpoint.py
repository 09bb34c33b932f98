"""`DurableStreams`: the Durable Streams protocol as an ASGI application.

Mount it under any path; what follows that path is the stream's name::

    class RootController(TGController):
        streams = ASGIAppController(DurableStreams(open_log("sqlite:///streams.db")))

The protocol is the public one, whole but for its optional subscriptions; what is added to it is ignored by
clients that do not know it: ids on events and `Last-Event-ID`, `Stream-Failed`, `live=body` with `Range`, and
`POST …/stop`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from millstream.durable.http.bodies import Bodies
from millstream.durable.http.feeds import BEAT
from millstream.durable.http.origins import PREFLIGHT, common_headers
from millstream.durable.http.reading import answer
from millstream.durable.http.replies import PRIVATE, acceptance, described, refusal, reply, standing
from millstream.durable.http.requests import (
    Asked,
    PeerLeft,
    append_of,
    config_of,
    records_of,
    whole_number,
)
from millstream.durable.http.serving import ReadingSettings, Service
from millstream.durable.log import Log
from millstream.durable.naming import Config, Created
from millstream.durable.offsets import NOW
from millstream.durable.outage import AWAY
from millstream.durable.refusals import LeaseLost, LogRefused
from millstream.durable.runs.names import is_internal
from millstream.durable.state import State
from millstream.durable.upkeep import Upkeep
from millstream.errors import HTTPError, Overloaded

Authorize = Callable[[Request, str, str], Awaitable[bool] | bool]
"""`authorize(request, name, act)`: whether a client may do this to the stream of that name. The acts are
`read`, `create`, `append`, `delete` and `stop`. Asked for each request, so that what it takes away counts
from the next one on; raise an `HTTPError` to answer something else than 403."""

MIB: Final = 1024 * 1024


class DurableStreams:
    """An endpoint for the streams of a log.

    Args:
        log: it is opened with the application, or with the first request, and closed with the application.
        authorize: who may do what; anybody anything, unless given.
        cache: the Cache-Control of what was read, `replies.PUBLIC` for streams anybody may read.
        allow_origin: the origin, or `*`, whose pages may use it (CORS); only its own, unless given.
        max_body: bytes that one request may append.
        long_poll: seconds a poll waits.
        reconnect: seconds that one stream of events lasts; the client then comes back where it was.
        beat: seconds of silence after which who follows is given a sign of life.
        stall: seconds after which a client is given up that does not read what it follows, or does not send
            the next piece of its body.
        max_bodies: requests whose body is waited for at once; beyond, 503.
        max_followers: clients that follow at once; beyond, 503.
        upkeep: whether this process looks after the log, too: at least one must.
    """

    def __init__(
        self,
        log: Log,
        *,
        authorize: Authorize | None = None,
        cache: str = PRIVATE,
        allow_origin: str | None = None,
        max_body: int = 16 * MIB,
        long_poll: float = 30.0,
        reconnect: float = 60.0,
        beat: float = BEAT,
        stall: float = 60.0,
        max_bodies: int = 1_000,
        max_followers: int = 20_000,
        upkeep: bool = True,
    ) -> None:
        settings = ReadingSettings(
            cache=cache,
            long_poll=long_poll,
            reconnect=reconnect,
            beat=beat,
            stall=stall,
            max_followers=max_followers,
        )
        self._log = log
        self._authorize = authorize
        self._bodies = Bodies(max_body, stall, max_bodies)
        self._common = common_headers(allow_origin)
        self._service = Service(log, settings, self._common, time.time)
        self._upkeep = upkeep
        self._open: AsyncExitStack | None = None
        self._opening = asyncio.Lock()
        self._verbs = {
            "GET": self._read,
            "POST": self._post,
            "PUT": self._create,
            "HEAD": self._describe,
            "DELETE": self._delete,
            "OPTIONS": self._options,
        }

    async def open(self) -> None:
        """Open the log; a further call does nothing.

        Raises:
            ConfigurationError: when its database cannot be used.
        """
        async with self._opening:
            if self._open is None:
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(self._log)
                    if self._upkeep:
                        await stack.enter_async_context(Upkeep(self._log, on_dead=self._on_dead))
                    self._bodies.start()
                    self._service.feeds.start()
                    stack.callback(self._service.feeds.stop)
                    self._open = stack.pop_all()

    async def close(self) -> None:
        """End all that follow, and close the log; a further call does nothing."""
        stack, self._open = self._open, None
        if stack is not None:
            await stack.aclose()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open while the block runs; for the lifespan of the application it is mounted in."""
        await self.open()
        try:
            yield
        finally:
            await self.close()

    async def _on_dead(self, state: State) -> None:
        """End a stream whose producer died; a run is its application's, which may produce it again.

        Raises:
            LogRefused: when it was not dead, or somebody else was faster.
        """
        if is_internal(state.name):
            raise LeaseLost(state.name)
        await self._log.reap(state)

    def stop_followers(self) -> None:
        """End all that follow, at a shutdown: they come back where they were, here or elsewhere."""
        self._service.feeds.stop()

    def stop_bodies(self) -> None:
        """End the requests whose bodies have not come whole by the end of a shutdown's time."""
        self._bodies.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scope by its kind.

        Raises:
            Truncated: to the server, when a body had to be broken off.
            NotImplementedError: for a kind of scope nobody here knows, as ASGI asks.
        """
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case unknown:
                raise NotImplementedError(f"durable streams do not speak {unknown!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Asked(scope)
        try:
            if self._open is None:
                await self.open()
            await self._answer(asked, receive, send)
        except PeerLeft:
            return
        except (LogRefused, HTTPError) as error:
            await self._refuse(asked, error, send)
        except self._log.failures as failed:  # never after a head: who follows is told in other ways
            self._log.outage.note(failed)
            await self._refuse(asked, Overloaded(AWAY), send)

    async def _refuse(self, asked: Asked, error: LogRefused | HTTPError, send: Send) -> None:
        status, headers, body = refusal(error)
        await reply(send, status, [*self._common, *headers], body, bodiless=asked.method == "HEAD")

    async def _answer(self, asked: Asked, receive: Receive, send: Send) -> None:
        verb = self._verbs.get(asked.method)
        if verb is None:
            raise HTTPError(405, headers={"Allow": ", ".join(self._verbs)})
        asked.name = self._stream_at(asked.name)
        await verb(asked, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.open()
                except Exception as error:  # noqa: BLE001  ASGI has no other way to tell of it
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # The verbs

    async def _read(self, asked: Asked, receive: Receive, send: Send) -> None:
        await self._require(asked, "read")
        await answer(self._service, asked, receive, send)

    async def _describe(self, asked: Asked, _: Receive, send: Send) -> None:
        await self._require(asked, "read")
        state = await self._log.describe(asked.name)
        headers = [*self._common, *described(state), (b"cache-control", b"no-store")]
        await reply(send, 200, headers, bodiless=True)

    async def _create(self, asked: Asked, receive: Receive, send: Send) -> None:
        await self._require(asked, "create")
        if b"stream-forked-from" in asked.headers:
            source = await self._source(asked)
            created = await self._fork(asked, source, await self._bodies.read(asked, receive))
        elif b"stream-fork-offset" in asked.headers or b"stream-fork-sub-offset" in asked.headers:
            raise HTTPError(400, "there is a fork's offset, but no Stream-Forked-From")
        else:
            body = await self._bodies.read(asked, receive)
            config = config_of(asked)
            records = records_of(body, config.content_type, empty=True)
            closed = asked.flag(b"stream-closed")
            created = await self._log.create(asked.name, config, records, closed=closed)
        headers = [*self._common, *described(created.state), (b"cache-control", b"no-store")]
        if created.fresh:
            headers.append((b"location", asked.url.encode("latin-1")))
        await reply(send, 201 if created.fresh else 200, headers)

    async def _source(self, asked: Asked) -> str:
        """The stream that is forked, if the client may read it.

        Raises:
            HTTPError: 403 or 404.
        """
        source = asked.name_at(asked.header(b"stream-forked-from") or "")
        if source is None:
            raise HTTPError(404, "Stream-Forked-From is no stream of this server")
        source = self._stream_at(source)
        await self._require(asked, "read", source)
        return source

    async def _fork(self, asked: Asked, source: str, body: bytes) -> Created:
        sub_offset = whole_number("Stream-Fork-Sub-Offset", asked.header(b"stream-fork-sub-offset") or "0")
        config = config_of(asked)
        return await self._log.fork(
            asked.name,
            source,
            config,
            records_of(body, await self._type_of(source, config, body), empty=True),
            offset=asked.header(b"stream-fork-offset") or NOW,
            sub_offset=sub_offset,
            closed=asked.flag(b"stream-closed"),
        )

    async def _type_of(self, source: str, config: Config, body: bytes) -> str | None:
        """What the body of a fork is; asked of the source only where the request does not say it."""
        if config.content_type is not None or not body:
            return config.content_type
        return (await self._log.describe(source)).content_type

    async def _post(self, asked: Asked, receive: Receive, send: Send) -> None:
        may_stop = asked.name.endswith(STOP) and not asked.flag(b"stream-closed")
        expected = "stop" if may_stop and not asked.declares_body else "append"
        await self._require(asked, expected)
        body = await self._bodies.read(asked, receive)
        act = "stop" if may_stop and not body else "append"
        if act != expected:  # a head need not declare its body, and a declared one may be empty
            await self._require(asked, act)
        if act == "stop":
            await self._stop(asked, send)
            return
        request = append_of(asked, body)
        done = await self._log.append(asked.name, request)
        fresh = request.producer is not None and not done.duplicate and request.records
        headers = [*self._common, *standing(done.state), *acceptance(done.producer)]
        await reply(send, 200 if fresh else 204, headers)

    async def _stop(self, asked: Asked, send: Send) -> None:
        """An empty append would be refused, so this takes nothing from a stream whose name ends like it."""
        state = await self._log.stop(asked.name.removesuffix(STOP))
        await reply(send, 204 if state.closed else 202, [*self._common, *standing(state)])

    async def _delete(self, asked: Asked, _: Receive, send: Send) -> None:
        await self._require(asked, "delete")
        await self._log.delete(asked.name)
        await reply(send, 204, self._common)

    async def _options(self, _: Asked, __: Receive, send: Send) -> None:
        await reply(send, 204, [*self._common, *PREFLIGHT])

    def _stream_at(self, path: str) -> str:
        """The name of the stream at a path below the mount: asked for whatever a client names.

        Raises:
            HTTPError: 404 when there is no name, 403 when no client may use it, whatever `authorize` says.
        """
        if not path:
            raise HTTPError(404, "a stream has a name")
        if is_internal(path):
            raise HTTPError(
                403, "a name that begins with a dot belongs to the application: choose another one"
            )
        return path

    async def _require(self, asked: Asked, act: str, name: str | None = None) -> None:
        """Let go on only what is allowed.

        Raises:
            HTTPError: 403, or what `authorize` raised.
        """
        if self._authorize is None:
            return
        if name is None:
            name = asked.name.removesuffix(STOP) if act == "stop" else asked.name
        allowed = self._authorize(Request(asked.scope), name, act)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if not allowed:
            raise HTTPError(403, "this is not allowed to you")


STOP: Final = "/stop"
"""After a stream's name: an empty POST there asks its producer to stop."""
