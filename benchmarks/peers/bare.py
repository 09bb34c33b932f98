"""A bare ASGI callable that sends each item itself, without any framework: what the server alone takes."""

import asyncio

from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    _, kind, count, argument = scope["path"].split("/") if scope["path"] != "/" else ("", "", "0", "0")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if kind == "asleep":
        for n in range(int(count)):
            await asyncio.sleep(int(argument) / 1000)
            await send({"type": "http.response.body", "body": b"item %d\n" % n, "more_body": True})
    else:
        item = b"x" * int(argument)
        for _ in range(int(count)):
            await send({"type": "http.response.body", "body": item, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
