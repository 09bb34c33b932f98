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
        Exception: whatever a participant raised; then nothing was sent.
    """
    stream = scope.stream
    passing = passing_for(head, transforms)
    if passing is not None:
        body = passing.chunk(body) + passing.end()
        head.headers["content-length"] = str(len(body))
    stream.tell(Event.EXHAUSTED)
    await scope.commit()
    stream.tell(Event.COMMITTED)
    await outlet.send_head(head)
    await outlet.end(b"" if head.method == "HEAD" else body)
    stream.bytes = 0 if head.method == "HEAD" else len(body)
    stream.tell(Event.END_SENT)
