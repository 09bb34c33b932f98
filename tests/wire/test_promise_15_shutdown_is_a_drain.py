"""A server with a hundred open streams is told to end, in all the ways servers are."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE, needs_curl
from tests.wire.running import Running, started

from millstream import Millstream, Settings, TGController, expose
from millstream.engine.ledger import Ledger
from millstream.testing import BodyTruncated, Server, WireReply, connect, serve

pytestmark = pytest.mark.wire

CROWD = 100
DRAIN = 0.5
"""Seconds the streams of these tests may go on."""

BOUND = DRAIN + 10.0
"""Seconds. The promise is one more than DRAIN; what is asserted leaves room for a machine that is busy."""

COMMANDS = {
    "uvicorn": ["uvicorn", "crowd:app"],
    "uvicorn-h11-asyncio": ["uvicorn", "crowd:app", "--http", "h11", "--loop", "asyncio"],
    "uvicorn-workers": ["uvicorn", "crowd:app", "--workers", "2"],
    "granian": ["granian", "--interface", "asgi", "crowd:app"],
    "granian-workers": ["granian", "--interface", "asgi", "--workers", "2", "crowd:app"],
    "millstream": ["millstream", "serve", "crowd:app"],
    "millstream-workers": ["millstream", "serve", "crowd:app", "--workers", "4"],
}
SERVERS = ["uvicorn", "granian", "millstream"]
PATHS = ["/sync/idle.sse", "/aio/idle.sse", "/sync/idle.ndjson", "/aio/idle.ndjson"]


class Journal:
    def __init__(self, file: Path) -> None:
        self.file = file

    def lines(self) -> Counter[str]:
        return Counter(self.file.read_text("utf-8").splitlines() if self.file.exists() else ())

    def wait(self, line: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.lines()[line]:
            assert time.monotonic() < deadline, self.lines()
            time.sleep(0.01)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@contextmanager
def served(name: str, journal: Journal, drain: float = DRAIN, **more: str) -> Iterator[Running]:
    environment = {"JOURNAL": str(journal.file), "DRAIN": str(drain), **more}
    with started(COMMANDS[name], journal.file.parent, environment) as server:
        yield server


def opened(server: Running, path: str, crowd: ExitStack) -> WireReply:
    wire = crowd.enter_context(connect("127.0.0.1", server.port, timeout=PATIENCE))
    reply = wire.get(path)
    received = b""
    while b"two" not in received:
        chunk = reply.next_chunk()
        assert chunk is not None
        received += chunk.data
    return reply


def broken_off(reply: WireReply) -> bytes:
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    return truncated.value.received


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *((name, signal.SIGTERM) for name in COMMANDS),
        *((name, signal.SIGINT) for name in ("uvicorn", "granian", "millstream-workers")),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_every_stream_is_told_cleaned_up_and_the_process_ends_in_time(
    name: str, number: signal.Signals, journal: Journal
) -> None:
    with served(name, journal) as server, ExitStack() as crowd:
        replies = [opened(server, PATHS[each % len(PATHS)], crowd) for each in range(CROWD)]
        took = server.end(number, within=BOUND)
        print(f"{name} {number.name}: {CROWD} streams, ended {took - DRAIN:.2f} s after the drain")  # noqa: T201  a measurement, shown with -rP
        assert journal.lines() == {"closed True": CROWD, "ended shutdown": CROWD}
        assert took > DRAIN
        for reply in replies:
            assert b"shutdown" in broken_off(reply)
        if name.startswith("millstream"):  # others log the exception by which a body is broken off
            assert "Traceback" not in server.log


@pytest.mark.parametrize("name", ["uvicorn", "granian", "millstream-workers"])
def test_a_browser_is_told_when_to_come_back_and_what_it_has_seen(
    name: str, kind: str, journal: Journal
) -> None:
    with served(name, journal) as server, ExitStack() as crowd:
        reply = opened(server, f"/{kind}/idle.sse", crowd)
        server.process.terminate()
        last = broken_off(reply)
        server.process.wait(BOUND)
    assert last == b'event: goodbye\nretry: 2500\nid: 7\ndata: {"reason":"shutdown"}\n\n'


@pytest.mark.parametrize("name", ["uvicorn", "granian", "millstream"])
def test_a_stream_that_looks_ends_well_and_at_once(name: str, kind: str, journal: Journal) -> None:
    with served(name, journal, drain=60) as server, ExitStack() as crowd:
        wire = crowd.enter_context(connect("127.0.0.1", server.port, timeout=PATIENCE))
        reply = wire.get(f"/{kind}/polite")
        reply.next_chunk()
        server.process.terminate()
        assert reply.rest() == b'"off"\n'
        assert reply.complete
        server.process.wait(BOUND)
    assert journal.lines() == {"ended completed": 1}


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn-h11-asyncio", "granian", "millstream"])
def test_a_reader_that_does_not_read_does_not_keep_the_process(
    name: str, kind: str, journal: Journal
) -> None:
    with (
        served(name, journal) as server,
        connect("127.0.0.1", server.port, receive_buffer=4096) as wire,
    ):
        wire.get(f"/{kind}/flood")
        took = server.end(signal.SIGTERM, within=BOUND)
        print(f"{name} /{kind}: ended {took - DRAIN:.2f} s after the drain")  # noqa: T201  a measurement, shown with -rP
    assert journal.lines() == {"closed flood": 1, "ended shutdown": 1}


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn-h11-asyncio", "granian", "millstream"])
def test_a_thread_that_blocks_does_not_keep_the_process(name: str, journal: Journal) -> None:
    with served(name, journal, CLOSE="0.5") as server, ExitStack() as crowd:
        streaming, waiting = (
            crowd.enter_context(connect("127.0.0.1", server.port, timeout=PATIENCE)) for _ in range(2)
        )
        reply = streaming.get("/sync/blocks")
        assert reply.next_chunk()
        waiting.socket.sendall(b"GET /sync/blocked HTTP/1.1\r\nHost: x\r\n\r\n")
        journal.wait("begun")
        took = server.end(signal.SIGTERM, within=BOUND)
        print(f"{name}: ended {took - DRAIN:.2f} s after the drain")  # noqa: T201  a measurement, shown with -rP
        broken_off(reply)
        assert b" 503 " in waiting.socket.recv(4096).partition(b"\r\n")[0]
    assert journal.lines() == {"begun": 1, "ended shutdown": 1}


@pytest.mark.parametrize("name", ["uvicorn", "granian"])
def test_a_connection_that_is_idle_is_closed_at_once(name: str, journal: Journal) -> None:
    with served(name, journal, drain=60) as server, ExitStack() as crowd:
        opened(server, "/aio/idle.sse", crowd)
        idle = crowd.enter_context(connect("127.0.0.1", server.port, timeout=PATIENCE))
        assert idle.get("/").rest()
        server.process.terminate()
        assert idle.socket.recv(1) == b""


@pytest.mark.parametrize("name", ["uvicorn", "granian", "millstream"])
def test_a_stream_that_runs_on_without_its_client_is_drained_too(
    name: str, kind: str, journal: Journal
) -> None:
    with served(name, journal) as server:
        with connect("127.0.0.1", server.port) as wire:
            wire.get(f"/{kind}/detached").next_chunk()
        journal.wait("alone")
        server.end(signal.SIGTERM, within=BOUND)
    assert journal.lines() == {"alone": 1, "closed": 1, "ended shutdown": 1}


@pytest.mark.parametrize("name", ["uvicorn", "millstream", "millstream-workers"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once(name: str, number: signal.Signals, journal: Journal) -> None:
    with served(name, journal, drain=600) as server, ExitStack() as crowd:
        replies = [opened(server, path, crowd) for path in PATHS]
        server.process.send_signal(number)
        wait_draining(server)
        took = insisted(server, number)
        print(f"{name} {number.name} twice: ended after {took:.2f} s")  # noqa: T201  a measurement, shown with -rP
        assert journal.lines() == {"closed True": len(PATHS), "ended shutdown": len(PATHS)}
        for reply in replies:
            with pytest.raises(BodyTruncated):
                reply.rest()


def insisted(server: Running, number: signal.Signals) -> float:
    """Send a signal until the server ends: two that come close upon each other are one to a busy worker."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        server.process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(1.0)
            return time.monotonic() - began
    raise AssertionError(f"it did not end:\n{server.log}")


def wait_draining(server: Running) -> None:
    """A server that drains takes no connections any more, or says so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with connect("127.0.0.1", server.port) as wire:
                if wire.get("/").status == 503:
                    return
        except (OSError, BodyTruncated):
            return
        time.sleep(0.01)
    raise AssertionError("it still serves")


@needs_curl
@pytest.mark.parametrize("name", ["uvicorn", "granian"])
def test_curl_sees_what_was_broken_off(name: str, kind: str, journal: Journal) -> None:
    with served(name, journal) as server:
        url = f"http://127.0.0.1:{server.port}/{kind}/idle.ndjson"
        curl = subprocess.Popen(["curl", "-sN", url], stdout=subprocess.PIPE)  # noqa: S603, S607  our own words
        assert curl.stdout is not None
        assert [curl.stdout.readline(), b"two" in curl.stdout.readline()] == [b"1\n", True]
        server.end(signal.SIGTERM, within=BOUND)
        rest, _ = curl.communicate(timeout=PATIENCE)
    assert rest == b'{"goodbye":{"reason":"shutdown"}}\n'
    assert curl.returncode == 18  # a transfer that ended too early


def test_whoever_asks_while_it_drains_is_sent_away(journal: Journal) -> None:
    """A request that comes between the signal and the server's own part."""
    with draining_app() as (server, ledger), connect(server.host, server.port) as wire:
        assert wire.get("/").rest()
        ledger.draining = True
        for path in ("/", "/aio/idle", "/nowhere"):
            with connect(server.host, server.port) as late:
                reply = late.get(path)
                assert (reply.status, reply.headers["retry-after"]) == (503, "9")
                assert reply.headers["connection"] == "close"
                assert json.loads(reply.rest())["detail"] == "this process is about to end"
        assert wire.get("/", method="HEAD").status == 503
        with pytest.raises(BodyTruncated):
            wire.get("/")  # it was closed


class Root(TGController):
    @expose("json")
    async def index(self) -> dict[str, int]:
        return {"a": 1}


@contextmanager
def draining_app() -> Iterator[tuple[Server, Ledger]]:
    app = Millstream(Root(), Settings(retry_after=9))
    with serve(app) as server:
        yield server, app.ledger


def test_an_application_that_is_mounted_in_another_drains_too(journal: Journal) -> None:
    """Its server never tells it of the start or the end: the first request is what it begins to listen at."""
    environment = {"JOURNAL": str(journal.file), "DRAIN": str(DRAIN)}
    command = ["uvicorn", "crowd:mounted"]
    with started(command, journal.file.parent, environment) as server, ExitStack() as crowd:
        replies = [opened(server, f"/below{path}", crowd) for path in PATHS]
        server.end(signal.SIGTERM, within=BOUND)
        assert journal.lines() == {"closed True": len(PATHS), "ended shutdown": len(PATHS)}
        for reply in replies:
            assert b"shutdown" in broken_off(reply)


def test_a_change_of_a_file_drains_shortly_and_serves_anew(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "shopsite.py").write_text("from crowd import app\n", "utf-8")
    environment = {"JOURNAL": str(journal.file), "DRAIN": "600"}
    command = ["millstream", "serve", "shopsite:app", "--reload"]
    with started(command, tmp_path, environment, cwd=tmp_path) as server, ExitStack() as crowd:
        server.wait_log("startup complete")
        reply = opened(server, "/aio/idle.sse", crowd)
        (tmp_path / "shopsite.py").write_text("from crowd import app  # changed\n", "utf-8")
        assert b"event: goodbye" in broken_off(reply)
        server.wait_log("startup complete", times=2)
        assert journal.lines() == {"closed True": 1, "ended shutdown": 1}
        server.end(signal.SIGTERM, within=BOUND)


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
UNFINISHED = [
    ("/sync", FORM),
    ("/sync", JSON),
    ("/sync", "multipart/form-data; boundary=x"),
    ("/aio", JSON),
    ("/posts", FORM),
    ("/durable", JSON),
    ("/raw_sync", "text/plain"),
    ("/raw_aio", "text/plain"),
    ("/mounted", JSON),
    ("/waiting_aio", "text/plain"),
    ("/waiting_sync", "text/plain"),
]


@pytest.mark.parametrize("server", [*SERVERS, "uvicorn-h11-asyncio"])
def test_whatever_waits_before_its_stream_is_told_to_come_again_when_the_drain_is_over(
    server: str, tmp_path: Path
) -> None:
    command = [word.replace("crowd:app", "unfinished:app") for word in COMMANDS[server]]
    with started(command, tmp_path, {"DRAIN": str(DRAIN)}) as running, ExitStack() as crowd:
        wires = []
        for path, content_type in UNFINISHED:
            wire = crowd.enter_context(connect("127.0.0.1", running.port, timeout=PATIENCE))
            wire.send(path, [("content-type", content_type), ("content-length", "1000")], method="POST")
            wire.send_raw(b"--x")
            wires.append(wire)
        with connect("127.0.0.1", running.port, timeout=PATIENCE) as idle:
            assert idle.get("/nowhere").status == 404
            assert running.end(signal.SIGTERM, within=BOUND) > DRAIN
        for wire in wires:
            reply = wire.read_head("POST")
            assert reply.status == 503
            assert json.loads(reply.rest())["detail"] == "this process is about to end"
