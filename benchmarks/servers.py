"""Servers in processes of their own, on free loopback ports, on a core of their own, and surely ended."""

from __future__ import annotations

import http.client
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import which

HERE = Path(__file__).parent
HOST = "127.0.0.1"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 3.0
BACKLOG = "4096"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

Launch = Callable[[int, int], list[str]]
"""From a port and a number of streams to carry at once to a command."""


class ServerFailed(SystemExit):
    """Ends the benchmark with one sentence, unless it can go on without this server."""


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pid: int


def uvicorn(target: str) -> Launch:
    where = ["--host", HOST, "--backlog", BACKLOG, "--no-access-log", "--log-level", "warning"]
    return lambda port, _: [sys.executable, "-m", "uvicorn", *where, "--port", str(port), target]


def millstream(target: str) -> Launch:
    """As it is deployed: uvicorn, with what `millstream serve` makes of it."""
    command = [str(Path(sys.executable).parent / "millstream"), "serve", target, "--host", HOST]
    return lambda port, _: [*command, "--log-level", "warning", "--port", str(port)]


def gunicorn(target: str) -> Launch:
    """One process of threads; as many as there are streams, or none of the rest would ever begin."""
    how = ["--worker-class", "gthread", "--workers", "1", "--timeout", "120", "--log-level", "warning"]

    def command(port: int, streams: int) -> list[str]:
        many = ["--threads", str(streams), "--worker-connections", str(streams + 100), "--backlog", BACKLOG]
        return [sys.executable, "-m", "gunicorn", *how, *many, "--bind", f"{HOST}:{port}", target]

    return command


def waitress(target: str) -> Launch:
    """As many threads as streams; `poll`, because `select` ends at 1,024 files."""

    def command(port: int, streams: int) -> list[str]:
        many = [f"--threads={streams}", f"--connection-limit={streams + 100}", f"--backlog={BACKLOG}"]
        listen = [f"--listen={HOST}:{port}", "--asyncore-use-poll"]
        return [sys.executable, "-m", "waitress", *listen, *many, target]

    return command


def go(folder: str) -> Launch:
    return lambda port, _: [str(compiled(folder)), f"--listen={HOST}:{port}"]


@cache
def compiled(folder: str) -> Path:
    """The program of one folder, compiled into a folder that goes away with this process."""
    out = Path(_scratch().name) / folder.replace("/", "-")
    command = [which("go") or "go", "build", "-o", str(out), str(HERE / folder / "main.go")]
    places = {"GOCACHE": f"{_scratch().name}/cache"} if "HOME" not in os.environ else {}
    environment = {**os.environ, **places, "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    built = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if built.returncode:
        raise SystemExit(f"benchmarks/{folder}/main.go does not compile:\n{built.stderr}")
    return out


@contextmanager
def running(launch: Launch, *, streams: int = 8, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server, wait until it answers, and end it and its children with the block.

    Raises:
        ServerFailed: when it does not answer in time.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = launch(port, streams)
    environment = {**os.environ, "BENCH_STREAMS": str(streams), **(env or {})}
    with tempfile.TemporaryFile() as log:
        with _on_the_first_core():
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _wait_for(port, process)
            yield Server(port, process.pid)
        except BaseException:
            log.seek(0)
            if said := log.read()[-2000:].decode(errors="replace").strip():
                sys.stderr.write(f"\n{shlex.join(command)} said: {said}\n")
            raise
        finally:
            _end(process)


def raise_open_files(needed: int) -> None:
    """Allow this process and those it starts so many open files.

    Raises:
        SystemExit: when the system does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{needed:,} open files are needed, but the hard limit is {hard:,}: raise it with `ulimit -Hn`"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def pin_client() -> None:
    """Leave the first core to the servers; a process of several threads pins the one that asks."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, set(CORES[1:]))


@contextmanager
def _on_the_first_core() -> Iterator[None]:
    """What is started in this block inherits the core; what is started from it, too."""
    if len(CORES) < 2:
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            asked = http.client.HTTPConnection(HOST, port, timeout=START_TIMEOUT)
            asked.request("GET", "/", headers={"Connection": "close"})
            asked.getresponse().read()  # any answer will do
            asked.close()
            return
        time.sleep(0.05)
    raise ServerFailed("did not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own: nobody else is in this group
        process.wait()


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="millstream-bench-")
