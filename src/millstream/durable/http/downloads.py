"""`live=body`: a stream as one body, as whoever downloads a file knows it.

It ends when the stream is closed, and is broken off visibly when its producer failed. It can be resumed:
`Range` is answered from the log. The entity tag is the offset of the tail when the head was sent, so with
`If-Range` a part is given to a client that has no more than was there then; a part that begins later would
follow bytes which the tag does not name. How long a stream will be is only known when it is closed, so a
range of an open one waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Receive, Send

from millstream.durable.http.ranges import Wanted, wanted
from millstream.durable.http.requests import LARGEST
from millstream.durable.http.serving import Read, Service
from millstream.durable.offsets import START, At, Offset
from millstream.durable.reads import PAGE
from millstream.durable.refusals import LogRefused, OffsetGone
from millstream.durable.state import State, offset_at
from millstream.errors import Overloaded, Truncated


async def download(service: Service, read: Read, receive: Receive, send: Send) -> None:
    """Answer with everything from an offset on.

    Raises:
        LogRefused: nothing was sent.
        HTTPError: as above.
        Truncated: the producer failed, or what was still to come is gone.
    """
    state = await service.log.describe(read.name)
    position = await service.log.locate(state, read.offset)
    if read.offset == START and state.start:
        raise OffsetGone(state.name, offset_at(0, state.incarnation))
    part: Wanted | None = None
    header = read.asked.header(b"range")
    held = await _held(service, read, state) if header is not None else -1
    if header is not None and held >= 0:
        state = await _wait_closed(service, state, receive)
        part = wanted(header, state.tail)
    if part is not None and part.first > held:
        part = None
    offset = read.offset if part is None else At(part.first, state.incarnation)
    body = _Body(service, state, position if part is None else part.first, offset, part)
    await body.send_to(receive, send)


async def _held(service: Service, read: Read, state: State) -> int:
    """Up to where a part may begin: what the client has must still hold (RFC 9110 §13.1.5)."""
    if state.json or read.offset != START:
        return -1
    condition = read.asked.header(b"if-range")
    if condition is None:
        return LARGEST
    try:
        return await service.log.locate(state, condition.strip().strip('"'))
    except LogRefused:
        return -1


async def _wait_closed(service: Service, state: State, receive: Receive) -> State:
    """The stream when it is complete.

    Raises:
        HTTPError: 503, when it cannot be waited for here.
    """
    async with service.following(state, state.next_offset, receive) as follower:
        while not state.closed and not follower.left:
            ended = follower.feed.ended
            state = await service.log.describe(state.name)
            if ended and not state.closed:
                raise Overloaded("the stream cannot be followed at the moment")
            if not state.closed:
                await follower.ear.wait_hinted(None)
    return state


class _Body:
    """The bytes of a stream, or of a part of a closed one."""

    __slots__ = ("_begun", "_offset", "_part", "_place", "_service", "_state")

    def __init__(
        self, service: Service, state: State, position: int, offset: Offset, part: Wanted | None
    ) -> None:
        self._service = service
        self._state = state
        self._place = position
        self._offset = offset
        self._part = part
        self._begun = False

    async def send_to(self, receive: Receive, send: Send) -> None:
        """Send the head and all that follows it."""
        status = 200 if self._part is None else 206
        await send({"type": "http.response.start", "status": status, "headers": self._head()})
        try:
            await self._send_pieces(receive, send)
        except LogRefused as refusal:
            raise self._truncated(str(refusal)) from refusal
        except self._service.log.failures as failed:
            raise self._truncated("its log cannot be had at the moment") from failed
        if self._state.failed:
            raise self._truncated("its producer failed")
        await send({"type": "http.response.body", "body": b"]" if self._state.json else b""})

    async def _send_pieces(self, receive: Receive, send: Send) -> None:
        """What there is, page by page; then what comes."""
        async with self._service.following(self._state, self._state.next_offset, receive) as follower:
            if self._state.json:
                await follower.write(send, b"[")
            while not follower.left:
                ended = follower.feed.ended
                page = await self._service.log.read(self._state.name, self._offset, most=self._most())
                self._state, self._place, self._offset = page.state, page.end, page.next_offset
                if page.messages:
                    await follower.write(send, self._piece(page.messages))
                if page.closed or not self._most():
                    return
                if page.up_to_date and ended:
                    raise self._truncated("it cannot be followed any more")
                if page.up_to_date:
                    await follower.ear.wait_hinted(None)

    def _most(self) -> int:
        """How many bytes may still be read at once."""
        return PAGE if self._part is None else min(PAGE, self._part.upto - self._place)

    def _piece(self, messages: Sequence[bytes]) -> bytes:
        if not self._state.json:
            return b"".join(messages)
        begun, self._begun = self._begun, True
        return (b"," if begun else b"") + b",".join(messages)

    def _truncated(self, why: str) -> Truncated:
        return Truncated(f"the stream {self._state.name!r}", why)

    def _head(self) -> list[tuple[bytes, bytes]]:
        state, part = self._state, self._part
        headers = [
            *self._service.common,
            (b"content-type", state.content_type.encode("latin-1")),
            (b"cache-control", self._service.settings.cache.encode()),
            (b"etag", _etag(state)),
        ]
        if not state.json:
            headers.append((b"accept-ranges", b"bytes"))
        if part is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (part.first, part.upto - 1, state.tail)))
        if state.closed and not state.failed and not state.json:  # a failed one ends before its length does
            length = (state.tail if part is None else part.upto) - self._place
            headers.append((b"content-length", b"%d" % length))
        return headers


def _etag(state: State) -> bytes:
    return f'"{state.next_offset}"'.encode()
