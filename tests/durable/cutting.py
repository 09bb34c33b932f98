"""A proxy whose connections break after some bytes, as those of a train passenger do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

HOST: Final = "127.0.0.1"
CHANCE: Final = random.Random()  # noqa: S311  when to cut is no secret


class Cutting:
    """Made by `cutting`.

    Attributes:
        port: where it listens.
        cuts: how many connections it has broken.
    """

    def __init__(self, target: int, least: int, most: int) -> None:
        self.port = 0
        self.cuts = 0
        self.enough = False  # from now on connections last
        self._target = target
        self._limits = least, most

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: everything the client says, and so much of what it is answered."""
        try:
            answers, questions = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        asking = asyncio.create_task(_pump(reader, questions))
        try:
            await self._answer(answers, writer)
        finally:
            asking.cancel()
            await asyncio.wait([asking])
            questions.transport.abort()
            writer.transport.abort()

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = CHANCE.randint(*self._limits)
        with suppress(OSError):
            while data := await answers.read(65536):
                if not self.enough:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if not left:
                    self.cuts += 1
                    return
            await _said(writer)


@asynccontextmanager
async def cutting(target: int, least: int, most: int) -> AsyncIterator[Cutting]:
    """Listen before a server's port; each connection breaks after a number of bytes between these."""
    proxy = Cutting(target, least, most)
    running: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.pass_on(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(begin, HOST, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _said(writer: asyncio.StreamWriter) -> None:
    """Let everything arrive before the connection is closed."""
    writer.close()
    await writer.wait_closed()
