from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.wire.conftest import Probe, here

from millstream import Millstream, Settings, TGController, expose
from millstream.testing import BodyTruncated, Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

PRIVATE = "the password is swordfish"
SLOW_STEP = 0.05
BLOCKED = 0.5
HTML = [("accept", "text/html,*/*;q=0.5")]  # as a browser asks


class Sync(TGController):
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    def step(self) -> Iterator[str]:
        seen = here()
        for name in ("one", "two"):
            seen.note(name)
            yield name
            seen.pass_gate()

    @expose("ndjson")
    @expose("json")
    @expose("sse")
    def at_once(self) -> Iterator[int]:
        raise ValueError(PRIVATE)
        yield 1

    @expose("ndjson")
    @expose("json")
    @expose("sse")
    def later(self) -> Iterator[int]:
        yield 1
        raise ValueError(PRIVATE)

    @expose("ndjson")
    def action(self) -> Iterator[int]:
        raise ValueError(PRIVATE)

    @expose("ndjson")
    def sleeping(self) -> Iterator[int]:
        time.sleep(BLOCKED)  # nobody waits for it
        yield 1


class Async(TGController):
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    async def step(self) -> AsyncIterator[str]:
        seen = here()
        for name in ("one", "two"):
            seen.note(name)
            yield name
            await seen.passed_gate()

    @expose("ndjson")
    @expose("json")
    @expose("sse")
    async def at_once(self) -> AsyncIterator[int]:
        raise ValueError(PRIVATE)
        yield 1

    @expose("ndjson")
    @expose("json")
    @expose("sse")
    async def later(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError(PRIVATE)

    @expose("ndjson")
    async def action(self) -> AsyncIterator[int]:
        raise ValueError(PRIVATE)

    @expose("ndjson")
    async def sleeping(self) -> AsyncIterator[int]:
        yield 0
        time.sleep(BLOCKED)  # noqa: ASYNC251  the line that must be named
        yield 1


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root(), Settings(debug=True, slow_step=SLOW_STEP))


@pytest.fixture(scope="module")
def quiet() -> Iterator[Server]:
    """The same controllers without debug."""
    with serve(Millstream(Root())) as server:
        yield server


@pytest.mark.parametrize("extension", ["json", "ndjson", "sse"])
def test_debug_adds_no_buffer(wire: WireClient, kind: str, extension: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/step.{extension}", probe.headers)
    received = b""
    while b"one" not in received:
        chunk = reply.next_chunk()
        assert chunk is not None
        received += chunk.data
    assert "two" not in probe.names
    probe.open()
    assert reply.rest()


@pytest.mark.parametrize("action", ["at_once", "action"])
def test_a_browser_gets_a_traceback_page_before_the_head(wire: WireClient, kind: str, action: str) -> None:
    reply = wire.get(f"/{kind}/{action}", HTML)
    page = reply.rest().decode()
    assert (reply.status, reply.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert PRIVATE in page
    assert Path(__file__).name in page


def test_a_program_gets_the_traceback_in_the_problem_document(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/at_once")
    problem = json.loads(reply.rest())
    assert (reply.status, problem["status"]) == (500, 500)
    assert problem["traceback"][-1] == f"ValueError: {PRIVATE}\n"
    assert any(f'{Path(__file__).name}"' in line for line in problem["traceback"])


@pytest.mark.parametrize("extension", ["ndjson", "sse"])
def test_after_the_head_the_traceback_is_in_the_last_record(
    wire: WireClient, kind: str, extension: str
) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/later.{extension}").rest()
    last = truncated.value.received.rstrip().splitlines()[-1].removeprefix(b"data: ")
    record = json.loads(last)
    problem = record.get("error", record)
    assert problem["traceback"][-1] == f"ValueError: {PRIVATE}\n"


@pytest.mark.parametrize("accept", [[], HTML])
@pytest.mark.parametrize(
    "action", ["at_once", "action", "at_once.json", "at_once.sse", "later", "later.json", "later.sse"]
)
def test_without_debug_no_text_of_an_exception_leaves(
    quiet: Server, kind: str, action: str, accept: list[tuple[str, str]]
) -> None:
    with connect(quiet.host, quiet.port) as wire:
        reply = wire.get(f"/{kind}/{action}", accept)
        try:
            reply.rest()
        except BodyTruncated:
            pass
        else:
            assert reply.status == 500
        assert not re.search(rb"swordfish|ValueError|Traceback|\.py", wire.raw)


def test_the_line_that_blocks_the_loop_is_named(wire: WireClient, caplog: pytest.LogCaptureFixture) -> None:
    assert wire.get("/aio/sleeping").rest() == b"0\n1\n"
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = next(n for n, text in enumerate(source, 1) if "the line that must be named" in text)
    [warning] = [
        record.getMessage() for record in caplog.records if "blocks the event loop" in record.message
    ]
    assert warning.startswith(f"{__file__}:{line} in sleeping blocks the event loop for more than 0.05 s")


def test_a_sync_producer_may_block_its_own_thread(wire: WireClient, caplog: pytest.LogCaptureFixture) -> None:
    assert wire.get("/sync/sleeping").rest() == b"1\n"
    assert "blocks the event loop" not in caplog.text


def test_without_debug_nobody_watches(quiet: Server, caplog: pytest.LogCaptureFixture) -> None:
    with connect(quiet.host, quiet.port) as wire:
        assert wire.get("/aio/sleeping").rest() == b"0\n1\n"
    assert "blocks the event loop" not in caplog.text
