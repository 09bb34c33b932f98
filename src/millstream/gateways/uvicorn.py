"""uvicorn, for what ASGI has no word for: how its methods wait, and the transport behind them.

`send` of uvicorn is a method of the object that answers one request, and that has the connection's
transport. Nothing promises it: when a middleware stands between or a version changes, None is the answer,
and the connection is found in another way.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final, cast

from starlette.types import Receive, Send


def transport_of(send: Send) -> asyncio.Transport | None:
    """The transport behind a server's `send`, when it can be had."""
    transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
    if not callable(getattr(transport, "abort", None)):
        return None
    return cast("asyncio.Transport", transport)  # uvloop's own is no subclass


def is_plain(method: Receive | Send) -> bool:
    """Whether this is uvicorn's own `receive` or `send`, and no middleware's: it waits for an event alone."""
    return type(getattr(method, "__self__", None)).__module__.startswith("uvicorn.protocols.http.")


def request_of(receive: Receive) -> Any:
    """The object of uvicorn's for one request, if this is its `receive` and waits for the event we know."""
    request = getattr(receive, "__self__", None)
    return request if is_plain(receive) and hasattr(request, "message_event") else None


def is_closing(send: Send) -> bool:
    """Whether the connection behind a server's `send` is known to be closed, or about to be."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    asked = getattr(transport, "is_closing", None)
    return bool(asked is not None and asked())


def tell_gone(send: Send) -> None:
    """Tell uvicorn that a client has left whose connection it knows to be closed, or about to be.

    uvicorn notes it only when the connection is lost, and of several requests in a pipeline only the newest.
    Until then it takes an application that returns before its end for one that has failed, and logs an error.
    """
    request: Any = getattr(send, "__self__", None)
    if is_plain(send) and hasattr(request, "disconnected") and is_closing(send):
        request.disconnected = True


def keep_little_unsent(send: Send) -> None:
    """Have the kernel take no more than it may send soon, so that a write waits for its reader.

    Else it takes some megabytes ahead: a write that has to wait then waits for all of them, and a slow but
    steady reader looks like one that has stopped. What was sent and is on its way is not counted, so that
    nothing is slower by it.
    """
    transport = transport_of(send)
    taken = transport.get_extra_info("socket") if transport is not None else None
    if _NOTSENT_LOWAT is not None and taken is not None and taken.family in _INTERNET:
        with suppress(OSError, ValueError):  # it was closed meanwhile
            taken.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT)


UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes before they can be sent."""

_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
