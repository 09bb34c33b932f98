"""The same streams on Millstream, on Starlette and on a bare ASGI callable, each in its idiomatic form.

`/sync/COUNT/SIZE` and `/async/COUNT/SIZE` send COUNT items of SIZE bytes.
"""

from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millstream import Millstream, Settings, TGController, expose


class Root(TGController):
    @expose(content_type="application/octet-stream")
    def sync(self, count: int, size: int):
        item = b"x" * size
        for _ in range(count):
            yield item

    @expose(content_type="application/octet-stream")
    async def asynchronous(self, count: int, size: int):
        item = b"x" * size
        for _ in range(count):
            yield item


millstream = Millstream(Root(), Settings())


def _sync_items(count: int, item: bytes) -> Iterator[bytes]:
    for _ in range(count):
        yield item


async def _async_items(count: int, item: bytes) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield item


def _starlette(request: Request, items) -> StreamingResponse:
    return StreamingResponse(items(request.path_params["count"], b"x" * request.path_params["size"]))


starlette = Starlette(
    routes=[
        Route("/sync/{count:int}/{size:int}", lambda request: _starlette(request, _sync_items)),
        Route("/asynchronous/{count:int}/{size:int}", lambda request: _starlette(request, _async_items)),
    ]
)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    _, _, count, size = scope["path"].split("/")
    item = b"x" * int(size)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(count)):
        await send({"type": "http.response.body", "body": item, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
