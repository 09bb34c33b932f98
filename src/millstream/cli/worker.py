"""What a worker process starts with: the target from the environment, loaded once more, here."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from uvicorn.config import STARTUP_FAILURE

from millstream.cli import deployment, target
from millstream.cli.draining import drained
from millstream.cli.serving import TARGET
from millstream.errors import ConfigurationError


def application() -> Any:
    """The application of this process; the factory that uvicorn calls."""
    try:
        return drained(target.load(deployment.collect(os.environ[TARGET], {}, os.environ)))
    except ConfigurationError as error:
        typer.echo(f"millstream: {error}", err=True)
        # The status by which uvicorn's supervisor knows that starting another one would be in vain.
        sys.exit(STARTUP_FAILURE)
