"""A Starlette response: it settles as one that is known whole does, and then sends itself."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from starlette.types import ASGIApp

from millstream.engine.scope import Scope
from millstream.protocol.lifecycle import Event
from millstream.protocol.ports import Exchange


async def deliver_foreign(
    response: ASGIApp, own: Sequence[tuple[bytes, bytes]], scope: Scope, exchange: Exchange
) -> None:
    """Settle, then let it send itself.

    Args:
        response: the response, which may serve other requests, too: it is not changed.
        own: the headers and cookies that the author set; they come on top where it has none of that name.
        scope: what settles.
        exchange: where to.

    Raises:
        HTTPError: the stream was ended early; then nothing was sent.
        Exception: whatever a participant or the response raised.
    """
    stream = scope.stream

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]} - {b"set-cookie"}
            more = [(name, value) for name, value in own if name not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await exchange.forward(message)

    stream.require_uninterrupted()
    stream.tell(Event.EXHAUSTED)
    await scope.commit()
    stream.tell(Event.COMMITTED)
    await response(exchange.scope, exchange.receive, send)
    stream.tell(Event.END_SENT)
