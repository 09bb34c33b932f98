"""Cutting connections that a server would keep: those of clients that do not read.

Raising ends a body, but no server then lets go of the socket: each waits until the client has taken what
was handed over before, and a client that does not read never takes it. ASGI has no word for cutting, so
the connection is found by what ASGI does tell of it, its two addresses, and reset; where those say nothing
(a unix socket, a proxy's client in the peer's place), a transport of the server's is asked for.

The kernel is told to forget what was not sent, too: an orphaned socket would keep it for minutes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from starlette.types import Scope, Send

from millstream.gateways.forwarded import address_of
from millstream.gateways.uvicorn import transport_of

BATCH: Final = 0.05
"""Seconds that connections to be cut are gathered: one look through the open files serves all of them."""

Ends = tuple[str, int, str, int]
"""Address and port of the client, and ours."""


class Severing:
    """Cuts connections, soon."""

    def __init__(self) -> None:
        self._wanted: set[Ends] = set()
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
        elif (ends := _ends(scope)) is not None:
            loop.call_later(after, self._gather, ends)

    def _gather(self, ends: Ends) -> None:
        self._wanted.add(ends)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH, self._cut)

    def _cut(self) -> None:
        wanted, self._wanted, self._timer = self._wanted, set(), None
        for connection in _sockets():
            with connection, suppress(OSError):
                if _ends_of(connection) in wanted:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    connection.shutdown(socket.SHUT_RDWR)


def _abort(transport: asyncio.Transport) -> None:
    if transport.get_write_buffer_size():  # else it has closed, or will at once: nothing is in its way
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()


def _sockets() -> Iterator[socket.socket]:
    """A copy of each socket of this process: the original may be closed, and its number reused, meanwhile."""
    for name in _FILES.iterdir() if _FILES.is_dir() else ():
        try:
            copied = os.dup(int(name.name))
        except OSError:
            continue
        try:
            yield socket.socket(fileno=copied)
        except OSError:  # any other file
            os.close(copied)


def _ends(scope: Scope) -> Ends | None:
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or not client[1] or not server[1]:
        return None
    return (_plain(client[0]), int(client[1]), _plain(server[0]), int(server[1]))


def _ends_of(connection: socket.socket) -> Ends | None:
    if connection.family not in _FAMILIES:
        return None
    (client, client_port), (server, server_port) = connection.getpeername()[:2], connection.getsockname()[:2]
    return (_plain(client), client_port, _plain(server), server_port)


def _plain(host: str) -> str:
    """One spelling of an address."""
    return str(address_of(host) or host)


_SHARED: Final = frozenset({"2", "3"})
"""What servers call the versions whose exchanges share a connection. A request that only claims such a
version, which uvicorn's parsers take from a client, is told by its digits: 2.0."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_FILES: Final = Path("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd")
