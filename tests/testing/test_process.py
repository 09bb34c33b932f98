from __future__ import annotations

import signal
from pathlib import Path

import pytest

from millstream.testing.failures import ServerFailed
from millstream.testing.process import serve_process
from millstream.testing.wire import connect

pytestmark = pytest.mark.wire

SITE = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def process(request):
    return PlainTextResponse(f"{os.getpid()} {os.environ.get('GREETING', '')}")

app = Starlette(routes=[Route("/", process)])
"""

DEAF = """
import asyncio, signal

async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await asyncio.sleep(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await asyncio.Event().wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "wire_site.py").write_text(SITE)
    return str(tmp_path)


def test_a_process_serves_and_ends_when_it_is_told(folder: str) -> None:
    with serve_process(
        "wire_site:app", options=["--app-dir", folder], environment={"GREETING": "hello"}
    ) as server:
        with connect(server.host, server.port) as wire:
            assert wire.get("/").rest().decode() == f"{server.pid} hello"
        server.terminate()
        assert server.wait() in (0, -signal.SIGTERM)
        assert "Application shutdown complete" in server.log


def test_workers_are_other_processes_and_die_with_it(folder: str) -> None:
    with serve_process("wire_site:app", workers=2, options=["--app-dir", folder]) as server:
        with connect(server.host, server.port) as wire:
            worker = int(wire.get("/").rest())
        assert worker != server.pid
        server.kill()
        assert server.wait() == -signal.SIGKILL
    with pytest.raises(ConnectionRefusedError):
        connect(server.host, server.port)


def test_a_process_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    (tmp_path / "deaf_site.py").write_text(DEAF)
    with serve_process("deaf_site:app", options=["--app-dir", str(tmp_path)], patience=0.1) as server:
        pass
    assert server.wait() == -signal.SIGKILL


def test_a_process_that_cannot_start_tells_why(folder: str) -> None:
    serving = serve_process("wire_site:nobody", options=["--app-dir", folder])
    with pytest.raises(ServerFailed, match=r'(?s)the server ended.*Attribute "nobody" not found'), serving:
        pass


def test_waiting_for_an_end_that_does_not_come_is_timed_out(folder: str) -> None:
    with serve_process("wire_site:app", options=["--app-dir", folder]) as server:
        assert server.url.startswith("http://127.0.0.1:")
        with pytest.raises(ServerFailed, match=r"did not end within 0\.05 s"):
            server.wait(0.05)
        with pytest.raises(ServerFailed, match=r"ran on for 0\.05 s and has not logged 'nonsense\'"):
            server.wait_log("nonsense", 0.05)
