"""The server: one listening socket, and uvicorn behind it in one or several processes."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import typer
import uvicorn
from uvicorn.supervisors import ChangeReload, Multiprocess

from millstream.cli import logs
from millstream.cli.deployment import Deployment, ServerOptions
from millstream.cli.request_heads import LimitedHeads
from millstream.config import Settings
from millstream.errors import ConfigurationError

BACKLOG: Final = 4096  # what Linux grants: whoever comes when it is full tries again only after a second
LISTENERS: Final = 5
"""Times that the port is listened to.

For each the loop lets in one client a turn. When a crowd comes, one alone has a turn of the loop for every
client, and falls so far behind that the backlog fills; whoever does not find room there waits for a second.
"""

TARGET: Final = "_MILLSTREAM_TARGET"
"""The variable that tells worker processes what to serve; its name keeps out of the settings' way."""

RELOADING: Final = "_MILLSTREAM_RELOADING"
"""The variable that tells a worker process that it will be replaced whenever a file changes."""

MARGIN: Final = 2.0  # seconds for the server's own part of a shutdown
AT_LAST: Final = 0.5  # seconds for what uvicorn has cancelled
RELOAD_TIMEOUT: Final = 0.5  # seconds: whoever edits a file does not want to wait for open streams


def listen(options: ServerOptions) -> socket.socket:
    """Take the port, before anything else is done that might be in vain.

    The socket listens at once: who connects before the application is ready waits instead of being refused.

    Raises:
        ConfigurationError: when the address cannot be had.
    """
    family, address = _resolved(options)
    try:
        taken = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as refused:
        reason = os.strerror(refused.errno) if refused.errno else str(refused)
        raise ConfigurationError(
            f"port {options.port} of {options.host} cannot be used: {reason[:1].lower()}{reason[1:]}"
        ) from None
    taken.set_inheritable(True)
    return taken


def _resolved(options: ServerOptions) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):  # the latter for what the IDNA codec cannot encode
        raise ConfigurationError(f"the host {options.host!r} is no address of this machine") from None
    # A name such as localhost may mean both; the older family is understood by every client.
    family, *_, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return family, (str(address[0]), options.port)


def address(taken: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(application: Any, options: ServerOptions, taken: socket.socket) -> None:
    """Serve in this process until it is told to end."""
    settings = settings_of(application)
    server = _Server(_config(application, options, settings), settings.close_timeout)
    try:
        server.run(sockets=_listeners(taken))
    except KeyboardInterrupt:
        return  # uvicorn has shut down already and only passes the signal on
    if not server.started:
        raise typer.Exit(1)


def run_workers(deployment: Deployment, settings: Settings, taken: socket.socket, target: str) -> None:
    """Serve in several processes, which load the application themselves."""
    os.environ[TARGET] = target
    config = _config(_WORKER, deployment.server, settings, factory=True, workers=deployment.server.workers)
    _Workers(config, sockets=_listeners(taken)).run()


def run_reloading(deployment: Deployment, settings: Settings, taken: socket.socket, target: str) -> None:
    """Serve in one process that is replaced whenever a file changes."""
    os.environ |= {TARGET: target, RELOADING: "yes"}
    folder = [str(deployment.file.resolve().parent)] if deployment.file else []
    config = _config(
        _WORKER,
        deployment.server,
        settings,
        factory=True,
        reload=True,
        reload_dirs=[str(Path.cwd()), *folder],
        reload_includes=["*.py", "*.ini", "*.html"],
        timeout_graceful_shutdown=math.ceil(RELOAD_TIMEOUT + MARGIN),
    )
    server = _Server(config, settings.close_timeout)
    ChangeReload(config, target=server.run, sockets=_listeners(taken)).run()


def _listeners(taken: socket.socket) -> list[socket.socket]:
    return [taken, *(taken.dup() for _ in range(LISTENERS - 1))]


class _Server(uvicorn.Server):
    """uvicorn, which does not wait for what cannot be interrupted: a thread that blocks.

    Args:
        config: uvicorn's.
        close_timeout: seconds that requests which were interrupted may take to end.
    """

    def __init__(self, config: uvicorn.Config, close_timeout: float) -> None:
        super().__init__(config)
        self._close_timeout = close_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: list[int] = []
        self._wait_until = -math.inf  # for requests, after a second signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        again = sig in self._heard or (sig == signal.SIGINT and bool(self._heard))  # as `Ending` has it
        self._heard.append(sig)
        super().handle_exit(sig, frame)
        if again and self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry)

    def _hurry(self) -> None:
        """A second signal, at which the application interrupts its streams, leaves them that long to end."""
        loop = asyncio.get_running_loop()
        self._wait_until = loop.time() + self._close_timeout
        loop.call_at(self._wait_until, setattr, self, "force_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        patience = max(self._wait_until - asyncio.get_running_loop().time(), AT_LAST)
        undone = set(self.server_state.tasks)
        if undone:
            _, undone = await asyncio.wait(undone, timeout=patience)
        if self.force_exit:  # then uvicorn leaves this out
            with suppress(TimeoutError):
                await asyncio.wait_for(self.lifespan.shutdown(), self._close_timeout)
        if undone and self._heard:
            _give_up(len(undone), self._heard[0])


def _give_up(undone: int, told: int) -> None:
    """End as the signal ends those who do not listen: the interpreter would wait for the threads."""
    _LOG.error("requests that did not end in time, and are given up with the process: %d", undone)
    sys.stdout.flush()
    signal.signal(told, signal.SIG_DFL)
    signal.raise_signal(told)


class _Workers(Multiprocess):
    """uvicorn's supervisor, which passes a signal on at once, and a second one while its workers end, too."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._told: set[int] = set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)

    def keep_subprocess_alive(self) -> None:
        if not self._told:  # else they are meant to end
            super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        for worker in self.processes:
            if worker.pid not in self._told:
                worker.terminate()

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        # As SIGTERM, whatever it was: a terminal tells the workers, too, and two SIGINTs would be haste.
        self.signal_queue.append(number)
        for worker in self.processes:
            if worker.pid is not None:
                self._told.add(worker.pid)
                with suppress(OSError):  # it has ended already
                    os.kill(worker.pid, signal.SIGTERM)
                    worker.child_conn.send(True)  # for it, if it dies before it answers the ping we wait for


def settings_of(application: Any) -> Settings:
    """The application's settings; the defaults for an application that is not ours."""
    settings = getattr(application, "settings", None)
    return settings if isinstance(settings, Settings) else Settings()


def _config(application: Any, options: ServerOptions, settings: Settings, **more: Any) -> uvicorn.Config:
    # Streams may go on for drain_timeout and clean up for close_timeout; what is left then, the server ends.
    patience = settings.drain_timeout + settings.close_timeout + MARGIN
    return uvicorn.Config(
        application,
        **{
            "http": LimitedHeads,
            "host": options.host,
            "port": options.port,
            "log_config": logs.configuration(options.log_level),
            "log_level": options.log_level,
            "access_log": options.log_level in _LOGS_ACCESS,  # else each line would be made for nobody
            "server_header": False,  # nobody needs to know what we are to talk to us
            "proxy_headers": False,  # the application's own `trusted_proxies` decides whom to believe
            "backlog": BACKLOG,
            "timeout_graceful_shutdown": math.ceil(patience) if math.isfinite(patience) else None,
            **more,
        },
    )


_LOG: Final = logging.getLogger("millstream")
_WORKER: Final = "millstream.cli.worker:application"

_LOGS_ACCESS: Final = frozenset({"info", "debug", "trace"})
