"""Inside other applications, below a prefix, and with Starlette's own middlewares around."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator
from secrets import token_hex
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.wire.conftest import PATIENCE, Probe, here, watched

from millstream import (
    ASGIAppController,
    Millstream,
    Reason,
    TGController,
    expose,
    redirect,
    request,
    stream,
    url,
)
from millstream.testing import Framing, Server, WireClient, connect, serve

pytestmark = pytest.mark.wire


class Sync(TGController):
    @expose("ndjson")
    def where(self) -> Iterator[Any]:
        try:
            yield [
                request.path_info,
                request.script_name,
                request.path,
                url("/here"),
                url("/", qualified=True),
            ]
        finally:
            here().note("closed", request.path_info)

    @expose()
    def step(self) -> Iterator[str]:
        seen = watched()
        yield "one"
        seen.pass_gate()
        yield "two"

    @expose()
    def idle(self) -> Iterator[str]:
        watched()
        yield "one"
        stream.sleep(600)

    @expose()
    def session(self) -> Iterator[str]:
        request.session["seen"] = request.session.get("seen", 0) + 1
        yield str(request.session["seen"])

    @expose()
    def led_on(self) -> None:
        redirect("/sync/where")


class Async(TGController):
    @expose("ndjson")
    async def where(self) -> AsyncIterator[Any]:
        try:
            yield [
                request.path_info,
                request.script_name,
                request.path,
                url("/here"),
                url("/", qualified=True),
            ]
        finally:
            here().note("closed", request.path_info)

    @expose()
    async def step(self) -> AsyncIterator[str]:
        seen = watched()
        yield "one"
        await seen.passed_gate()
        yield "two"

    @expose()
    async def idle(self) -> AsyncIterator[str]:
        watched()
        yield "one"
        await stream.sleep(600)

    @expose()
    async def session(self) -> AsyncIterator[str]:
        request.session["seen"] = request.session.get("seen", 0) + 1
        yield str(request.session["seen"])

    @expose()
    async def led_on(self) -> None:
        redirect("/aio/where")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello from {request.url.path} in {request.scope['root_path']}")


async def talk(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 1000})


async def any_scope(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await talk(scope, receive, send)
    else:
        await Starlette(routes=[Route("/hello", hello)])(scope, receive, send)


class Root(TGController):
    sync = Sync()
    aio = Async()
    theirs = ASGIAppController(any_scope)


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    answer = await call_next(request)
    answer.headers["x-passed"] = "yes"
    return answer


def in_fastapi() -> FastAPI:
    api = FastAPI()
    api.middleware("http")(pass_on)
    api.mount("/outer/inner", Millstream(Root()))
    return api


MIDDLEWARES = [
    Middleware(CORSMiddleware, allow_origins=["*"]),
    Middleware(SessionMiddleware, secret_key=token_hex()),
    Middleware(BaseHTTPMiddleware, dispatch=pass_on),
    Middleware(GZipMiddleware),
]
APPS: dict[str, tuple[ASGIApp, str]] = {
    "FastAPI": (in_fastapi(), "/outer/inner"),
    "Starlette": (Starlette(routes=[Mount("/outer/inner", Millstream(Root()))]), "/outer/inner"),
    "middlewares": (Starlette(routes=[Mount("/", Millstream(Root()))], middleware=MIDDLEWARES), ""),
    "another Millstream": (
        Millstream(type("Outer", (TGController,), {"outer": ASGIAppController(Millstream(Root()))})()),
        "/outer",
    ),
    "alone": (Millstream(Root()), ""),
}
ORIGIN = [("origin", "https://elsewhere.example")]
UPGRADE = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.fixture(scope="module", params=APPS)
def mounted(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    """A server, and the prefix our application has there."""
    outer, prefix = APPS[request.param]
    with serve(outer) as server:
        yield server, prefix


@pytest.fixture
def prefix(mounted: tuple[Server, str]) -> str:
    return mounted[1]


@pytest.fixture
def wire(mounted: tuple[Server, str]) -> Iterator[WireClient]:
    server, _ = mounted
    with connect(server.host, server.port, timeout=PATIENCE) as connection:
        yield connection


@pytest.fixture(scope="module")
def wrapped() -> Iterator[Server]:
    """With Starlette's middlewares around."""
    everything = Starlette(routes=[Mount("/", Millstream(Root()))], middleware=MIDDLEWARES)
    with serve(everything) as server:
        yield server


def test_an_action_knows_where_it_is_also_in_its_cleanup(
    wire: WireClient, prefix: str, kind: str, probe: Probe
) -> None:
    host = "http://{}:{}".format(*wire.socket.getpeername())
    path = f"/{kind}/where"
    (line,) = wire.get(prefix + path, probe.headers)
    told = [path, prefix, prefix + path, prefix + "/here", host + prefix + "/"]
    assert line.data.decode() == '["' + '","'.join(told) + '"]\n'
    assert probe.wait("closed") == path


def test_a_redirect_stays_below_the_prefix(wire: WireClient, prefix: str, kind: str) -> None:
    assert wire.get(f"{prefix}/{kind}/led_on").headers["location"] == f"{prefix}/{kind}/where"


def test_an_item_passes_before_the_next_exists(
    wire: WireClient, prefix: str, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"{prefix}/{kind}/step", probe.headers)
    chunk = reply.next_chunk()
    assert chunk is not None
    assert chunk.data == b"one"
    probe.open()
    assert reply.rest() == b"two"
    assert probe.wait_ended().reason is Reason.COMPLETED


def test_a_leaver_is_noticed_through_whatever_is_around(
    wire: WireClient, prefix: str, kind: str, probe: Probe
) -> None:
    wire.get(f"{prefix}/{kind}/idle", probe.headers).next_chunk()
    wire.close()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_path_nobody_knows_is_our_404(wire: WireClient, prefix: str) -> None:
    reply = wire.get(f"{prefix}/nowhere")
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


def test_an_application_mounted_in_ours_answers_below_its_name(wire: WireClient, prefix: str) -> None:
    reply = wire.get(f"{prefix}/theirs/hello")
    assert (reply.status, reply.framing) == (200, Framing.LENGTH)
    assert reply.rest() == f"hello from {prefix}/theirs/hello in {prefix}/theirs".encode()


def test_a_websocket_to_us_is_refused_and_one_to_a_mounted_application_is_its_own(
    wire: WireClient, mounted: tuple[Server, str]
) -> None:
    server, prefix = mounted
    assert wire.get(f"{prefix}/sync/step", UPGRADE).status == 403
    with connect(server.host, server.port) as other:
        other.send(f"{prefix}/theirs/talk", UPGRADE)
        head = other.inlet.until(b"\r\n\r\n", "the upgrade", "the head", PATIENCE)
        assert head.startswith(b"HTTP/1.1 101 ")


def test_middlewares_add_their_headers_to_a_stream(wrapped: Server, kind: str, probe: Probe) -> None:
    probe.open()
    with connect(wrapped.host, wrapped.port) as wire:
        reply = wire.get(f"/{kind}/step", [*probe.headers, *ORIGIN])
        assert (reply.headers["access-control-allow-origin"], reply.headers["x-passed"]) == ("*", "yes")
        assert reply.rest() == b"onetwo"


def test_a_session_lasts_from_one_stream_to_the_next(wrapped: Server, kind: str) -> None:
    with connect(wrapped.host, wrapped.port) as wire:
        first = wire.get(f"/{kind}/session")
        cookie = first.headers["set-cookie"].partition(";")[0]
        assert first.rest() == b"1"
        assert wire.get(f"/{kind}/session", [("cookie", cookie)]).rest() == b"2"


def test_a_compressed_stream_can_be_read(wrapped: Server, kind: str, probe: Probe) -> None:
    probe.open()
    with connect(wrapped.host, wrapped.port) as wire:
        reply = wire.get(f"/{kind}/step", [*probe.headers, ("accept-encoding", "gzip")])
        body = reply.rest()
    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"onetwo"
