"""The sockets of this process, for what no server offers: to find a connection, and to reset it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.types import Scope

from millstream.gateways.forwarded import address_of

Ends = tuple[str, int, str, int]
"""Address and port of the client, and ours."""


def ends_told(scope: Scope) -> Ends | None:
    """The two ends of the connection that a server tells of; None when it does not tell."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or not client[1] or not server[1]:
        return None
    return (_plain(client[0]), int(client[1]), _plain(server[0]), int(server[1]))


def ends_of(connection: socket.socket) -> Ends | None:
    """The two ends of a connection; None for a socket that is none over the internet protocols."""
    if connection.family not in _FAMILIES:
        return None
    (client, client_port), (server, server_port) = connection.getpeername()[:2], connection.getsockname()[:2]
    return (_plain(client), client_port, _plain(server), server_port)


def open_sockets() -> Iterator[socket.socket]:
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


def reset_when_closed(connection: Any) -> None:
    """Make closing a connection reset it, and forget what was not sent.

    Args:
        connection: a socket, or what a transport gives for its own.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def reset_now(connection: socket.socket) -> None:
    """Reset a connection although its server still has it open, where the system can do that.

    Python's `connect` knows no address of the family AF_UNSPEC, which dissolves a connection.
    """
    if sys.platform == "linux":
        nowhere = bytes(16)
        ctypes.CDLL(None).connect(connection.fileno(), nowhere, len(nowhere))


async def wait_received(connection: Any, transport: asyncio.Transport | None, seconds: float) -> None:
    """Wait until the peer has received all that was sent, for so many seconds at most.

    Args:
        connection: a socket, or what a transport gives for its own.
        transport: the server's, if it can be had.
        seconds: no time at all for 0.
    """
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + seconds, 0.001
    with suppress(OSError, ValueError):  # it was closed meanwhile
        while loop.time() < deadline and (
            (transport is not None and transport.get_write_buffer_size()) or _unreceived(connection)
        ):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE)


def _unreceived(connection: Any) -> int:
    """Bytes that the system has, and of which it does not know yet that the peer received them."""
    if sys.platform != "linux":
        return 0
    from fcntl import ioctl  # noqa: PLC0415  other systems may lack these, and count otherwise
    from termios import TIOCOUTQ  # noqa: PLC0415  as above

    (count,) = struct.unpack("i", ioctl(connection.fileno(), TIOCOUTQ, bytes(4)))
    return int(count)


def _plain(host: str) -> str:
    """One spelling of an address."""
    return str(address_of(host) or host)


_PAUSE: Final = 0.05
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_FILES: Final = Path("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd")
