"""Starlette's responses, returned by actions: streams like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from tests.wire.conftest import PATIENCE, Probe, here, watched

from millstream import Millstream, Reason, Settings, TGController, expose, response
from millstream.errors import OutsideRequest
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import Join
from millstream.testing import BodyTruncated, Server, WireClient, connect

pytestmark = pytest.mark.wire

CONTENT = bytes(range(256)) * 1024


class Noted:
    """A participant that notes what becomes of its work."""

    def begin(self, join: Join) -> None:
        try:
            join(Unit(here()))
        except KeyError:
            raise OutsideRequest("probe") from None


class Unit:
    def __init__(self, seen: Probe) -> None:
        self._seen = seen

    def prepare(self) -> None: ...

    def commit(self) -> None:
        self._seen.note("commit")

    def abort(self) -> None:
        self._seen.note("abort")

    def rest(self) -> None:
        self._seen.note("rest")

    def close(self) -> None: ...


def note_in_background(seen: Probe) -> None:
    seen.note("background")


class Sync(TGController):
    @expose()
    def step(self) -> Response:
        seen = watched()

        def steps() -> Iterator[str]:
            yield "one"
            seen.pass_gate()
            yield "two"

        return StreamingResponse(steps(), background=BackgroundTask(note_in_background, seen))

    @expose()
    def broken(self) -> Response:
        seen = watched()

        def steps() -> Iterator[str]:
            yield "one"
            raise LookupError

        return StreamingResponse(steps(), background=BackgroundTask(note_in_background, seen))

    @expose()
    def never(self) -> Response:
        watched()

        def steps() -> Iterator[str]:
            raise LookupError
            yield "one"

        return StreamingResponse(steps())

    @expose()
    def idle(self) -> Response:
        seen = watched()

        def steps() -> Iterator[str]:
            try:
                yield "one"
                seen.pass_gate()
                while True:
                    yield "more" * 10_000
            finally:
                seen.note("closed")

        return StreamingResponse(steps())

    @expose(on_disconnect="detach")
    def detached(self) -> Response:
        return self.step()

    @expose()
    def missing(self, status: int, own: int) -> Response:
        response.status = status
        return PlainTextResponse("", own)

    @expose()
    def missing_stream(self, status: int, own: int) -> Response:
        response.status = status
        return StreamingResponse(iter([""]), own)


class Async(TGController):
    @expose()
    async def step(self) -> Response:
        seen = watched()

        async def steps() -> AsyncIterator[str]:
            yield "one"
            await seen.passed_gate()
            yield "two"

        return StreamingResponse(steps(), background=BackgroundTask(note_in_background, seen))

    @expose()
    async def broken(self) -> Response:
        seen = watched()

        async def steps() -> AsyncIterator[str]:
            yield "one"
            raise LookupError

        return StreamingResponse(steps(), background=BackgroundTask(note_in_background, seen))

    @expose()
    async def never(self) -> Response:
        watched()

        async def steps() -> AsyncIterator[str]:
            raise LookupError
            yield "one"

        return StreamingResponse(steps())

    @expose()
    async def idle(self) -> Response:
        seen = watched()

        async def steps() -> AsyncIterator[str]:
            try:
                yield "one"
                await asyncio.sleep(600)
            finally:
                seen.note("closed")

        return StreamingResponse(steps())

    @expose(on_disconnect="detach")
    async def detached(self) -> Response:
        return await self.step()


class Root(TGController):
    sync = Sync()
    aio = Async()
    file = Path()

    @expose()
    def whole(self) -> Response:
        return PlainTextResponse("all", background=BackgroundTask(note_in_background, watched()))

    @expose()
    def from_file(self) -> Response:
        watched()
        return FileResponse(self.file)

    @expose()
    async def events(self) -> Response:
        seen = watched()

        async def steps() -> AsyncIterator[str]:
            await seen.passed_gate()
            yield "data: 1\n\n"

        return StreamingResponse(
            steps(), media_type="text/event-stream", headers={"Connection": "keep-alive"}
        )

    @expose(max_streams=1)
    async def one_only(self) -> Response:
        return await self.aio.step()

    @expose()
    async def slow_reader(self) -> Response:
        seen = watched()

        async def steps() -> AsyncIterator[bytes]:
            while True:
                yield bytes(65_536)
                seen.count += 1

        return StreamingResponse(steps())


app = Millstream(Root(), Settings(stall_timeout=1, compression=False), participants=[Noted()])


def made(probe: Probe) -> list[str]:
    return [name for name in probe.names if name in {"commit", "abort", "background", "end", "closed"}]


def test_the_end_comes_after_the_commit_and_the_background_task_after_the_end(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/step", probe.headers)
    chunk = reply.next_chunk()
    assert chunk is not None
    assert (chunk.data, made(probe)) == (b"one", [])
    probe.open()
    assert reply.rest() == b"two"
    statistics = probe.wait_ended()
    assert made(probe) == ["commit", "background", "commit", "end"]
    assert (statistics.reason, statistics.items, statistics.bytes) == (Reason.COMPLETED, 2, 6)
    assert statistics.first_byte is not None
    assert statistics.delivered


def test_what_is_sent_at_once_is_the_same(wire: WireClient, probe: Probe) -> None:
    assert wire.get("/whole", probe.headers).rest() == b"all"
    assert probe.wait_ended().reason is Reason.COMPLETED
    assert made(probe) == ["commit", "background", "commit", "end"]


def test_a_failure_breaks_the_body_off_and_is_rolled_back(wire: WireClient, kind: str, probe: Probe) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/broken", probe.headers).rest()
    assert truncated.value.received == b"one"
    assert probe.wait_ended().reason is Reason.FAILED
    assert made(probe) == ["abort", "end"]


def test_a_failure_before_the_first_piece_is_an_honest_500(wire: WireClient, kind: str, probe: Probe) -> None:
    assert wire.get(f"/{kind}/never", probe.headers).status == 500
    assert probe.wait_ended().reason is Reason.FAILED
    assert made(probe) == ["abort", "end"]


def test_a_client_that_leaves_ends_it_and_its_producer_is_closed(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/idle", probe.headers).next_chunk()
    wire.close()
    if kind == "sync":
        probe.wait("at gate")
        probe.open()  # a thread of Starlette's cannot be interrupted
    probe.wait("closed")
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    assert [name for name in made(probe) if name != "closed"] == ["abort", "end"]


def test_it_may_run_on_without_its_client(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/detached", probe.headers).next_chunk()
    wire.close()
    probe.wait("at gate")
    deadline = time.monotonic() + PATIENCE
    while app.ledger.live[0].state is not State.UNWATCHED:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    probe.open()
    assert probe.wait_ended().reason is Reason.COMPLETED
    assert "commit" in made(probe)


def test_head_asks_for_its_head_alone(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/idle", probe.headers, method="HEAD")
    assert (reply.status, reply.rest()) == (200, b"")
    probe.wait_ended()
    assert "commit" not in made(probe)


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("", (200, CONTENT)),
        ("bytes=0-9", (206, CONTENT[:10])),
        ("bytes=-1", (206, CONTENT[-1:])),
        ("bytes=999999999-", (416, b"")),
    ],
)
def test_a_file_or_its_part_has_its_declared_length(
    wire: WireClient, probe: Probe, tmp_path: Path, wanted: str, answer: tuple[int, bytes]
) -> None:
    Root.file = tmp_path / "data.bin"
    Root.file.write_bytes(CONTENT)
    reply = wire.get("/from_file", [*probe.headers, ("range", wanted)] if wanted else probe.headers)
    assert (reply.status, reply.rest()) == answer
    assert reply.headers["content-length"] == str(len(answer[1]))
    assert probe.wait_ended().reason is Reason.COMPLETED


def test_the_head_of_events_does_not_wait_for_the_first(wire: WireClient, probe: Probe) -> None:
    reply = wire.get("/events", probe.headers)
    assert reply.headers["content-type"].startswith("text/event-stream")
    probe.open()
    assert reply.rest() == b"data: 1\n\n"


def test_it_counts_for_the_caps(server: Server, wire: WireClient, probe: Probe) -> None:
    wire.get("/one_only", probe.headers).next_chunk()
    with connect(server.host, server.port, timeout=PATIENCE) as other:
        assert other.get("/one_only", probe.headers).status == 503
    probe.open()
    probe.wait_ended()


def test_a_reader_that_does_not_read_holds_it_for_a_while_and_little_memory(
    wire: WireClient, probe: Probe
) -> None:
    wire.get("/slow_reader", probe.headers)
    statistics = probe.wait_ended()
    assert statistics.reason is Reason.STALLED
    assert probe.count * 65_536 < 32 * 1024 * 1024


@pytest.mark.parametrize("path", ["/sync/missing", "/sync/missing_stream"])
@pytest.mark.parametrize(("status", "own", "sent"), [(404, 200, 404), (404, 409, 409), (200, 201, 201)])
def test_the_status_of_the_action_holds_where_the_response_says_none(  # noqa: PLR0917  a table
    wire: WireClient, path: str, status: int, own: int, sent: int, probe: Probe
) -> None:
    for method in ("GET", "HEAD"):
        reply = wire.get(f"{path}?status={status}&own={own}", probe.headers, method=method)
        assert (reply.status, reply.rest()) == (sent, b"")
