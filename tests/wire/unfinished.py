"""An application whose requests wait before their streams begin, for servers in processes of their own."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from starlette.types import Receive, Scope, Send

from millstream import (
    ASGIAppController,
    Millstream,
    RestController,
    Settings,
    TGController,
    expose,
    request,
    stream,
)


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that waits for a body."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Posts(RestController):
    @expose("json")
    def post(self, a: str) -> str:
        return a


class Root(TGController):
    posts = Posts()
    mounted = ASGIAppController(swallow)

    @expose("json")
    def sync(self, **fields: Any) -> Any:
        return fields

    @expose("json")
    async def aio(self, a: str) -> Any:
        return a

    @expose("ndjson", durable=True)
    def durable(self, a: str) -> Any:
        yield a

    @expose()
    def raw_sync(self) -> str:
        return str(len(list(request.stream())))

    @expose()
    async def raw_aio(self) -> str:
        return str(len(await request.body()))

    @expose()
    async def waiting_aio(self) -> str:
        await asyncio.sleep(600)
        return "late"

    @expose()
    def waiting_sync(self) -> str:
        stream.sleep(600)
        return "late"


app = Millstream(Root(), Settings(drain_timeout=float(os.environ.get("DRAIN", "10")), durable_url="memory:"))
