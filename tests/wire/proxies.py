"""nginx, as people put it before a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.wire.conftest import PATIENCE

from millstream.testing import WireClient

NGINX: Final = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log stderr notice;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


class Nginx:
    """An nginx in front of a server.

    Args:
        folder: where it keeps its files.
        servers: what its configuration says, with `{port}` for where it listens.
    """

    def __init__(self, folder: Path, servers: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self.port: int = reserved.getsockname()[1]
        configuration = folder / "nginx.conf"
        said = servers.replace("{port}", str(self.port))
        configuration.write_text(AROUND.format(folder=folder, servers=said), encoding="utf-8")
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own words
                [str(NGINX), "-p", str(folder), "-c", str(configuration)], stdout=log, stderr=log
            )

    def connect(self, source: str = "127.0.0.2") -> WireClient:
        """A client that is not on the address of the proxy."""
        there = ("127.0.0.1", self.port)
        return WireClient(
            socket.create_connection(there, timeout=PATIENCE, source_address=(source, 0)), timeout=PATIENCE
        )

    def wait_started(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.connect().close()
            except ConnectionRefusedError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.01)

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


@contextmanager
def fronted(folder: Path, servers: str) -> Iterator[Nginx]:
    """An nginx that takes connections."""
    nginx = Nginx(folder, servers)
    try:
        nginx.wait_started()
        yield nginx
    finally:
        nginx.stop()
