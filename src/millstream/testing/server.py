"""A real server around an application, on a free port, for tests of what goes over the wire."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from millstream.testing.failures import ServerFailed
from millstream.testing.log import Log
from millstream.testing.waiting import TIMEOUT, line_of

HOST: Final = "127.0.0.1"

CANCEL_AFTER: Final = 1.0
"""Seconds a call of the application has to end after its connection was cut; then uvicorn cancels it."""


class Server:
    """A uvicorn in a thread of this process; made by `serve`."""

    def __init__(self, app: ASGIApp, listener: socket.socket, settings: dict[str, Any]) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self._listener = listener
        self._log = Log()
        self._handler = _ThreadLog(self._log)
        self._failure: BaseException | None = None
        self._uvicorn = _Uvicorn(uvicorn.Config(app, **settings))
        self._thread = threading.Thread(target=self._run, name=f"uvicorn {self.url}", daemon=True)

    @property
    def url(self) -> str:
        """Where it is, as `http://127.0.0.1:8080`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def log(self) -> str:
        """What uvicorn has logged until now; an exception of the application among it."""
        return self._log.text

    def wait_log(self, pattern: str, timeout: float = TIMEOUT) -> None:
        """Wait until its log matches a regular expression; an exception is logged after its reply was sent.

        Raises:
            ServerFailed: when it does not in time.
        """
        self._log.wait(pattern, timeout)

    def start(self, timeout: float) -> None:
        """Start, and return once connections are taken.

        Raises:
            ServerFailed: when it ends instead, because the application's start-up failed, or takes too long.
        """
        logger = logging.getLogger("uvicorn")
        logger.addHandler(self._handler)
        self._thread.start()
        if not self._uvicorn.settled.wait(timeout):
            self.stop(timeout=timeout)
            raise ServerFailed(f"the server did not start within {timeout:g} s", log=self.log)
        if not self._uvicorn.started:
            self._thread.join(timeout)
            raise ServerFailed("the server did not start", log=self.log) from self._failure

    def stop(self, grace: float = 0.0, *, timeout: float = TIMEOUT) -> None:
        """Stop; a further call does nothing.

        Args:
            grace: seconds that open streams may go on before their connections are cut.
            timeout: seconds for the application's shutdown, beyond.

        Raises:
            ServerFailed: when it does not end in time.
        """
        self._uvicorn.grace = grace
        self._uvicorn.should_exit = True
        limit = grace + CANCEL_AFTER + timeout
        self._thread.join(limit)
        logging.getLogger("uvicorn").removeHandler(self._handler)
        if self._thread.is_alive():
            frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001  the documented way
            stood = line_of(frame) if frame else "its end"
            raise ServerFailed(
                f"the server did not stop within {limit:g} s; it stood at {stood}", log=self.log
            )

    def _run(self) -> None:
        self._handler.follow(threading.get_ident())
        try:
            self._uvicorn.run(sockets=[self._listener])
        except BaseException as failure:  # noqa: BLE001  uvicorn exits with SystemExit; it is told in `start`
            self._failure = failure
        finally:
            self._listener.close()
            self._log.close()
            self._uvicorn.settled.set()


@contextmanager
def serve(app: ASGIApp, *, host: str = HOST, timeout: float = TIMEOUT, **settings: Any) -> Iterator[Server]:
    """Run an application under a real uvicorn, in a thread, on a free port.

    ::

        with serve(app) as server:
            urllib.request.urlopen(f"{server.url}/")

    Args:
        app: any ASGI application.
        host: the address to listen on.
        timeout: seconds for the start, and for the shutdown.
        settings: of `uvicorn.Config`, as `http="h11"` or `lifespan="on"`.

    Raises:
        ServerFailed: when it does not start, or does not stop after the block.
    """
    # Bound here and handed over: a port that was free a moment ago is a race.
    with listening(host) as listener:
        usual = {"log_config": None, "access_log": False, "timeout_keep_alive": 60}
        server = Server(app, listener, usual | settings)
        server.start(timeout)
        try:
            yield server
        finally:
            server.stop(timeout=timeout)


def listening(host: str) -> socket.socket:
    """A socket that listens on a free port of this host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=2048)


class _Uvicorn(uvicorn.Server):
    """Tells when it has started, and cuts the connections that outlive their grace."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        self.grace = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn declares whole seconds, and waits with whatever it is given
        self.config.timeout_graceful_shutdown = self.grace + CANCEL_AFTER  # type: ignore[assignment]
        cutting = asyncio.get_running_loop().call_later(self.grace, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        for connection in tuple(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _ThreadLog(logging.Handler):
    """Keeps what one thread logs; other servers of this process log elsewhere."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._thread: int | None = None

    def follow(self, thread: int) -> None:
        self._thread = thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._log.add(f"{record.levelname}: {self.format(record)}\n")
