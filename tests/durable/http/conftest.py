from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.testing import Client

Serve = Callable[..., Awaitable[Client]]


def mounted(streams: DurableStreams) -> Starlette:
    """An application with an endpoint below `/v1`."""
    return Starlette(routes=[Mount("/v1", streams)], lifespan=lambda _: streams.opened())


@pytest.fixture
def log() -> Log:
    """The log behind the client: opened and closed with it."""
    return Log(MemoryEngine())


@pytest.fixture
async def serve_streams(log: Log) -> AsyncIterator[Serve]:
    """Makes clients of an endpoint with other options."""
    async with AsyncExitStack() as stack:

        async def serve(**options: Any) -> Client:
            settings: dict[str, Any] = {"long_poll": 0.05, "upkeep": False, **options}
            return await stack.enter_async_context(Client(mounted(DurableStreams(log, **settings))))

        yield serve


@pytest.fixture
async def client(serve_streams: Serve) -> Client:
    """A client of an endpoint below `/v1`."""
    return await serve_streams()
