"""The longest body: of the application, of one action, parsed or streamed, declared or not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.wire.conftest import Probe, watched

from millstream import Millstream, Reason, Settings, TGController, expose, request
from millstream.testing import BodyTruncated, WireClient

pytestmark = pytest.mark.wire

OF_ALL, OWN, PARSED = 1000, 10, 3000
FORM = ("content-type", "application/x-www-form-urlencoded")
JSON = ("content-type", "application/json")
BYTES = ("content-type", "application/octet-stream")
CHUNKED = ("transfer-encoding", "chunked")


class Sync(TGController):
    @expose("json")
    def usual(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("json", max_body=OWN)
    def little(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("json", max_body=None)
    def much(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("ndjson")
    def pieces(self) -> Iterator[int]:
        watched()
        for piece in request.stream():
            yield len(piece)


class Async(TGController):
    @expose("json")
    async def usual(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("json", max_body=OWN)
    async def little(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("json", max_body=None)
    async def much(self, field: str = "") -> dict[str, int]:
        return {"length": len(field)}

    @expose("ndjson")
    async def pieces(self) -> AsyncIterator[int]:
        watched()
        async for piece in request.stream():
            yield len(piece)


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root(), Settings(max_body=OF_ALL, max_parsed_body=PARSED))


def form(length: int) -> bytes:
    return b"field=" + b"x" * (length - 6)


def document(length: int) -> bytes:
    return b'{"field":"%b"}' % (b"x" * (length - 12))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("path", "longest"), [("usual", OF_ALL), ("little", OWN), ("much", PARSED)], ids=["usual", "less", "more"]
)
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(("field", "made"), [(FORM, form), (JSON, document)], ids=["form", "json"])
def test_what_is_parsed_is_never_longer_than_its_action_allows(  # noqa: PLR0917
    wire: WireClient, kind: str, path: str, longest: int, chunked: bool, field: tuple[str, str], made: object
) -> None:
    assert callable(made)
    for length, status in ((max(longest, 13), 200 if longest >= 13 else 413), (longest + 1 + 12, 413)):
        body = made(length)
        if chunked:
            wire.send(f"/{kind}/{path}", [field, CHUNKED], method="POST")
            wire.send_raw(chunk(body) + b"0\r\n\r\n")
            reply = wire.read_head("POST")
        else:
            reply = wire.get(f"/{kind}/{path}", [field], method="POST", body=body)
        assert reply.status == status
        told = json.loads(reply.rest())
        assert status == 200 or told["detail"].endswith(f"{longest} bytes this application takes")


def test_a_streamed_body_that_is_declared_too_long_is_refused_before_it_comes(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    declared = [BYTES, ("content-length", str(OF_ALL + 1)), *probe.headers]
    wire.send(f"/{kind}/pieces", declared, method="POST")
    assert wire.read_head("POST").status == 413


def test_a_streamed_body_that_becomes_too_long_breaks_the_response_off(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.send(f"/{kind}/pieces", [BYTES, CHUNKED, *probe.headers], method="POST")
    wire.send_raw(chunk(b"x" * OF_ALL))
    reply = wire.read_head("POST")
    assert reply.status == 200
    assert reply.next_chunk() is not None
    wire.send_raw(chunk(b"x"))
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    assert b'"status":413' in truncated.value.received
    assert probe.wait_ended().reason is Reason.FAILED
