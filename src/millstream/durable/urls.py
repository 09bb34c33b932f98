"""Where a log is: its URL, and the namespace in it.

Applications that share a database each have a namespace there, `redis://host/0?namespace=shop`: streams of
two namespaces never meet. Without one a log has the names that it has always had.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from millstream.errors import ConfigurationError


def parted(url: str) -> tuple[str, str]:
    """A URL without its namespace, and the namespace, "" if it has none.

    Raises:
        ConfigurationError: when there are several, or it is no name of a namespace.
    """
    address, _, query = url.partition("?")
    options = [option for option in query.split("&") if option]
    named = [option for option in options if option.partition("=")[0] == NAMESPACE]
    if len(named) > 1:
        raise ConfigurationError(f"the durable URL names more than one namespace: {' and '.join(named)}")
    namespace = unquote(named[0].partition("=")[2]) if named else ""
    if named:
        require_namespace(namespace)
    rest = "&".join(option for option in options if option not in named)
    return (f"{address}?{rest}" if rest else address), namespace


def require_namespace(namespace: str) -> None:
    """Require a name that can be part of every database's names.

    Raises:
        ConfigurationError: when it is none.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            f"the namespace {namespace!r} of the durable URL cannot be used: "
            "it must have 1 to 32 of a-z, 0-9 and _, a letter first"
        )


NAMESPACE: Final = "namespace"
_NAMESPACE: Final = re.compile("[a-z][a-z0-9_]{0,31}")
