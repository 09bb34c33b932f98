"""uvicorn, for what ASGI has no word for: how its methods wait, and the transport behind them.

`send` of uvicorn is a method of the object that answers one request, and that has the connection's
transport. Nothing promises it: when a middleware stands between or a version changes, None is the answer,
and the connection is found in another way.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from starlette.types import Receive, Send


def transport_of(send: Send) -> asyncio.Transport | None:
    """The transport behind a server's `send`, when it can be had."""
    transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
    if not callable(getattr(transport, "abort", None)):
        return None
    return cast("asyncio.Transport", transport)  # uvloop's own is no subclass


def is_plain(method: Receive | Send) -> bool:
    """Whether this is uvicorn's own `receive` or `send`, and no middleware's: it waits for an `asyncio.Event`."""
    return type(getattr(method, "__self__", None)).__module__.startswith("uvicorn.protocols.http.")


def is_closing(send: Send) -> bool:
    """Whether the connection behind a server's `send` is known to be closed, or about to be."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    asked = getattr(transport, "is_closing", None)
    return bool(asked is not None and asked())
