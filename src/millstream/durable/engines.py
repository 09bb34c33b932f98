"""Which engine a URL means. An engine's library is imported when its URL is opened, and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from millstream.durable.engine import Engine
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.urls import parted
from millstream.errors import ConfigurationError


def open_log(url: str) -> Log:
    """The log at a URL, still to be opened (`async with`).

    `memory:`, `sqlite:///streams.db` (relative) or `sqlite:////var/lib/streams.db`, `redis://…`,
    `rediss://…`, `postgresql://…`; each with `?namespace=…`, where several applications share a database.

    Raises:
        ConfigurationError: when no engine understands the URL, or its extra is not installed.
    """
    url, namespace = parted(url)
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return Log(MemoryEngine())
    if scheme not in _ENGINES:
        known = ", ".join(["memory", *_ENGINES])
        raise ConfigurationError(f"the durable URL begins with {scheme!r}: it must be one of {known}")
    module, name, extra = _ENGINES[scheme]
    try:
        engine = getattr(import_module(module), name)
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"the durable URL begins with {scheme!r}, which needs the library {missing.name}: "
            f"install it with pip install 'millstream[{extra}]'"
        ) from missing
    return Log(cast("Engine", engine(url, namespace)))


_ENGINES: Final = {
    "sqlite": ("millstream.durable.sqlite", "SqliteEngine", "durable"),
    "redis": ("millstream.durable.redis", "RedisEngine", "redis"),
    "rediss": ("millstream.durable.redis", "RedisEngine", "redis"),
    "postgresql": ("millstream.durable.postgres", "PostgresEngine", "postgres"),
}
"""The module and the class of each engine, made with URL and namespace, and the extra with its library."""
