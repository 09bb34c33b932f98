"""Streams that run on after their clients left, and streams that a client ends by their names."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from tests.wire.conftest import PATIENCE, Probe, watched

from millstream import Millstream, Reason, Settings, Statistics, Stops, TGController, expose, stream
from millstream.protocol.lifecycle import State
from millstream.testing import BodyTruncated, Server, WireClient, WireReply, connect, serve
from millstream.web.request import Request

pytestmark = pytest.mark.wire


class Sync(TGController):
    @expose("ndjson", stream_id=True)
    @expose("sse")
    def idle(self) -> Iterator[int]:
        seen = watched()
        try:
            yield 0
            stream.sleep(600)
        finally:
            seen.note("closed", threading.get_ident())

    @expose("ndjson", on_disconnect="detach")
    def detached(self) -> Iterator[int]:
        watched()
        yield 0
        stream.sleep(600)

    @expose("ndjson", on_disconnect="detach", detached_lifetime=0.1)
    def soon_over(self) -> Iterator[int]:
        watched()
        yield 0
        stream.sleep(600)

    @expose("ndjson", on_disconnect="detach", stream_id=True)
    def named(self) -> Iterator[int]:
        watched()
        yield 0
        stream.sleep(600)


class Async(TGController):
    @expose("ndjson", stream_id=True)
    @expose("sse")
    async def idle(self) -> AsyncIterator[int]:
        seen = watched()
        try:
            yield 0
            await asyncio.sleep(600)
        finally:
            seen.note("closed", threading.get_ident())

    @expose("ndjson", on_disconnect="detach")
    async def detached(self) -> AsyncIterator[int]:
        watched()
        yield 0
        await asyncio.sleep(600)

    @expose("ndjson", on_disconnect="detach", detached_lifetime=0.1)
    async def soon_over(self) -> AsyncIterator[int]:
        watched()
        yield 0
        await asyncio.sleep(600)

    @expose("ndjson", on_disconnect="detach", stream_id=True)
    async def named(self) -> AsyncIterator[int]:
        watched()
        yield 0
        await asyncio.sleep(600)


async def allowed(asked: Request, there: Statistics) -> bool:
    """Whoever came from the same address and knows the word."""
    await asyncio.sleep(0)
    return asked.headers.get("x-word") == "please" and there.client == asked.remote_addr


class Root(TGController):
    sync = Sync()
    aio = Async()
    streams = Stops(allowed=allowed)


app = Millstream(Root(), Settings(max_detached=1))
POLITE = [("x-word", "please")]


def posted(server: Server, path: str, *, polite: bool = True, method: str = "POST") -> WireReply:
    with connect(server.host, server.port) as wire:
        reply = wire.get(path, POLITE if polite else [], method=method)
        reply.rest()
        return reply


def wait_alone() -> Statistics:
    """The one stream that is open, once it runs on without its client."""
    deadline = time.monotonic() + PATIENCE
    while [live.state for live in app.ledger.live] != [State.UNWATCHED]:
        assert time.monotonic() < deadline, app.ledger.live
        time.sleep(0.005)
    return app.ledger.live[0]


# Detached


def test_beyond_so_many_that_run_on_leaving_cancels(server: Server, kind: str, probe: Probe) -> None:
    with ExitStack() as crowd:
        for _ in range(2):
            wire = crowd.enter_context(connect(server.host, server.port))
            wire.get(f"/{kind}/detached", probe.headers).next_chunk()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    runs_on = wait_alone()
    assert runs_on.reason is None
    assert app.ledger.stop(runs_on.id)
    probe.wait("end", times=2)


def test_a_stream_does_not_run_on_for_ever(wire: WireClient, kind: str, probe: Probe) -> None:
    wire.get(f"/{kind}/soon_over", probe.headers).next_chunk()
    wire.close()
    end = probe.wait_ended()
    assert (end.reason, end.state) == (Reason.TIMED_OUT, State.ABANDONED)


def test_a_stream_that_runs_on_is_ended_by_the_shutdown(kind: str, probe: Probe) -> None:
    with (
        serve(Millstream(Root(), Settings(drain_timeout=0.05))) as server,
        connect(server.host, server.port) as wire,
    ):
        wire.get(f"/{kind}/detached", probe.headers).next_chunk()
        wire.close()
    assert probe.wait_ended().reason is Reason.SHUTDOWN


# Stopped by name


def test_a_client_stops_its_stream(server: Server, wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/idle.ndjson", probe.headers)
    reply.next_chunk()
    stopped = posted(server, f"/streams/{reply.headers['stream-id']}/stop")
    assert (stopped.status, stopped.complete) == (204, True)
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    assert truncated.value.received == b'{"goodbye":{"reason":"stopped"}}\n'
    end = probe.wait_ended()
    assert (end.reason, end.state) == (Reason.STOPPED, State.ABANDONED)
    assert probe.names.count("closed") == 1


def test_a_stream_that_runs_on_can_still_be_stopped(
    server: Server, wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/named", probe.headers)
    reply.next_chunk()
    wire.close()
    wait_alone()
    assert posted(server, f"/streams/{reply.headers['stream-id']}/stop").status == 204
    assert probe.wait_ended().reason is Reason.STOPPED


def test_nobody_stops_what_is_not_theirs_or_not_there(
    server: Server, wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/idle.ndjson", probe.headers)
    reply.next_chunk()
    path = f"/streams/{reply.headers['stream-id']}/stop"
    assert posted(server, path, polite=False).status == 403
    for wrong in (
        "/streams/nobody/stop",
        "/streams",
        "/streams/",
        path.removesuffix("/stop"),
        f"{path}/stop",
    ):
        assert posted(server, wrong).status == 404
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        refused = posted(server, path, method=method)
        assert (refused.status, refused.headers["allow"]) == (405, "OPTIONS, POST")
    assert probe.names.count("end") == 0
    assert posted(server, path).status == 204
    assert posted(server, path).status == 404  # it has ended
    probe.wait_ended()


def test_a_stream_is_named_only_where_its_action_says_so(
    server: Server, wire: WireClient, kind: str, probe: Probe
) -> None:
    head = wire.get(f"/{kind}/detached", probe.headers).headers
    assert "stream-id" not in head
    assert app.ledger.stop(app.ledger.live[0].id)
    probe.wait_ended()
