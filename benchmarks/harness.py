"""What all benchmarks share: a draining client, options, progress, a table, and the report they write.

Everything stays on the loopback and is bounded in time. Server and client are pinned to a core each where the
system allows it, so that they do not take turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from servers import HOST, ServerFailed, pin_client, running, uvicorn

__all__ = [
    "HERE",
    "PATIENCE",
    "REPORT",
    "Drained",
    "Options",
    "drain",
    "machine",
    "options",
    "pin_client",
    "progress",
    "publish",
    "requested",
    "serving",
    "table",
    "write_section",
]

HERE = Path(__file__).parent
REPORT = HERE.parent / "BENCHMARKS.md"
PATIENCE = 60.0
END = b"0\r\n\r\n"  # the chunk that ends a body (RFC 9112, section 7.1)


@dataclass(frozen=True, slots=True)
class Options:
    quick: bool  # small loads and one round: does it work, not how fast
    write: bool  # replace the section of the report


@dataclass(frozen=True, slots=True)
class Drained:
    seconds: float  # from the request's last byte to the response's
    first_byte: float  # of the body: a head may leave long before there is anything to send
    bytes: int  # of the whole response


def options(description: str | None) -> Options:
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small loads, to see that it works")
    parser.add_argument("--write", action="store_true", help=f"write the table into {REPORT.name}")
    chosen = parser.parse_args()
    return Options(quick=chosen.quick, write=chosen.write)


@contextmanager
def serving(target: str) -> Iterator[tuple[int, int]]:
    """Run one ASGI application under uvicorn on a free port; its port and its process id."""
    with running(uvicorn(target)) as server:
        yield server.port, server.pid


def drain(port: int, path: str) -> Drained:
    """Read one response to its end, as fast as it comes.

    Raises:
        ServerFailed: when it is no success, or is broken off.
    """
    with requested(port, path) as client:
        started = time.perf_counter()
        buffer = memoryview(bytearray(1 << 20))
        taken = client.recv_into(buffer)
        while bytes(buffer[:taken]).endswith(b"\r\n\r\n") and (more := client.recv_into(buffer[taken:])):
            taken += more  # the head came alone
        first = time.perf_counter() - started
        if not bytes(buffer[:12]).endswith(b" 200"):
            raise ServerFailed(f"{path} on port {port} answered {bytes(buffer[:200])!r}")
        end = bytes(buffer[:taken])[-5:]
        while more := client.recv_into(buffer):
            taken += more
            end = (end + bytes(buffer[max(0, more - 5) : more]))[-5:]
        seconds = time.perf_counter() - started
    if end != END:
        raise ServerFailed(f"{path} on port {port} was broken off")
    return Drained(seconds, first, taken)


def requested(port: int, path: str) -> socket.socket:
    """A connection that has asked for a path and read nothing yet."""
    client = socket.create_connection((HOST, port), timeout=PATIENCE)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return client


@contextmanager
def progress(what: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Show how many of so many steps are done; the function yielded is told what begins.

    Drawn on stderr and seldom, so that it neither mixes with the table nor takes the client's time.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as shown:
        task = shown.add_task(what, total=steps)
        begun = False

        def begin(step: str) -> None:
            nonlocal begun
            shown.update(task, description=f"{what}: {step}", advance=int(begun))
            begun = True

        yield begin
        shown.update(task, description=what, advance=int(begun))


def machine(*more: str) -> str:
    """One line about where the figures come from."""
    names = ("starlette", "uvicorn", "uvloop", "httptools", *more)
    packages = ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(names))
    where = f"{os.cpu_count()} cores ({_processor()}), {platform.system()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {where}, Python {platform.python_version()}, {packages}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown, numbers as they are given."""
    names = list(header)
    lines = [f"| {' | '.join(row)} |" for row in (names, *rows)]
    lines.insert(1, "|" + "---|" * len(names))
    return "\n".join(lines)


def publish(name: str, text: str, chosen: Options) -> None:
    """Print a section, and write it into the report when that was asked for."""
    print(text)
    if chosen.write:
        write_section(name, text)


def write_section(name: str, text: str) -> None:
    """Replace one generated section of the report."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    report = REPORT.read_text(encoding="utf-8")
    section = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not section.search(report):
        raise SystemExit(f"{REPORT.name} has no section {name}")
    REPORT.write_text(section.sub(lambda _: f"{begin}\n{text}\n{end}", report), encoding="utf-8")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    named = cpuinfo.exists() and re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="ascii"))
    return named[1] if named else platform.processor() or platform.machine()
