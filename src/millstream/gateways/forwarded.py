"""Who the client is, when requests come by proxies: believed as far as they are trusted, and no further.

Every proxy adds the address it was asked from to the right of what it was sent, so the header is read from
the right: each address that a trusted proxy wrote is true, and the first of them that is no trusted proxy
itself is the client. What stands to the left of it came from that client, and may be anything.

Only one header is read, the one that the deployment's proxies write: they pass the other on as the client
made it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from starlette.types import Scope

from millstream.config import UNIX, Settings, networks

Address = IPv4Address | IPv6Address


class Proxies:
    """The proxies that are believed about their clients."""

    def __init__(self, settings: Settings) -> None:
        self._networks = networks(settings.trusted_proxies)
        self._unix = UNIX in settings.trusted_proxies.replace(",", " ").split()
        self._header = settings.proxy_header.encode()
        self._has_scheme = self._header == b"forwarded"  # then any other header is the client's own
        self._hops = _hops_of_forwarded if self._has_scheme else _hops_of_list

    def __bool__(self) -> bool:
        return bool(self._networks) or self._unix

    def resolved(self, scope: Scope) -> Scope:
        """The scope with the client that trusted proxies tell of, and the scheme it used."""
        if not self._trusts_peer(scope):
            return scope
        told, scheme = self._told(scope)
        if told is not None:
            scope = {**scope, "client": (str(told), 0)}
        return {**scope, "scheme": scheme} if scheme in _SCHEMES else scope

    def _told(self, scope: Scope) -> tuple[Address | None, str]:
        """The client, None when no proxy names it, and the scheme it used, "" when no proxy tells."""
        client, scheme = None, "" if self._has_scheme else _last(scope, b"x-forwarded-proto")
        for node, proto in self._hops(_joined(scope, self._header)):
            address = address_of(node)
            if address is None:
                break  # `unknown`, a name of the proxy's own, or garbage: nothing further is known
            client, scheme = address, proto or scheme
            if not self._trusts(address):
                break
        return client, scheme

    def _trusts_peer(self, scope: Scope) -> bool:
        host = (scope.get("client") or ("",))[0]
        if not host:
            return self._unix
        peer = address_of(host)
        return peer is not None and self._trusts(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def address_of(node: str) -> Address | None:
    """The address in what a proxy wrote, with or without a port; None when there is none (RFC 7239 §6)."""
    node = node.strip().strip('"')
    found = _WITH_PORT.fullmatch(node)
    try:
        address = ip_address((found[1] or found[2]) if found else node)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address  # a socket for both families gives IPv4 so: it is the same client


def _hops_of_list(value: str) -> Iterator[tuple[str, str]]:
    """The nodes of an `X-Forwarded-For`, nearest first."""
    for node in reversed(value.split(",")):
        if node.strip():  # empty elements of a list count for nothing (RFC 9110 §5.6.1.2)
            yield node, ""


def _hops_of_forwarded(value: str) -> Iterator[tuple[str, str]]:
    """The nodes of a `Forwarded` (RFC 7239 §4) and the schemes they were asked with, nearest first."""
    for element in _elements(value):
        pairs = dict(_PAIR.findall(element))
        fields = {name.lower(): text.strip('"') for name, text in pairs.items()}
        if element.strip():
            yield fields.get("for", ""), fields.get("proto", "").lower()


def _elements(value: str) -> Iterator[str]:
    """Split at commas from the right, so that a quote the client left open on the left opens nothing."""
    end, quoted = len(value), False
    for position in range(len(value) - 1, -1, -1):
        if value[position] == '"':
            quoted = not quoted
        elif value[position] == "," and not quoted:
            yield value[position + 1 : end]
            end = position
    yield value[:end]


def _joined(scope: Scope, name: bytes) -> str:
    """All lines of one header, as one (RFC 9110 §5.3)."""
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def _last(scope: Scope, name: bytes) -> str:
    return _joined(scope, name).rpartition(",")[2].strip().lower()


_SCHEMES: Final = frozenset({"http", "https"})
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::[\w.-]*)?|([0-9.]+):[\w.-]*")
_PAIR: Final = re.compile(r'([\w!#$%&\'*+.^`|~-]+)=("[^"]*"|[^\s;,"]*)')
