"""FastAPI: a `StreamingResponse` of a generator; as many threads as streams, not the default of 40.

Exports are synchronous generators: with a chunk for each thousand rows they are faster here than SQLAlchemy's
asynchronous engine, which changes greenlets for each fetch.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from peers.exports import as_csv, as_ndjson
from peers.generators import async_items, async_sleeps, items, sleeps


@asynccontextmanager
async def _threads(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = max(40, int(os.environ["BENCH_STREAMS"]))
    yield


app = FastAPI(lifespan=_threads)


@app.get("/sync/{count}/{size}")
async def sync(count: int, size: int) -> StreamingResponse:
    return StreamingResponse(items(count, size), media_type="application/octet-stream")


@app.get("/asynchronous/{count}/{size}")
async def asynchronous(count: int, size: int) -> StreamingResponse:
    return StreamingResponse(async_items(count, size), media_type="application/octet-stream")


@app.get("/sleep/{count}/{ms}")
async def sleep(count: int, ms: int) -> StreamingResponse:
    return StreamingResponse(sleeps(count, ms), media_type="text/plain")


@app.get("/asleep/{count}/{ms}")
async def asleep(count: int, ms: int) -> StreamingResponse:
    return StreamingResponse(async_sleeps(count, ms), media_type="text/plain")


@app.get("/flights.csv")
async def flights_csv(count: int) -> StreamingResponse:
    return StreamingResponse(as_csv(count), media_type="text/csv")


@app.get("/flights.ndjson")
async def flights_ndjson(count: int) -> StreamingResponse:
    return StreamingResponse(as_ndjson(count), media_type="application/x-ndjson")
