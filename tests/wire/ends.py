"""Bodies that end in all ways, for any server to run: each request carries a plan of what it does.

`/ended` tells afterwards what became of a request: whether it was committed, and the reason of its end.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from millstream import (
    ASGIAppController,
    Millstream,
    Settings,
    TGController,
    abort,
    expose,
    request,
    response,
    stream,
)
from millstream.errors import OutsideRequest
from millstream.protocol.events import Reason, Statistics
from millstream.protocol.ports import Join

COMMITTED: set[str] = set()
ENDED: dict[str, str] = {}


def plan() -> dict[str, Any]:
    """What this request is to do: `id`, `sizes` of its items, `length` to declare, `fails` and where."""
    told: dict[str, Any] = json.loads(request.headers["x-plan"])
    return told


class Rows:
    """A participant whose rows are lasting when they are committed, which fails where the plan says."""

    def begin(self, join: Join) -> None:
        try:
            if "x-plan" in request.headers:
                join(Row(plan()))
        except KeyError:
            raise OutsideRequest("plan") from None


class Row:
    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def prepare(self) -> None:
        if self._told.get("fails") == "vote":
            raise RuntimeError("the vote is no")

    def commit(self) -> None:
        if self._told.get("fails") == "commit":
            raise RuntimeError("the disk is full")
        COMMITTED.add(self._told["id"])

    def abort(self) -> None: ...

    def rest(self) -> None: ...

    def close(self) -> None: ...


def told() -> dict[str, Any]:
    """Begin as the plan says: its end will be noted, and a length declared."""
    planned = plan()

    def note(reason: Reason, _: Statistics) -> None:
        ENDED[planned["id"]] = str(reason)

    stream.on_end(note)
    if planned.get("length") is not None:
        response.headers["content-length"] = str(planned["length"])
    if planned.get("status"):
        response.status = planned["status"]
    return planned


def items(planned: dict[str, Any]) -> Iterator[Any]:
    for number, size in enumerate(planned["sizes"]):
        if planned.get("fails") == "raise" and planned.get("at", 0) == number:
            raise LookupError("as planned")
        text = "x" * size
        yield {"a": text} if request.path_info.endswith(".csv") else text
    if planned.get("fails") == "raise":
        raise LookupError("as planned")


async def stepped(them: Iterator[Any]) -> AsyncIterator[Any]:
    for item in them:
        yield item


class Sync(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("csv")
    def body(self) -> Iterator[Any]:
        planned = told()
        yield from items(planned)
        if "waits" in planned:
            stream.sleep(planned["waits"])

    @expose("sse")
    def events(self) -> Iterator[Any]:
        return items(told())  # the head of server-sent events does not wait for a generator's first step

    @expose()
    def streamed(self) -> Response:
        return StreamingResponse(items(told()), media_type="text/plain")

    @expose()
    def at_once(self) -> Response:
        planned = told()
        answer = PlainTextResponse("".join(items(planned)))
        if planned.get("length") is not None:
            answer.headers["content-length"] = str(planned["length"])
        return answer


class Async(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("csv")
    async def body(self) -> AsyncIterator[Any]:
        planned = told()
        for item in items(planned):
            yield item
        if "waits" in planned:
            await stream.sleep(planned["waits"])

    @expose("sse")
    async def events(self) -> AsyncIterator[Any]:
        return stepped(items(told()))

    @expose()
    async def streamed(self) -> Response:
        return StreamingResponse(stepped(items(told())), media_type="text/plain")

    @expose()
    async def at_once(self) -> Response:
        return Sync.at_once(Sync())


async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that knows nothing of us but what it uses of ours."""
    planned = plan()
    stream.on_end(lambda reason, _: ENDED.update({planned["id"]: str(reason)}))
    headers = [(b"content-type", b"text/plain")]
    if planned.get("length") is not None:
        headers.append((b"content-length", str(planned["length"]).encode()))
    await send({"type": "http.response.start", "status": planned.get("status", 200), "headers": headers})
    for item in items(planned):
        await send({"type": "http.response.body", "body": item.encode(), "more_body": True})
    if planned.get("fails") == "return":
        return
    await send({"type": "http.response.body", "body": planned.get("last", "").encode()})


class Root(TGController):
    sync = Sync()
    aio = Async()
    mounted = ASGIAppController(mounted)

    @expose("json")
    def ended(self, id: str) -> dict[str, Any]:  # noqa: A002  as it is spelled in the plan
        if id not in ENDED:
            abort(404)
        return {"committed": id in COMMITTED, "reason": ENDED[id]}


app = Millstream(Root(), Settings(compression=False), participants=[Rows()])


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


within = BaseHTTPMiddleware(app, pass_on)
"""The same inside of a middleware that runs it in a task of its own."""
