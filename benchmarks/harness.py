"""What all benchmarks share: real servers in processes of their own, a draining client, medians, a table.

Everything stays on the loopback and is bounded in time. Server and client are pinned to a core each where the
system allows it, so that they do not take turns.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
REPORT = HERE.parent / "BENCHMARKS.md"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Drained:
    seconds: float  # from the request's last byte to the response's
    first_byte: float
    bytes: int  # of the whole response


@contextmanager
def serving(target: str) -> Iterator[tuple[int, int]]:
    """Run one application on a free port, pinned to the first core; its port and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning", target]
    process = subprocess.Popen(command, cwd=HERE, preexec_fn=lambda: _pin(0))  # noqa: PLW1509  no threads yet
    try:
        _wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def drain(port: int, path: str) -> Drained:
    """Read one response to its end, as fast as it comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        started = time.perf_counter()
        buffer = memoryview(bytearray(1 << 20))
        taken, first = client.recv_into(buffer), time.perf_counter() - started
        end = bytes(buffer[:taken])[-5:]
        while more := client.recv_into(buffer):
            taken += more
            end = (end + bytes(buffer[max(0, more - 5) : more]))[-5:]
        seconds = time.perf_counter() - started
    if end != b"0\r\n\r\n":
        raise SystemExit(f"{path} on port {port} was broken off")
    return Drained(seconds, first, taken)


def machine(*more: str) -> str:
    """One line about where the figures come from."""
    names = ("starlette", "uvicorn", "uvloop", "httptools", *more)
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    python = platform.python_version()
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {python}, {packages}"


def write_section(name: str, text: str) -> None:
    """Replace one generated section of the report."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    report = REPORT.read_text(encoding="utf-8")
    section = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not section.search(report):
        raise SystemExit(f"{REPORT.name} has no section {name}")
    REPORT.write_text(section.sub(lambda _: f"{begin}\n{text}\n{end}", report), encoding="utf-8")


def pin_client() -> None:
    """Leave the first core to the server."""
    _pin(1)


def _pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"a server did not start: {process.args}")
