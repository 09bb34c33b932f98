"""What whoever deploys decided, collected from the target, the environment and the options.

Options win over the environment, the environment over the file, the file over the defaults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millstream.cli import environment, inifile
from millstream.cli.values import Given, understood
from millstream.config import Settings
from millstream.errors import ConfigurationError

LOG_LEVELS: Final = ("critical", "error", "warning", "info", "debug", "trace")
HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where and how the server runs.

    Raises:
        ConfigurationError: when a value is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 8080  # 0 takes a free one
    workers: int = 1
    log_level: str = "info"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= HIGHEST_PORT:
            raise ConfigurationError(f"the port is {self.port}: it must be 0 (a free one) to {HIGHEST_PORT}")
        if self.workers < 1:
            raise ConfigurationError(f"the number of workers is {self.workers}: it must be at least 1")
        if self.log_level not in LOG_LEVELS:
            raise ConfigurationError(
                f"the log level is {self.log_level!r}: it must be one of {', '.join(LOG_LEVELS)}"
            )


SETTINGS: Final = frozenset(field.name for field in dataclasses.fields(Settings))
SERVER: Final = frozenset(field.name for field in dataclasses.fields(ServerOptions))


@dataclass(frozen=True, slots=True)
class Deployment:
    """One application, its settings, and its server."""

    application: Given  # `package.module:app`, or the root controller
    is_root: bool  # whether it names a root controller
    participants: Given | None  # what settles with its streams, by names
    given: Mapping[str, Given]  # the settings that somebody wrote down
    settings: Settings  # the same, understood
    server: ServerOptions
    file: Path | None  # the ini file, if there is one


def collect(target: str, options: Mapping[str, Given], environ: Mapping[str, str]) -> Deployment:
    """Read the target and lay environment and options over it.

    Raises:
        ConfigurationError: when a file, a variable, an option or a value of theirs cannot be used.
    """
    if target.endswith(".ini"):
        file = inifile.read(Path(target), settings=SETTINGS, server=SERVER)
        application, is_root, participants = file.application, file.is_root, file.participants
        written = {**file.settings, **file.server}
    else:
        application, is_root, participants, written = Given(target, "the target"), False, None, {}
    written |= environment.read(environ, known=SETTINGS | SERVER)
    given = {name: text for name, text in written.items() if name in SETTINGS}
    return Deployment(
        application=application,
        is_root=is_root,
        participants=participants,
        given=given,
        settings=understood(Settings, given),
        server=_server(written, options),
        file=Path(target) if target.endswith(".ini") else None,
    )


def server_options(options: Mapping[str, Given], environ: Mapping[str, str]) -> ServerOptions:
    """The server of an application that brings its own settings, as the demo does.

    Raises:
        ConfigurationError: when a variable, an option or a value of theirs cannot be used.
    """
    return _server(environment.read(environ, known=SERVER), options)


def _server(written: Mapping[str, Given], options: Mapping[str, Given]) -> ServerOptions:
    known = {name: text for name, text in written.items() if name in SERVER}
    return understood(ServerOptions, {**known, **options})
