"""Promise 17: compression flushes; each write can be decoded at once, and the head is not delayed."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import brotli  # type: ignore[import-untyped]  # it has no types
import pytest
import zstandard
from tests.wire.conftest import Probe, here, needs_curl, watched

from millstream import Millstream, Reason, TGController, expose, inject_html
from millstream.testing import BodyTruncated, Framing, Server, WireClient, WireReply

pytestmark = pytest.mark.wire

ITEMS = 5
Decode = Callable[[bytes], bytes]


class Sync(TGController):
    @expose("ndjson")
    def steps(self) -> Iterator[str]:
        seen = watched()
        for number in range(ITEMS):
            seen.note("produced", number)
            yield f"item {number}"
            seen.pass_gate(str(number))

    @expose("sse")
    def waits(self) -> Iterator[str]:
        here().pass_gate()
        yield "first"

    @expose("ndjson")
    def broken(self) -> Iterator[int]:
        yield from range(1000)
        raise ValueError

    @expose("ndjson", keep_alive=0.02)
    def silent(self) -> Iterator[int]:
        yield 1
        here().pass_gate()

    @expose(content_type="text/html")
    def page(self) -> Iterator[str]:
        yield "<p>"
        yield "</body>"

    @expose(content_type="text/html")
    def whole(self) -> str:
        return "<p>süß</p>" * 1000 + "</body>"

    @expose("ndjson", compression=False)
    def plain(self) -> Iterator[int]:
        yield 1

    @expose(content_type="text/plain")
    def tiny(self) -> str:
        return "x"

    @expose(content_type="image/png")
    def picture(self) -> Iterator[bytes]:
        yield bytes(10_000)


class Async(TGController):
    @expose("ndjson")
    async def steps(self) -> AsyncIterator[str]:
        seen = watched()
        for number in range(ITEMS):
            seen.note("produced", number)
            yield f"item {number}"
            await seen.passed_gate(str(number))

    @expose("sse")
    async def waits(self) -> AsyncIterator[str]:
        await here().passed_gate()
        yield "first"

    @expose("ndjson")
    async def broken(self) -> AsyncIterator[int]:
        for number in range(1000):
            yield number
        raise ValueError

    @expose("ndjson", keep_alive=0.02)
    async def silent(self) -> AsyncIterator[int]:
        yield 1
        await here().passed_gate()

    @expose(content_type="text/html")
    async def page(self) -> AsyncIterator[str]:
        yield "<p>"
        yield "</body>"

    @expose(content_type="text/html")
    async def whole(self) -> str:
        return "<p>süß</p>" * 1000 + "</body>"

    @expose("ndjson", compression=False)
    async def plain(self) -> AsyncIterator[int]:
        yield 1

    @expose(content_type="text/plain")
    async def tiny(self) -> str:
        return "x"

    @expose(content_type="image/png")
    async def picture(self) -> AsyncIterator[bytes]:
        yield bytes(10_000)


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root(), transforms=[inject_html("<i></i>")])


def decoder(coding: str) -> Decode:
    """A client's decoder, which gives what can be known until now."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress
    if coding == "br":
        made: Decode = brotli.Decompressor().process
        return made
    return zstandard.ZstdDecompressor().decompressobj().decompress


@pytest.fixture(params=["gzip", "br", "zstd"])
def coding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(wire: WireClient, path: str, coding: str, *headers: tuple[str, str], **more: Any) -> WireReply:
    return wire.get(path, [("accept-encoding", coding), *headers], **more)


def decoded(reply: WireReply, decode: Decode, until: bytes) -> bytes:
    """Read until this has been decoded."""
    received = b""
    while until not in received:
        piece = reply.next_chunk()
        assert piece is not None, received
        received += decode(piece.data)
    return received


def test_each_item_is_decoded_before_the_next_is_produced(
    wire: WireClient, kind: str, coding: str, probe: Probe
) -> None:
    reply = asked(wire, f"/{kind}/steps", coding, *probe.headers)
    assert reply.headers["content-encoding"] == coding
    assert reply.headers["vary"] == "Accept-Encoding"
    decode = decoder(coding)
    for number in range(ITEMS):
        assert decoded(reply, decode, b"\n") == b'"item %d"\n' % number
        assert probe.values("produced") == list(range(number + 1))
        probe.open(str(number))
    assert decode(reply.rest()) == b""
    assert probe.wait_ended().reason is Reason.COMPLETED


def test_the_head_does_not_wait_for_the_first_item(
    wire: WireClient, kind: str, coding: str, probe: Probe
) -> None:
    reply = asked(wire, f"/{kind}/waits", coding, *probe.headers)
    decode = decoder(coding)
    assert decoded(reply, decode, b"\n") == b": open\n"
    probe.open()
    assert decode(reply.rest()).startswith(b"data: first\n\n")


def test_a_sign_of_life_passes_through(wire: WireClient, kind: str, coding: str, probe: Probe) -> None:
    reply = asked(wire, f"/{kind}/silent", coding, *probe.headers)
    assert decoded(reply, decoder(coding), b"1\n\n\n").startswith(b"1\n\n\n")
    probe.open()
    reply.rest()
    assert reply.complete


def test_what_is_broken_off_is_broken_for_the_decoder_as_well(
    wire: WireClient, kind: str, coding: str
) -> None:
    reply = asked(wire, f"/{kind}/broken", coding)
    with pytest.raises(BodyTruncated) as broken:
        reply.rest()
    lines = decoder(coding)(broken.value.received).splitlines()
    assert lines[:1000] == [b"%d" % number for number in range(1000)]
    assert lines[1000].startswith(b'{"error":')


@needs_curl
@pytest.mark.parametrize(("path", "fails"), [("broken", True), ("page", False)])
def test_curl_sees_what_is_broken_off(server: Server, kind: str, path: str, *, fails: bool) -> None:
    command = ["curl", "-sS", "--compressed", f"{server.url}/{kind}/{path}"]
    ended = subprocess.run(command, capture_output=True, timeout=20, check=False)  # noqa: S603
    assert (ended.returncode != 0) == fails
    assert ended.stdout.startswith(b"0\n1\n" if fails else b"<p><i></i></body>")


def test_it_comes_after_the_transforms_that_see_text(wire: WireClient, kind: str, coding: str) -> None:
    for path in ("page", "whole"):
        reply = asked(wire, f"/{kind}/{path}", coding)
        assert reply.headers["content-encoding"] == coding
        assert decoder(coding)(reply.rest()).endswith(b"<i></i></body>")
        assert (reply.framing is Framing.LENGTH) == (path == "whole")


@pytest.mark.parametrize("path", ["plain", "tiny", "picture"])
def test_what_gains_nothing_or_is_told_not_to_is_sent_as_it_is(
    wire: WireClient, kind: str, path: str, coding: str
) -> None:
    reply = asked(wire, f"/{kind}/{path}", coding)
    assert "content-encoding" not in reply.headers
    assert reply.rest()


def test_head_is_told_what_get_would_be(wire: WireClient, kind: str, coding: str) -> None:
    reply = asked(wire, f"/{kind}/page", coding, method="HEAD")
    assert (reply.headers["content-encoding"], reply.headers["vary"]) == (coding, "Accept-Encoding")
