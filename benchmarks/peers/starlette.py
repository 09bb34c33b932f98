"""Starlette: a `StreamingResponse` of a generator; as many threads as streams, not the default of 40."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from peers.generators import async_items, async_sleeps, items, sleeps


def _route(path: str, generator) -> Route:
    async def endpoint(request: Request) -> StreamingResponse:
        return StreamingResponse(generator(**request.path_params), media_type="application/octet-stream")

    return Route(path, endpoint)


@asynccontextmanager
async def _threads(app: Starlette) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = max(40, int(os.environ["BENCH_STREAMS"]))
    yield


app = Starlette(
    routes=[
        _route("/sync/{count:int}/{size:int}", items),
        _route("/asynchronous/{count:int}/{size:int}", async_items),
        _route("/sleep/{count:int}/{ms:int}", sleeps),
        _route("/asleep/{count:int}/{ms:int}", async_sleeps),
    ],
    lifespan=_threads,
)
