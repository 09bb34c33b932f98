from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from tests.wire.conftest import Probe, here, watched

from millstream import (
    Member,
    Millstream,
    Part,
    TGController,
    abort,
    expose,
    redirect,
    request,
    response,
    stream,
)
from millstream.errors import OutsideRequest
from millstream.protocol.ports import Join
from millstream.testing import BodyTruncated, TimedOut, WireClient

pytestmark = pytest.mark.wire


class Noted:
    """A participant that notes what is asked of it, waits where the test wants, and fails where it wants."""

    def begin(self, join: Join) -> None:
        try:
            join(Unit(here()))
        except KeyError:
            raise OutsideRequest("probe") from None


class Unit:
    def __init__(self, seen: Probe) -> None:
        self._seen = seen

    def prepare(self) -> None:
        self._seen.note("prepare")
        if self._seen.values("fail the vote"):
            raise RuntimeError("the vote is no")

    def commit(self) -> None:
        if self._seen.values("hold the commit"):
            self._seen.pass_gate("commit")
        self._seen.note("commit")
        if self._seen.values("fail the commit"):
            raise RuntimeError("the disk is full")

    def abort(self) -> None:
        self._seen.note("abort")

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self._seen.note("close")


def lead() -> None:
    watched()
    response.set_cookie("seen", "yes")
    if "starlette" in request.query_params:
        raise HTTPException(303, headers={"Location": "/there"})
    redirect("/there", status=303)


def leading() -> Iterator[bytes]:
    lead()
    yield b""


class Guarded(TGController):
    def _check_security(self) -> None:
        lead()

    @expose()
    def page(self) -> str:
        return ""


class Sync(TGController):
    @expose("json")
    def two(self) -> Iterator[int]:
        watched()
        yield 1
        yield 2

    @expose("json")
    def broken(self) -> Iterator[int]:
        watched()
        yield 1
        raise ValueError

    @expose("json")
    def idle(self) -> Iterator[int]:
        watched()
        yield 1
        stream.sleep(60)

    @expose("json")
    def none(self) -> Iterator[int]:
        watched()
        yield from ()

    @expose("json")
    def checkpoint(self) -> Iterator[int]:
        watched()
        yield 1
        stream.commit()
        raise ValueError

    @expose("json")
    @expose("csv")
    @expose("xlsx")
    @expose("sse")
    def elsewhere(self) -> Iterator[dict[str, int]]:
        lead()
        yield {"a": 1}

    @expose()
    def streamed(self) -> Response:
        return StreamingResponse(leading())


class Async(TGController):
    @expose("json")
    @expose("csv")
    @expose("xlsx")
    @expose("sse")
    async def elsewhere(self) -> AsyncIterator[dict[str, int]]:
        lead()
        yield {"a": 1}

    @expose()
    async def streamed(self) -> Response:
        return StreamingResponse(leading())

    @expose("json")
    async def two(self) -> AsyncIterator[int]:
        watched()
        yield 1
        yield 2

    @expose("json")
    async def broken(self) -> AsyncIterator[int]:
        watched()
        yield 1
        raise ValueError

    @expose("json")
    async def idle(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await stream.sleep(60)

    @expose("json")
    async def none(self) -> AsyncIterator[int]:
        watched()
        for _ in ():
            yield 0

    @expose("json")
    async def checkpoint(self) -> AsyncIterator[int]:
        watched()
        yield 1
        await stream.commit()
        raise ValueError


class Formats(TGController):
    """Each format that has an end of its own."""

    @expose("json")
    @expose("xml")
    @expose("xlsx")
    @expose("parquet")
    @expose("arrow")
    @expose("sse")
    def rows(self) -> Iterator[dict[str, int]]:
        watched()
        for number in range(3):
            yield {"a": number}

    @expose("zip")
    def members(self) -> Iterator[Member]:
        watched()
        yield Member("a.txt", iter(["a"]))

    @expose("multipart")
    def parts(self) -> Iterator[Part]:
        watched()
        yield Part("a", "text/plain")


class Root(TGController):
    formats = Formats()
    guarded = Guarded()
    sync = Sync()
    aio = Async()

    @expose()
    def refused(self) -> None:
        abort(403)

    @expose()
    def led_on(self) -> None:
        redirect("/elsewhere")

    @expose()
    def called(self) -> None:
        lead()

    @expose()
    def _lookup(self, *_: str) -> None:
        lead()


app = Millstream(Root(), participants=[Noted()])

COMMITTED = ["prepare", "commit", "end", "close"]
ROLLED_BACK = ["abort", "end", "close"]


def settled(probe: Probe) -> list[str]:
    probe.wait("close")
    return [name for name in probe.names if name in {*COMMITTED, *ROLLED_BACK}]


def test_the_end_of_the_body_is_sent_after_the_commit(wire: WireClient, kind: str, probe: Probe) -> None:
    probe.note("hold the commit")
    reply = wire.get(f"/{kind}/two", probe.headers)
    probe.wait("at commit")
    received = b""
    while received != b"[1,\n2":
        chunk = reply.next_chunk()
        assert chunk is not None
        received += chunk.data
    with pytest.raises(TimedOut):
        reply.next_chunk(timeout=0.05)
    probe.open("commit")
    assert reply.rest() == b"]"
    assert settled(probe) == COMMITTED


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "name",
    [
        "rows.json",
        "rows.xml",
        "rows.xlsx",
        "rows.parquet",
        "rows.arrow",
        "rows.sse",
        "members.zip",
        "parts",
    ],
)
def test_the_end_that_a_format_has_of_its_own_is_sent_after_the_commit(
    wire: WireClient, probe: Probe, name: str, coding: str
) -> None:
    probe.note("hold the commit")
    reply = wire.get(f"/formats/{name}", [*probe.headers, ("accept-encoding", coding)])
    probe.wait("at commit")
    with pytest.raises(TimedOut):
        reply.rest(timeout=0.1)
    probe.open("commit")
    assert reply.rest()
    assert settled(probe) == COMMITTED


@pytest.mark.parametrize("failure", ["fail the vote", "fail the commit"])
def test_a_body_whose_commit_fails_does_not_end_well(
    wire: WireClient, kind: str, probe: Probe, failure: str
) -> None:
    probe.note(failure)
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/two", probe.headers).rest()
    assert truncated.value.received == b"[1,\n2"
    assert settled(probe)[-3:] == ROLLED_BACK


def test_a_producer_that_fails_is_rolled_back(wire: WireClient, kind: str, probe: Probe) -> None:
    with pytest.raises(BodyTruncated):
        wire.get(f"/{kind}/broken", probe.headers).rest()
    assert settled(probe) == ROLLED_BACK


def test_a_stream_whose_client_left_is_rolled_back(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/idle", probe.headers).next_chunk()
    wire.close()
    assert settled(probe) == ROLLED_BACK


def test_an_empty_stream_whose_commit_fails_is_an_honest_500(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    probe.note("fail the commit")
    assert wire.get(f"/{kind}/none", probe.headers).status == 500
    assert settled(probe)[-3:] == ROLLED_BACK


def test_what_was_committed_at_a_checkpoint_is_not_asked_back(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    with pytest.raises(BodyTruncated):
        wire.get(f"/{kind}/checkpoint", probe.headers).rest()
    assert settled(probe) == ["prepare", "commit", *ROLLED_BACK]


def test_head_commits_nothing(wire: WireClient, kind: str, probe: Probe) -> None:
    assert wire.get(f"/{kind}/two", probe.headers, method="HEAD").status == 200
    assert "commit" not in settled(probe)


def test_an_abort_is_rolled_back_and_a_redirect_is_committed(wire: WireClient, probe: Probe) -> None:
    assert wire.get("/refused", probe.headers).rest()
    assert wire.get("/led_on", probe.headers).status == 302
    probe.wait("close", times=2)
    assert probe.names == ["abort", "close", "prepare", "commit", "close"]


@pytest.mark.parametrize("raised", ["", "?starlette"])
@pytest.mark.parametrize(
    "path",
    [
        "/called",
        "/guarded/page",
        "/looked/up",
        *(f"/{kind}/elsewhere.{name}" for kind in ("sync", "aio") for name in ("json", "csv", "xlsx", "sse")),
        "/sync/streamed",
        "/aio/streamed",
    ],
)
def test_a_redirect_is_committed_and_sets_its_cookies_wherever_it_is_raised(
    wire: WireClient, path: str, raised: str, probe: Probe
) -> None:
    reply = wire.get(path + raised, probe.headers)
    assert (reply.status, reply.headers["location"], reply.rest()) == (303, "/there", b"")
    assert "seen=yes" in reply.headers["set-cookie"]
    assert settled(probe) == COMMITTED


def test_a_redirect_by_head_commits_nothing(wire: WireClient, probe: Probe) -> None:
    for path in ("/called", "/guarded/page"):
        assert wire.get(path, probe.headers, method="HEAD").status == 303
    probe.wait("close", times=2)
    assert "commit" not in probe.names
