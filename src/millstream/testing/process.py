"""A real server in a process of its own: for signals, several workers and crashes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from millstream.testing.failures import ServerFailed
from millstream.testing.log import Log
from millstream.testing.server import HOST, listening
from millstream.testing.waiting import TIMEOUT

START_TIMEOUT: Final = 20.0
"""Seconds a process may take to start: an interpreter, all imports and the application's own start."""


class ServerProcess:
    """A uvicorn in a process of its own; made by `serve_process`."""

    def __init__(
        self, command: Sequence[str], listener: socket.socket, environment: Mapping[str, str]
    ) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self._log = Log()
        # A session of its own, so that `kill` reaches the workers, too.
        self._process = subprocess.Popen(  # noqa: S603  the command is this interpreter and the test's own words
            command,
            env=environment,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listening = threading.Thread(target=self._listen, name=f"log of {self.pid}", daemon=True)
        self._listening.start()

    @property
    def url(self) -> str:
        """Where it is, as `http://127.0.0.1:8080`."""
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process; with several workers, of their supervisor."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written until now."""
        return self._log.text

    def wait_log(self, pattern: str, timeout: float = TIMEOUT, *, times: int = 1) -> None:
        """Wait until its log matches a regular expression so many times.

        Raises:
            ServerFailed: when it ends, or does not in time.
        """
        self._log.wait(pattern, timeout, times=times)

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and its workers at once: SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Wait for its end, and its workers', and return its exit status; negative when a signal ended it.

        Raises:
            ServerFailed: when it does not end in time.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"the server did not end within {timeout:g} s", log=self.log) from None
        self._listening.join(timeout)
        return status

    def close(self, patience: float) -> None:
        """End it, politely if it ends within so many seconds."""
        try:
            if self._process.poll() is None:
                self.terminate()
                self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()  # workers that outlived their supervisor, too
            self._process.wait()
            self._listening.join(TIMEOUT)

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  for the type checker: it is a pipe
        with self._process.stdout as lines:
            for line in lines:
                self._log.add(line)
        self._log.close()


@contextmanager
def serve_process(
    app: str,
    *,
    workers: int = 1,
    host: str = HOST,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = START_TIMEOUT,
    patience: float = TIMEOUT,
) -> Iterator[ServerProcess]:
    """Run an application under uvicorn in a process of its own, on a free port.

    Args:
        app: where it is, as `module:app`.
        workers: how many processes serve it.
        host: the address to listen on.
        options: more of uvicorn's command line, as `["--app-dir", folder]`.
        environment: added to this process' own.
        timeout: seconds for the start.
        patience: seconds it has to end after the block; then it is killed.

    Raises:
        ServerFailed: when it does not start; its log tells why.
    """
    with listening(host) as listener:
        command = [sys.executable, "-m", "uvicorn", app, "--fd", str(listener.fileno())]
        command += ["--workers", str(workers), "--no-use-colors", *options]
        process = ServerProcess(
            command, listener, {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
        )
    try:
        process.wait_log(_READY, timeout, times=workers)
        yield process
    finally:
        process.close(patience)


_READY: Final = "startup complete|appears unsupported"
