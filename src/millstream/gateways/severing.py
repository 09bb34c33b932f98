"""Cutting connections that a server would keep, or would close so that a client takes that for an end.

* A client that does not read: raising ends a body, but no server then lets go of the socket: each waits until
  the client has taken what was handed over before, and a client that does not read never takes it.
* A body of HTTP/1.0: it ends where its connection does, unless its head declares a length. A server that
  closes the connection of a body which was broken off ends that body well; a reset is no end.

ASGI has no word for either, so the connection is found by what ASGI does tell of it, its two addresses, and
reset; where those say nothing (a unix socket, a proxy's client in the peer's place), a transport of the
server's is asked for.

The kernel is told to forget what was not sent, too: an orphaned socket would keep it for minutes.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

from starlette.types import Scope, Send

from millstream.gateways.sockets import (
    Ends,
    ends_of,
    ends_told,
    open_sockets,
    reset_now,
    reset_when_closed,
    wait_received,
)
from millstream.gateways.uvicorn import transport_of

BATCH: Final = 0.05
"""Seconds that connections to be found are gathered: one look through the open files serves all of them."""


class Severing:
    """Cuts connections, soon."""

    def __init__(self) -> None:
        self._wanted: dict[Ends, asyncio.Future[socket.socket | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def sever(self, scope: Scope, send: Send, after: float = 0.0) -> None:
        """Cut an exchange's connection, unless it ends by itself within so many seconds.

        An exchange of HTTP/2 shares its connection with others: there raising resets it alone.
        """
        if scope.get("http_version") in _SHARED:
            return
        loop, transport = asyncio.get_running_loop(), transport_of(send)
        if transport is not None:
            loop.call_later(after, _abort, transport)
        elif (ends := ends_told(scope)) is not None:
            loop.call_later(after, self._sever_found, ends)

    async def reset(self, scope: Scope, send: Send, within: float) -> None:
        """Reset the connection of an exchange whose body ends where the connection does.

        uvicorn closes the connection after the exchange, and that resets it. Other servers may end the body
        before they close the connection, so the connection is reset here.

        Args:
            scope: the server's.
            send: the server's.
            within: seconds that the client has to receive what was sent before.
        """
        if scope.get("http_version") not in ENDED_BY_CLOSING:
            return
        if (transport := transport_of(send)) is not None:
            connection = transport.get_extra_info("socket")
            await wait_received(connection, transport, within)
            with suppress(OSError):  # it was closed meanwhile
                reset_when_closed(connection)
        elif (ends := ends_told(scope)) is not None and (found := await self._find(ends)) is not None:
            with found, suppress(OSError):
                await wait_received(found, None, within)
                reset_when_closed(found)
                reset_now(found)

    def _find(self, ends: Ends) -> asyncio.Future[socket.socket | None]:
        """A copy of a connection's socket, soon; None when there is none."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(BATCH, self._look)
        if ends not in self._wanted:
            self._wanted[ends] = loop.create_future()
        return self._wanted[ends]

    def _look(self) -> None:
        wanted, self._wanted, self._timer = self._wanted, {}, None
        for connection in open_sockets():
            found = None
            with suppress(OSError):  # it is not connected
                ends = ends_of(connection)
                found = None if ends is None else wanted.pop(ends, None)
            if found is None or found.done():  # whoever wanted it may have given up
                connection.close()
            else:
                found.set_result(connection)
        for missing in wanted.values():
            if not missing.done():
                missing.set_result(None)

    def _sever_found(self, ends: Ends) -> None:
        self._find(ends).add_done_callback(_sever)


def _sever(found: asyncio.Future[socket.socket | None]) -> None:
    if not found.cancelled() and (connection := found.result()) is not None:
        with connection, suppress(OSError):
            reset_when_closed(connection)
            connection.shutdown(socket.SHUT_RDWR)


def _abort(transport: asyncio.Transport) -> None:
    if transport.get_write_buffer_size():  # else it has closed, or will at once: nothing is in its way
        reset_when_closed(transport.get_extra_info("socket"))
        transport.abort()


_SHARED: Final = frozenset({"2", "3"})
"""What servers call the versions whose exchanges share a connection. A request that only claims such a
version, which uvicorn's parsers take from a client, is told by its digits: 2.0."""

ENDED_BY_CLOSING: Final = frozenset({"1", "1.0"})
"""What servers call the version whose bodies end with their connections; granian writes 1."""
