"""Servers as people start them, each in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.wire.conftest import PATIENCE

from millstream.testing import connect

HERE: Final = Path(__file__).parent
START: Final = 60.0
"""Seconds that a server may take to take connections."""


class Running:
    """A server, and whatever processes it starts."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.port: int = reserved.getsockname()[1]
        self._log = log
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603  our own words
                [sys.executable, "-m", *command, *_at(command[0], self.port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {}), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                cwd=cwd,
                start_new_session=True,
            )

    def wait_started(self) -> None:
        deadline = time.monotonic() + START
        while True:
            try:
                return connect("127.0.0.1", self.port).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.02)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + START
        while self.log.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} is not {times} times in:\n{self.log}"
            time.sleep(0.01)

    def end(self, *numbers: signal.Signals, within: float) -> float:
        """Send signals, wait for the end, and return how long it took."""
        began = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within:g} s:\n{self.log}") from None
        return time.monotonic() - began

    def stop(self) -> None:
        try:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End every process of it, those that outlived their parent among them."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _at(server: str, port: int) -> list[str]:
    return ["--bind", f"127.0.0.1:{port}"] if server == "hypercorn" else ["--port", str(port)]


@contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Running]:
    """A server that takes connections."""
    server = Running(command, folder / "log", environment, cwd)
    try:
        server.wait_started()
        yield server
    finally:
        server.stop()
