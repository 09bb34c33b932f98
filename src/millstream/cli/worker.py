"""What a worker process starts with: the target from the environment, loaded once more, here."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from uvicorn.config import STARTUP_FAILURE

from millstream.app import Millstream
from millstream.cli import deployment, target
from millstream.cli.serving import RELOAD_TIMEOUT, RELOADING, TARGET
from millstream.errors import ConfigurationError


def application() -> Any:
    """The application of this process; the factory that uvicorn calls."""
    try:
        loaded = target.load(deployment.collect(os.environ[TARGET], {}, os.environ))
    except ConfigurationError as error:
        typer.echo(f"millstream: {error}", err=True)
        # The status by which uvicorn's supervisor knows that starting another one would be in vain.
        sys.exit(STARTUP_FAILURE)
    if RELOADING in os.environ and isinstance(loaded, Millstream):
        loaded.ledger.drain_timeout = min(loaded.ledger.drain_timeout, RELOAD_TIMEOUT)
    return loaded
