"""A response that is known whole: the same table and the same order as a stream, with nothing to pull."""

from __future__ import annotations

from collections.abc import Sequence

from millstream.engine.passing import passing_for
from millstream.engine.scope import Scope
from millstream.protocol.lifecycle import Event
from millstream.protocol.ports import Head, Outlet, Transform


async def deliver_whole(
    head: Head, body: bytes, transforms: Sequence[Transform], scope: Scope, outlet: Outlet
) -> None:
    """Settle, then send it in one go.

    Raises:
        HTTPError: the stream was ended early; then nothing was sent.
        Exception: whatever a participant raised; then nothing was sent.
    """
    stream = scope.stream
    stream.require_uninterrupted()
    passing = passing_for(head, transforms) if head.describes_body else None
    if passing is not None:
        body = passing.chunk(body) + passing.end()
        head.headers["content-length"] = str(len(body))
    await scope.settled()
    await outlet.send_head(head)
    sent = body if head.has_body else b""
    await outlet.end(sent)
    stream.bytes = len(sent)
    stream.tell(Event.END_SENT)
