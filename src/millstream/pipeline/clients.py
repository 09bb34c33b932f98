"""Clients: whom a stream counts for, where its caps ask."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, cast

from millstream.errors import ConfigurationError, ControllerError, HTTPError
from millstream.web.request import Request

ClientKey = Callable[[Request], str]
"""Names the client of a request, on the event loop, so at once; "" is nobody in particular."""


def checked(key: Any) -> ClientKey | None:
    """A key function that can be called.

    Raises:
        ConfigurationError: when it cannot, or would have to be awaited.
    """
    if key is None:
        return None
    if callable(key) and not inspect.iscoroutinefunction(key):
        return cast("ClientKey", key)
    found = "a coroutine function" if callable(key) else repr(key)
    raise ConfigurationError(f"client_key is {found}: it must be a plain function of the request")


def place_of(address: str) -> str:
    """What one client has of the internet: an IPv4 address, or a network of IPv6.

    That is one of 64 bits, of which it may take any address whenever it likes (RFC 8981).
    """
    try:
        place = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(place, IPv4Address):
        return address
    return str(place.ipv4_mapped or IPv6Network((place, 64), strict=False))


def client_of(request: Request, key: ClientKey | None) -> str:
    """Whom a request's stream counts for: what the key function says, else where the client is.

    Raises:
        ControllerError: when the function fails, or answers with anything but a text.
        HTTPError: when it refuses the client.
    """
    if key is None:
        return place_of(request.remote_addr)
    called = getattr(key, "__qualname__", repr(key))
    try:
        client: Any = key(request)
    except HTTPError:
        raise
    except Exception as failed:
        raise ControllerError(
            f"the client_key {called} raised {failed!r}: whom the stream counts for is unknown"
        ) from failed
    if not isinstance(client, str):
        raise ControllerError(
            f"the client_key {called} returned {type(client).__name__}: it must return text"
        )
    return client
