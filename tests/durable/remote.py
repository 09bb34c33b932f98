"""Clients over HTTP that do not give up: a writer with claims, and a browser's `EventSource`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from millstream.testing.events import EventReader

PATIENCE: Final = 30.0
PAUSE: Final = 0.02
"""Seconds before somebody tries again whose connection was lost."""

JSON: Final = {"content-type": "application/json"}


def browser(**options: Any) -> httpx.AsyncClient:
    """A client that waits as long as the tests do, and asks no proxy."""
    return httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False, **options)  # noqa: S501  no TLS here


class News:
    """Waking whoever waits for a count to grow."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()

    async def tell(self) -> None:
        async with self._condition:
            self._condition.notify_all()

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._condition:
            await self._condition.wait_for(holds)


class Writer:
    """Appends `[name, 0]`, `[name, 1]`…, each until it is acknowledged.

    Attributes:
        count: how many were acknowledged.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._news = News()
        self.count = 0
        self._enough = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        alone = httpx.Limits(max_keepalive_connections=0)  # a connection each, so that it is anybody's
        async with browser(limits=alone) as client:
            while not self._enough:
                await self._append(client, self.count)
                self.count += 1
                await self._news.tell()
        self._ended.set()

    async def finish(self) -> None:
        """Let the last append be acknowledged."""
        self._enough = True
        async with asyncio.timeout(PATIENCE):
            await self._ended.wait()

    async def more(self, count: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted = self.count + count
        await self._news.wait_for(lambda: self.count >= wanted)

    async def _append(self, client: httpx.AsyncClient, number: int) -> None:
        claim = {"producer-id": self._name, "producer-epoch": "0", "producer-seq": str(number)}
        body = json.dumps([[self._name, number]])
        while True:
            try:
                reply = await client.post(self._url, headers={**JSON, **claim}, content=body)
            except httpx.TransportError:
                await asyncio.sleep(PAUSE)
                continue
            if reply.status_code in {200, 204}:
                return
            assert reply.status_code == 503, reply.text
            await asyncio.sleep(PAUSE)


class EventSource:
    """What a page's `new EventSource(url)` is: it comes back with the last id it has seen, and 204 ends it.

    As a browser's, it takes any other status for the end of all (WHATWG HTML §9.2.3).

    Attributes:
        got: the messages of all data events.
        last_id: of the last event that was whole.
        connections: how often it connected.
        closed: whether it was told that there is no more.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._news = News()
        self.got: list[Any] = []
        self.last_id = ""
        self.connections = 0
        self.closed = False

    async def run(self) -> None:
        async with browser() as client:
            while not self.closed:
                try:
                    await self._connect(client)
                except httpx.TransportError:
                    await asyncio.sleep(PAUSE)

    async def wait_got(self, count: int) -> None:
        """Wait until it has so many messages."""
        await self._news.wait_for(lambda: len(self.got) >= count)

    async def _connect(self, client: httpx.AsyncClient) -> None:
        headers = {"last-event-id": self.last_id} if self.last_id else {}
        async with client.stream("GET", self._url, headers=headers) as reply:
            self.connections += 1
            if reply.status_code == 204:
                self.closed = True
                return
            assert reply.status_code == 200, (reply.status_code, await reply.aread())
            events = EventReader()
            async for chunk in reply.aiter_bytes():
                for event in events.feed(chunk):
                    if event.event == "data":
                        self.got += json.loads(event.data)
                        self.last_id = event.id
                await self._news.tell()


@asynccontextmanager
async def running(*clients: Writer | EventSource) -> AsyncIterator[None]:
    """Let them run; a failure of one is the block's."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in clients]
        yield
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(tasks)
