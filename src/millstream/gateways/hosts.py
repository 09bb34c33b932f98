"""The host that a request names, and the version of HTTP it speaks: both checked before anything else.

`url(qualified=True)` writes the host into links, and a cache or a password mail carries them further. So a
request that names no host, several, or a foreign one is refused, wherever it leads: to an action, a mounted
application, a durable stream or a websocket.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

from millstream.config import Settings
from millstream.errors import HTTPError


class Hosts:
    """The hosts that an application answers for."""

    def __init__(self, settings: Settings) -> None:
        allowed = settings.allowed_hosts.lower().replace(",", " ").split()
        self._names = frozenset(name for name in allowed if not name.startswith("*."))
        self._domains = tuple(name.removeprefix("*") for name in allowed if name.startswith("*."))
        self._any = not allowed

    def refusal(self, scope: Scope) -> HTTPError | None:
        """Why a request is not answered; None when it is.

        A request of HTTP/1.1 names exactly one host (RFC 9112 §3.2); an older one may name none.
        """
        version = scope.get("http_version", _NOT_TOLD)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if version not in _SPOKEN:
            return HTTPError(505, "this server speaks HTTP/1.1 and HTTP/2")
        if len(hosts) > 1 or (not hosts and version == _WITH_HOST):
            return HTTPError(400, "a request must have one Host header")
        if not hosts:
            return None if self._any else _FOREIGN
        found = _HOST(hosts[0].decode("latin-1"))
        if found is None:
            return HTTPError(400, "the Host header is no host and port")
        return None if self._any or self._allows(found[1].lower().rstrip(".")) else _FOREIGN

    def _allows(self, host: str) -> bool:
        return host in self._names or host.endswith(self._domains)


_FOREIGN: Final = HTTPError(400, "this server does not answer for that host")
_NOT_TOLD: Final = "1.0"  # by whoever calls the application in its own process
_WITH_HOST: Final = "1.1"
_SPOKEN: Final = frozenset({"1", "1.0", "1.1", "2", "3"})
"""As servers spell them; granian writes 1.0 as 1. A request line of HTTP/1 that claims another version has
two digits: 0.9, 2.0."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?").fullmatch
"""RFC 3986 §3.2.2 without the comma, by which some proxies join two hosts to one."""
