"""A bare ASGI callable that sends each item itself, without any framework."""

from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    _, _, count, size = scope["path"].split("/") if scope["path"] != "/" else ("", "", "0", "0")
    item = b"x" * int(size)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(count)):
        await send({"type": "http.response.body", "body": item, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
