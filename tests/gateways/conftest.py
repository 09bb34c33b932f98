"""What the gateway's tests share: a server's side of one exchange."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from starlette.types import Message

from millstream.gateways.connection import Connection

LEFT: Message = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """A server's side of one exchange: gives what it is told to give, one reader at a time."""

    def __init__(self, *messages: Message) -> None:
        self.messages = deque(messages)
        self.sent: list[Message] = []
        self.given = 0
        self.readers = 0
        self.more = asyncio.Event()
        self.error: Exception | None = None
        self.connection = Connection({"type": "http"}, self.receive, self.send)

    def give(self, *messages: Message) -> None:
        self.messages.extend(messages)
        self.more.set()

    async def receive(self) -> Message:
        assert not self.readers, "two readers at once"
        self.readers += 1
        try:
            while not self.messages:
                self.more.clear()
                await self.more.wait()
            self.given += 1
            return self.messages.popleft()
        finally:
            self.readers -= 1

    async def send(self, message: Message) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class PlainServer(Server):
    """The same as uvicorn does it: `receive` waits for an event that is set with whatever is new."""

    __module__ = "uvicorn.protocols.http.httptools_impl"
    transport: Any = None
    disconnected = False

    def __init__(self, *messages: Message) -> None:
        self.message_event: Any = asyncio.Event()
        super().__init__()
        self.give(*messages)

    def give(self, *messages: Message) -> None:
        self.messages.extend(messages)
        if messages:
            self.message_event.set()

    async def receive(self) -> Message:
        assert not self.readers, "two readers at once"
        self.readers += 1
        try:
            await self.message_event.wait()
            self.given += 1
            message = self.messages.popleft()
            if not self.messages:
                self.message_event.clear()
            return message
        finally:
            self.readers -= 1
