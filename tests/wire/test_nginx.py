"""Streams through a real nginx, configured as the guide to deployment says."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.wire.conftest import Probe, watched
from tests.wire.proxies import NGINX, Nginx, fronted

from millstream import Millstream, Reason, Settings, TGController, expose, request, stream
from millstream.testing import BodyTruncated, Server, WireClient, WireReply, serve

GUIDE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md"
READ_TIMEOUT: Final = 1.0
KEEP_ALIVE: Final = 0.25

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]


class Sync(TGController):
    @expose("ndjson", keep_alive=None)
    @expose("sse")
    @expose("csv")
    @expose("json")
    def one_by_one(self) -> Iterator[dict[str, int]]:
        seen = watched()
        for number in range(3):
            seen.note("made", number)
            yield {"number": number}
            seen.pass_gate(f"gate {number}")

    @expose("sse", keep_alive=KEEP_ALIVE)
    @expose("ndjson")
    def quiet(self) -> Iterator[int]:
        seen = watched()
        yield 1
        seen.pass_gate()
        yield 2

    @expose("ndjson", keep_alive=KEEP_ALIVE)
    def patient(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(600)

    @expose("ndjson", keep_alive=None)
    def silent(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(600)

    @expose("ndjson")
    def broken(self) -> Iterator[int]:
        seen = watched()
        yield 1
        seen.pass_gate()
        raise LookupError


class Async(TGController):
    @expose("ndjson", keep_alive=None)
    @expose("sse")
    @expose("csv")
    @expose("json")
    async def one_by_one(self) -> AsyncIterator[dict[str, int]]:
        seen = watched()
        for number in range(3):
            seen.note("made", number)
            yield {"number": number}
            await seen.passed_gate(f"gate {number}")

    @expose("sse", keep_alive=KEEP_ALIVE)
    @expose("ndjson")
    async def quiet(self) -> AsyncIterator[int]:
        seen = watched()
        yield 1
        await seen.passed_gate()
        yield 2

    @expose("ndjson", keep_alive=KEEP_ALIVE)
    async def patient(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await stream.sleep(600)

    @expose("ndjson", keep_alive=None)
    async def silent(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await stream.sleep(600)

    @expose("ndjson")
    async def broken(self) -> AsyncIterator[int]:
        seen = watched()
        yield 1
        await seen.passed_gate()
        raise LookupError


class Root(TGController):
    sync = Sync()
    aio = Async()

    @expose("json")
    async def who(self) -> dict[str, str]:
        return {"client": request.remote_addr, "scheme": request.url.scheme}

    @expose("ndjson", max_streams_per_client=1)
    async def once_each(self) -> AsyncIterator[int]:
        yield 1
        await stream.sleep(600)


app = Millstream(Root(), Settings(trusted_proxies="127.0.0.1"))


def guided(upstream: int) -> str:
    """What the guide says, with the addresses of this test and a shorter patience."""
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    said = found[1]
    for theirs, ours in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream};"),
        ("listen 80;", "listen 127.0.0.1:{port};"),
        ("proxy_read_timeout 60s;", f"proxy_read_timeout {READ_TIMEOUT:g}s;"),
    ):
        assert said.count(theirs) == 1, theirs
        said = said.replace(theirs, ours)
    return said


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(app, proxy_headers=False) as running:
        yield running


@pytest.fixture(scope="module")
def nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with fronted(tmp_path_factory.mktemp("nginx"), guided(server.port)) as running:
        yield running


@pytest.fixture
def wire(nginx: Nginx) -> Iterator[WireClient]:
    with nginx.connect() as connection:
        yield connection


def decoded(reply: WireReply) -> Iterator[bytes]:
    """The body as it arrives: what a chunk holds can be read before the next is there."""
    gzip = zlib.decompressobj(wbits=31) if reply.headers.get("content-encoding") == "gzip" else None
    for chunk in reply:
        yield gzip.decompress(chunk.data) if gzip is not None else chunk.data


def read_until(pieces: Iterator[bytes], wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        received += next(pieces)


@pytest.mark.parametrize("extension", ["ndjson", "sse", "csv", "json"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_each_item_arrives_before_the_next_is_made(
    wire: WireClient, kind: str, coding: str, extension: str, probe: Probe
) -> None:
    headers = [*probe.headers, ("accept-encoding", coding)]
    reply = wire.get(f"/{kind}/one_by_one.{extension}", headers)
    pieces = decoded(reply)
    for number in range(3):
        read_until(pieces, str(number).encode())
        assert probe.values("made") == list(range(number + 1))
        probe.open(f"gate {number}")
    reply.rest()
    assert reply.complete
    assert probe.wait_ended().reason is Reason.COMPLETED


@pytest.mark.parametrize(("extension", "sign"), [("sse", b": keep-alive\n"), ("ndjson", b"\n")])
def test_signs_of_life_carry_a_silent_stream_past_the_proxys_patience(
    wire: WireClient, kind: str, extension: str, sign: bytes, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/quiet.{extension}", probe.headers)
    pieces = decoded(reply)
    read_until(pieces, b"1")
    began = time.monotonic()
    while time.monotonic() - began < 1.5 * READ_TIMEOUT:
        read_until(pieces, sign)
    probe.open()
    assert b"2" in reply.rest()
    assert reply.complete


def test_without_them_the_proxy_gives_up_and_the_client_sees_it(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    with pytest.raises(BodyTruncated):
        wire.get(f"/{kind}/silent", probe.headers).rest()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_body_that_is_broken_off_is_broken_off_by_the_proxy_too(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/broken", probe.headers)
    read_until(decoded(reply), b"1")
    probe.open()
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    assert b'"status":500' in truncated.value.received


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_the_proxy_is_noticed(
    wire: WireClient, kind: str, how: str, probe: Probe
) -> None:
    read_until(decoded(wire.get(f"/{kind}/patient", probe.headers)), b"1")
    getattr(wire, how)()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_a_client_is_who_the_proxy_says_whatever_it_says_itself(wire: WireClient) -> None:
    spoofed = [("x-forwarded-for", "192.0.2.1, 127.0.0.1"), ("forwarded", "for=192.0.2.1;proto=https")]
    for headers in ([], spoofed, [*spoofed, ("x-forwarded-proto", "https")]):
        reply = wire.get("/who", headers)
        assert json.loads(reply.rest()) == {"client": "127.0.0.2", "scheme": "http"}


def test_each_client_of_the_proxy_has_its_own_cap(nginx: Nginx) -> None:
    with ExitStack() as crowd:
        for source, status in (("127.0.0.2", 200), ("127.0.0.3", 200), ("127.0.0.2", 429)):
            reply = crowd.enter_context(nginx.connect(source)).get("/once_each")
            assert reply.status == status
            reply.next_chunk()
