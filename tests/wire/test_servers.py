"""The page's application, unchanged, under the servers people run, started as they start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE

from millstream.testing import BodyTruncated, WireClient, connect

pytestmark = pytest.mark.wire

HERE = Path(__file__).parent
START = 20.0
"""Seconds that a server may take to take connections."""

COMMANDS = {
    "uvicorn": ["uvicorn", "page:app", "--port"],
    "granian": ["granian", "--interface", "asgi", "page:app", "--port"],
    "millstream": ["millstream", "serve", "page:app", "--port"],
}


class Running:
    """A server in a process of its own."""

    def __init__(self, command: list[str], log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.port: int = reserved.getsockname()[1]
        self._log = log
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own words
                [sys.executable, "-m", *command, str(self.port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
            )

    def wait_started(self) -> None:
        deadline = time.monotonic() + START
        while True:
            try:
                return connect("127.0.0.1", self.port).close()
            except ConnectionRefusedError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.02)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, text: str, times: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.log.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} is not {times} times in:\n{self.log}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module", params=COMMANDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = Running(COMMANDS[request.param], tmp_path_factory.mktemp("server") / "log")
    try:
        server.wait_started()
        yield server
    finally:
        server.stop()


@pytest.fixture
def wire(running: Running) -> Iterator[WireClient]:
    with connect("127.0.0.1", running.port, timeout=PATIENCE) as connection:
        yield connection


@pytest.fixture
def below(kind: str) -> str:
    return "/aio" if kind == "aio" else ""


def test_the_numbers_arrive_one_after_the_other(wire: WireClient, below: str) -> None:
    chunks = list(wire.get(f"{below}/stream_list"))
    assert b"".join(chunk.data for chunk in chunks) == b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    assert len(chunks) >= 9
    assert chunks[-1].at - chunks[0].at >= 0.1


def test_the_css_sees_its_request(wire: WireClient) -> None:
    assert wire.get("/stream").rest() == b"".join(b"/stream/%d\n" % number for number in range(1, 11))


def test_a_failure_breaks_the_body_off(wire: WireClient, below: str) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"{below}/broken").rest()
    assert truncated.value.received.startswith(b'1\n{"error":')
    assert not wire.raw.endswith(b"0\r\n\r\n")


def test_an_abort_before_the_first_item_is_a_status(wire: WireClient, below: str) -> None:
    assert wire.get(f"{below}/refused").status == 403


def test_head_has_no_body(wire: WireClient, below: str) -> None:
    assert wire.get(f"{below}/stream_list", method="HEAD").status == 200
    assert wire.get(f"{below}/refused").status == 403


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_leaver_is_noticed(running: Running, wire: WireClient, below: str, how: str) -> None:
    closed = f"closed {below}/idle"
    before = running.log.count(closed)
    wire.get(f"{below}/idle").next_chunk()
    getattr(wire, how)()
    running.wait_log(closed, before + 1)


def test_the_log_has_no_failure_that_nobody_caused(running: Running) -> None:
    assert "was never awaited" not in running.log
    assert "Task exception" not in running.log
    assert "Task was destroyed" not in running.log
