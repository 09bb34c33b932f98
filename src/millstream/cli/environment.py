"""The environment: `MILLSTREAM_DEBUG=true` says the same as `debug = true` in an ini file, and wins."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from millstream.cli.spelling import meant
from millstream.cli.values import Given
from millstream.errors import ConfigurationError

PREFIX: Final = "MILLSTREAM_"


def read(environ: Mapping[str, str], *, known: AbstractSet[str]) -> dict[str, Given]:
    """The settings in the environment.

    Raises:
        ConfigurationError: when a variable with our prefix names no known setting.
    """
    variables = {PREFIX + name.upper(): name for name in known}
    found: dict[str, Given] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        if variable not in variables:
            raise ConfigurationError(
                f"the environment variable {variable} is not known: {meant(variable, variables)}"
            )
        found[variables[variable]] = Given(environ[variable].strip(), f"the environment variable {variable}")
    return found
