"""The ASGI gateway: what a server asks of an application, by the kind of its scope."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette._utils import get_route_path
from starlette.types import Receive, Scope, Send

from millstream.dispatch.survey import mounted
from millstream.errors import HTTPError, Overloaded, Truncated
from millstream.gateways.connection import Connection
from millstream.gateways.ending import Ending
from millstream.gateways.forwarded import Proxies
from millstream.gateways.hosts import Hosts
from millstream.gateways.severing import Severing
from millstream.pipeline.ends import PARTING
from millstream.pipeline.hallway import House, Visit
from millstream.pipeline.heads import problem_head
from millstream.protocol.events import Reason
from millstream.web.problems import problem_of


class Gateway:
    """The ASGI application around a pipeline."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._proxies = Proxies(house.settings)
        self._ending = Ending(house.ledger, house.lanes.give_up)
        self._hosts = Hosts(house.settings)
        self._severing = Severing()
        self._cut = self._let_go  # one for all connections
        # How long a client may take what is left of a body that was broken off, by the reason.
        self._patience = {str(Reason.STALLED): 0.0, str(Reason.SHUTDOWN): PARTING}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one scope by its kind; no coroutine of its own, of which there would be one for each stream.

        Raises:
            Truncated: to the server, when a body had to be broken off.
            NotImplementedError: for a kind of scope nobody here knows, as ASGI asks.
        """
        if not self._ending.listens:  # mounted in another application, we may never see a lifespan
            self._ending.listen()
        match scope["type"]:
            case "http":
                return self._http(scope, receive, send)
            case "lifespan":
                return self._lifespan(receive, send)
            case "websocket":
                return self._websocket(scope, receive, send)
            case unknown:
                raise NotImplementedError(f"Millstream does not speak {unknown!r}")

    def _http(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        told = self._proxies.resolved(scope) if self._proxies else scope
        connection = Connection(scope, receive, send, told, self._cut)
        if self._house.ledger.draining:
            return self._refuse_to_begin(connection)
        if (refusal := self._hosts.refusal(scope)) is not None:
            return self._refuse(connection, refusal)
        return Visit(self._house, connection).run()

    async def _let_go(self, scope: Scope, send: Send, why: Truncated) -> None:
        """Cut the connection of a body that was broken off, if its client does not let go of it."""
        settings = self._house.settings
        patience = self._patience.get(why.reason, settings.stall_timeout)
        most = settings.close_timeout
        await self._severing.reset(scope, send, most if patience is None else min(patience, most))
        if patience is not None:
            self._severing.sever(scope, send, patience)

    def _refuse_to_begin(self, connection: Connection) -> Awaitable[None]:
        """The process ends: whoever still has a connection is to ask another one."""
        refusal = Overloaded("this process is about to end", retry_after=self._house.settings.retry_after)
        # Later versions have no such field (RFC 9113 §8.2.2).
        if str(connection.scope["http_version"]).startswith("1"):
            refusal.headers["Connection"] = "close"
        return self._refuse(connection, refusal)

    async def _refuse(self, connection: Connection, refusal: HTTPError) -> None:
        """Answer without the pipeline."""
        scope = connection.scope
        content_type, body = problem_of(refusal, debug=False).render(_accept(scope))
        head = problem_head(refusal, content_type, len(body), scope["method"])
        await connection.send_head(head)
        await connection.end(body if head.has_body else b"")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._house.ledger.reopen()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._house.ledger.drain()
                self._house.lanes.close()
                await self._house.close()
                self._ending.leave()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mounted applications may speak it; ours end it before it opens, which a server makes a 403."""
        mount = None
        if self._hosts.refusal(scope) is None:
            mount = mounted(self._house.tree, get_route_path(scope))
        if mount is None:
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        root = scope.get("root_path", "") + mount.mount_path
        await mount.app({**scope, "root_path": root}, receive, send)


def _accept(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), None)
