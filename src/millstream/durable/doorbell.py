"""The doorbell: processes of one machine that share a database tell each other which streams they changed.

Each has a Unix datagram socket in one folder and sends to all the others. A ring is a hint and may be lost:
a neighbour that is too busy to take it looks by itself soon. What a killed process leaves behind in the
folder refuses the next ring, and is removed then.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from millstream.durable.engine import Awake


class Doorbell:
    """This process's socket among its neighbours'.

    Args:
        folder: where the sockets are; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / secrets.token_hex(4)
        self._socket: socket.socket | None = None

    def open(self, awake: Awake) -> None:
        """Listen, on the running event loop; a path too long for a socket leaves everybody to look."""
        if len(str(self._own).encode()) > LONGEST_PATH:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._own))
        asyncio.get_running_loop().add_reader(self._socket, self._answer, self._socket, awake)

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._own.unlink(missing_ok=True)

    def ring(self, names: Iterable[str]) -> None:
        """Tell the neighbours; from any thread, and never waiting for them."""
        if self._socket is None:
            return
        message = msgspec.msgpack.encode(list(names))
        if len(message) > LONGEST_MESSAGE:
            message = msgspec.msgpack.encode([])  # any of them
        with suppress(OSError):  # the folder may be gone: hints are lost then, and looks find the changes
            for neighbour in os.listdir(self._folder):  # noqa: PTH208  a path for each entry takes longer than a commit
                if neighbour != self._own.name:
                    self._ring_at(f"{self._folder}/{neighbour}", message)

    def _ring_at(self, neighbour: str, message: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message, neighbour)
        except ConnectionRefusedError:
            Path(neighbour).unlink(missing_ok=True)
        except OSError:
            return  # it is full, or closed just now

    def _answer(self, listening: socket.socket, awake: Awake) -> None:
        with suppress(BlockingIOError):
            while True:
                message = listening.recv(LONGEST_MESSAGE)
                try:
                    names = msgspec.msgpack.decode(message, type=list[str])
                except msgspec.DecodeError:
                    names = []
                for name in names or (None,):
                    awake(name)


LONGEST_PATH: Final = 100
"""Bytes; `sockaddr_un` takes 108 on Linux and 104 elsewhere, with a zero at the end."""

LONGEST_MESSAGE: Final = 32 * 1024
