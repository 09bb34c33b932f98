"""A response that is known whole: the same table and the same order as a stream, with nothing to pull."""

from __future__ import annotations

from collections.abc import Sequence

from millstream.engine.passing import declared_length, passing_for
from millstream.engine.scope import Scope
from millstream.protocol.lifecycle import Event
from millstream.protocol.ports import Head, Outlet, Transform


async def deliver_whole(
    head: Head, body: bytes, transforms: Sequence[Transform], scope: Scope, outlet: Outlet
) -> None:
    """Settle, then send it in one go.

    Raises:
        HTTPError: the stream was ended early; then nothing was sent.
        WrongLength: the head declares another length; then nothing was sent or committed.
        Exception: whatever a participant raised; then nothing was sent.
    """
    stream = scope.stream
    stream.require_uninterrupted()
    passing = passing_for(head, transforms) if head.describes_body else None
    if passing is not None:
        body = passing.chunk(body) + passing.end()
        head.headers["content-length"] = str(len(body))
    elif head.has_body and (length := declared_length(head, stream.route)) is not None:
        length.require_met(len(body))
    await scope.settled()
    await outlet.send_head(head)
    sent = body if head.has_body else b""
    await outlet.end(sent)
    stream.bytes = len(sent)
    stream.tell(Event.END_SENT)
