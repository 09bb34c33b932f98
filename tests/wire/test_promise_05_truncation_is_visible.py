from __future__ import annotations

import gzip
import json
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp
from tests.wire.conftest import needs_curl

from millstream import Millstream, TGController, expose
from millstream.testing import BodyTruncated, EventReader, Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

PRIVATE = "the password is swordfish"
CURL_PARTIAL_FILE = 18  # "transfer closed with outstanding read data remaining"


class Sync(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    def broken(self) -> Iterator[str]:
        yield "one"
        yield "two"
        raise ValueError(PRIVATE)

    @expose("csv")
    def broken_rows(self) -> Iterator[dict[str, int]]:
        yield {"a": 1}
        yield {"a": 2}
        raise ValueError(PRIVATE)

    @expose("ndjson")
    def large(self) -> Iterator[str]:
        for _ in range(300):
            yield "x" * 10_000
        raise ValueError(PRIVATE)

    @expose("ndjson")
    def broken_cleanup(self) -> Iterator[str]:
        try:
            yield "one"
        finally:
            raise ValueError(PRIVATE)


class Async(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    async def broken(self) -> AsyncIterator[str]:
        yield "one"
        yield "two"
        raise ValueError(PRIVATE)

    @expose("csv")
    async def broken_rows(self) -> AsyncIterator[dict[str, int]]:
        yield {"a": 1}
        yield {"a": 2}
        raise ValueError(PRIVATE)

    @expose("ndjson")
    async def large(self) -> AsyncIterator[str]:
        for _ in range(300):
            yield "x" * 10_000
        raise ValueError(PRIVATE)

    @expose("ndjson")
    async def broken_cleanup(self) -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            raise ValueError(PRIVATE)


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def in_fastapi() -> ASGIApp:
    api = FastAPI()
    api.middleware("http")(pass_on)
    api.mount("/below", Millstream(Root()))
    return api


AROUND: dict[str, tuple[ASGIApp, str]] = {
    "BaseHTTPMiddleware": (BaseHTTPMiddleware(Millstream(Root()), pass_on), ""),
    "two of them": (BaseHTTPMiddleware(BaseHTTPMiddleware(Millstream(Root()), pass_on), pass_on), ""),
    "GZip inside of two": (
        BaseHTTPMiddleware(BaseHTTPMiddleware(GZipMiddleware(Millstream(Root())), pass_on), pass_on),
        "",
    ),
    "GZip inside": (BaseHTTPMiddleware(GZipMiddleware(Millstream(Root())), pass_on), ""),
    "GZip outside": (GZipMiddleware(BaseHTTPMiddleware(Millstream(Root()), pass_on)), ""),
    "Starlette": (Starlette(routes=[Mount("/below", Millstream(Root()))]), "/below"),
    "FastAPI": (in_fastapi(), "/below"),
}


COMPRESSED: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "GZip": GZipMiddleware,
    "GZip outside": lambda app: GZipMiddleware(BaseHTTPMiddleware(app, pass_on)),
    "GZip inside": lambda app: BaseHTTPMiddleware(GZipMiddleware(app), pass_on),
}


@pytest.fixture(scope="module", params=AROUND)
def around(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    """Our application inside something else, and the prefix it has there."""
    outer, prefix = AROUND[request.param]
    with serve(outer) as server:
        yield server, prefix


def broken_off(wire: WireClient, path: str, *headers: tuple[str, str]) -> bytes:
    """What came of a body that was broken off; that it was is required."""
    reply = wire.get(path, headers)
    assert reply.status == 200
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    assert not wire.raw.endswith(b"0\r\n\r\n")
    assert b"swordfish" not in wire.raw
    return truncated.value.received


@pytest.mark.parametrize(
    ("extension", "received"),
    [
        ("html", b"onetwo"),
        ("json", b'["one",\n"two"'),
        (
            "ndjson",
            b'"one"\n"two"\n{"error":{"type":"about:blank","title":"Internal Server Error","status":500}}\n',
        ),
    ],
)
def test_a_failure_at_the_third_item_sends_the_first_two_and_no_end(
    wire: WireClient, kind: str, extension: str, received: bytes
) -> None:
    assert broken_off(wire, f"/{kind}/broken.{extension}") == received


def test_a_failed_event_stream_ends_with_an_error_event(wire: WireClient, kind: str) -> None:
    events = EventReader().feed(broken_off(wire, f"/{kind}/broken.sse"))
    assert [event.data for event in events[:2]] == ["one", "two"]
    assert (events[-1].event, json.loads(events[-1].data)["status"]) == ("error", 500)


def test_a_failure_does_not_take_back_what_was_produced_before(wire: WireClient, kind: str) -> None:
    *items, last = broken_off(wire, f"/{kind}/large").splitlines()
    assert items == [json.dumps("x" * 10_000).encode()] * 300
    assert "error" in json.loads(last)


def test_a_cleanup_that_fails_is_a_failure_of_the_stream(wire: WireClient, kind: str) -> None:
    item, last = broken_off(wire, f"/{kind}/broken_cleanup").splitlines()
    assert (item, json.loads(last)["error"]["status"]) == (b'"one"', 500)


def test_a_failed_table_ends_after_its_last_whole_row(wire: WireClient, kind: str) -> None:
    assert broken_off(wire, f"/{kind}/broken_rows").split() == [b"a", b"1", b"2"]


@needs_curl
@pytest.mark.parametrize(
    "action", ["broken.html", "broken.json", "broken.ndjson", "broken.sse", "broken_rows.csv"]
)
def test_curl_reports_a_broken_body(server: Server, kind: str, action: str) -> None:
    url = f"{server.url}/{kind}/{action}"
    curl = subprocess.run(["curl", "-sS", url], capture_output=True, timeout=10, check=False)  # noqa: S603, S607  the curl of whoever runs the tests, with our own URL
    assert curl.returncode == CURL_PARTIAL_FILE
    assert b"one" in curl.stdout or b"1" in curl.stdout


def test_a_failure_is_logged_once_with_its_traceback(
    wire: WireClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken_off(wire, f"/{kind}/broken.json")
    [record] = [record for record in caplog.records if record.name.startswith("millstream")]
    assert record.getMessage().endswith("broken failed after 2 items, 13 bytes")
    assert record.exc_info is not None
    assert PRIVATE in str(record.exc_info[1])


def test_a_broken_body_stays_broken_inside_other_frameworks(around: tuple[Server, str], kind: str) -> None:
    server, prefix = around
    with connect(server.host, server.port) as wire:
        received = broken_off(wire, f"{prefix}/{kind}/broken.ndjson")
    assert received.splitlines()[:2] == [b'"one"', b'"two"']
    assert "error" in json.loads(received.splitlines()[2])


@pytest.mark.parametrize("outside", COMPRESSED)
def test_a_compressed_body_that_breaks_off_has_no_valid_end(kind: str, outside: str) -> None:
    with serve(COMPRESSED[outside](Millstream(Root()))) as server, connect(server.host, server.port) as wire:
        received = broken_off(wire, f"/{kind}/large", ("accept-encoding", "gzip"))
    assert zlib.decompressobj(wbits=31).decompress(received).startswith(b'"xxx')
    with pytest.raises(EOFError):
        gzip.decompress(received)
