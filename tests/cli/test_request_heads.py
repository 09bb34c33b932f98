"""The limit of a request's head, on a real `millstream serve`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE
from tests.wire.running import Running, started

from millstream.cli.request_heads import MAX_HEAD
from millstream.testing import BodyTruncated, WireClient, connect

pytestmark = pytest.mark.wire

APPLICATION = """
from millstream import Millstream, TGController, expose, request

class Root(TGController):
    @expose("json")
    async def index(self):
        size = sum([len(piece) async for piece in request.stream()])
        return {"headers": sorted(request.headers), "body": size}

app = Millstream(Root)
"""
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ntransfer-encoding: chunked\r\n\r\n"
TOO_LONG = b"a" * (MAX_HEAD + 1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("heads")
    (folder / "heads.py").write_text(APPLICATION)
    with started(["millstream", "serve", "heads:app"], folder, cwd=folder) as server:
        yield server


@pytest.fixture
def wire(running: Running) -> Iterator[WireClient]:
    with connect("127.0.0.1", running.port, timeout=PATIENCE) as connection:
        yield connection


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nx-a: " + TOO_LONG + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-a: " + TOO_LONG * 3,
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * MAX_HEAD + b"\r\n",
        b"GET /" + TOO_LONG + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /?" + TOO_LONG * 3,
    ],
    ids=["a long header", "a header without end", "many headers", "a long target", "a target without end"],
)
def test_a_head_that_is_too_long_is_refused_before_it_is_answered(wire: WireClient, head: bytes) -> None:
    wire.send_raw(head)
    reply = wire.read_head()
    assert (reply.status, reply.headers["connection"]) == (431, "close")


def test_a_head_within_the_limit_is_answered_and_the_next_on_its_connection_too(wire: WireClient) -> None:
    for _ in range(3):
        reply = wire.get("/", [("x-a", "a" * (MAX_HEAD - 1000))])
        assert reply.status == 200
        reply.rest()


def test_trailers_are_no_headers_and_as_limited(wire: WireClient) -> None:
    wire.send_raw(CHUNKED + b"3\r\nabc\r\n0\r\nx-forged: 1\r\n\r\n")
    told = wire.read_head().rest()
    assert b'"body":3' in told
    assert b"x-forged" not in told
    wire.send_raw(CHUNKED + b"3\r\nabc\r\n0\r\n" + b"x: y\r\n" * MAX_HEAD)
    with pytest.raises(BodyTruncated):
        wire.read_head()


def test_a_long_body_in_small_pieces_is_no_long_head(wire: WireClient) -> None:
    wire.send_raw(CHUNKED + b"1;ext=1\r\na\r\n" * MAX_HEAD + b"0\r\n\r\n")
    assert b'"body":%d' % MAX_HEAD in wire.read_head().rest()
