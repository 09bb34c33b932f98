"""Content: what one reader of a run is sent, and the head that describes it.

A run that is whole has a length, and any part of it can be had; what a part of one that goes on would be is
not known before its end. Its bytes never change by their place, so its entity tag is strong at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders

from millstream.durable.http.replies import STATUS
from millstream.durable.leasing import covered, own_token
from millstream.durable.offsets import NOW, START, At, Offset
from millstream.durable.outage import AWAY
from millstream.durable.refusals import LogRefused, OffsetGone
from millstream.durable.runs.following import Following
from millstream.durable.runs.marks import THE_END
from millstream.durable.runs.names import etag_of, run_in, run_of_etag, token_of_etag
from millstream.durable.state import State, offset_at
from millstream.errors import HTTPError, Overloaded, Truncated
from millstream.pipeline.resuming import PATH
from millstream.protocol.events import Reason
from millstream.protocol.ports import Head
from millstream.web.conditions import part_head, part_wanted
from millstream.web.request import Request


class Content:
    """What follows a place, or a part that was asked for.

    Args:
        following: stands at the place.
        request: what it answers.
        may_be_part: whether a `Range` counts.
        again: what makes a client come again that is told nothing else; only an event stream has such words.
        is_begun: tells whether the head has left.
        failure_ends: whether a run that failed ends well for who reads it, with the record of that.

    Attributes:
        is_part: whether a part is asked for that there may be; which, is known when the run has ended.
    """

    def __init__(
        self,
        following: Following,
        request: Request,
        *,
        may_be_part: bool,
        again: bytes,
        is_begun: Callable[[], bool],
        failure_ends: bool,
    ) -> None:
        self._following = following
        self._request = request
        self._run = run_in(following.state.name)
        self._begin = following.place
        self._again = again
        self._is_begun = is_begun
        self._failure_ends = failure_ends
        self._part: slice | None = None
        self.is_part = may_be_part and self._may_have_part(following.state)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes, as they come.

        Raises:
            HTTPError: when they are not to be had any more, or there is no such part.
            Truncated: after everything that a run produced which failed; when its log cannot be had any more.
        """
        following = self._following
        try:
            with as_http(), following:
                if self.is_part:
                    await following.wait_closed()
                    self._part = self._part_of(following.state)
                if self._part is not None:
                    following.limit(self._part)
                while data := await following.next():
                    yield data
                if following.state.failed and not self._failure_ends:
                    if not self._is_begun():  # there is no body that could be broken off
                        raise HTTPError(
                            410, "the run has failed, and there is no more of it", headers=_FAILED
                        )
                    raise self._truncated(str(Reason.FAILED))
        except following.log.failures as away:
            following.log.outage.note(away)
            if not self._is_begun() and not self._again:
                raise Overloaded(AWAY) from None
            if not self._is_begun():
                yield self._again
            raise self._truncated(AWAY) from None

    def _truncated(self, why: str) -> Truncated:
        return Truncated(f"the run {self._run}", why)

    def facts(self) -> dict[str, str]:
        """The headers that describe it."""
        state = self._following.state
        facts = {
            "Cache-Control": PRIVATE,
            "Stream-Id": self._run,
            "Location": f"{quote(self._request.script_name)}{PATH}/{self._run}",
        }
        if not self._begin and not state.start:  # else it is not the run's whole body that is described
            facts |= {"ETag": etag_of(self._run, own_token(state)), "Accept-Ranges": "bytes"}
        if state.closed and not state.failed:
            facts["Content-Length"] = str(state.tail - self._begin)
        return facts

    def headed(self, head: Head) -> Head:
        """The head, that of the whole being given."""
        if self._part is None:
            return head
        state = self._following.state
        head = part_head(head, self._part, state.tail)
        if state.failed:  # the length would make its end look well
            del head.headers["content-length"]
        return head

    def _may_have_part(self, state: State) -> bool:
        return not state.start and self._part_of(state.but(tail=_LONG)) is not None

    def _part_of(self, state: State) -> slice | None:
        """The part that is asked for, if the client has from the same producer what is before it.

        Raises:
            HTTPError: 416, when there is no such part.
        """
        held = self._request.headers.get("if-range")
        same = state.tail if held is None else covered(state, self._token_in(held))
        if same < 0:
            return None
        asked = {"range": self._request.headers.get("range", "")}
        part = part_wanted(Head(200, MutableHeaders(), self._request.method), asked, state.tail)
        return part if part is not None and part.start <= same else None

    def _token_in(self, etag: str) -> str:
        return token_of_etag(etag) if run_of_etag(etag) == self._run else ""


def offset_in(state: State, offset: str, *, is_events: bool) -> Offset:
    """Where to begin: at an offset, at so many bytes, or at the beginning.

    Raises:
        LogRefused: when there is no such place, or not any more.
    """
    if offset in {"", START}:
        if state.start and not is_events:  # events are whole wherever they begin
            raise OffsetGone(state.name, offset_at(0, state.incarnation))
        return START
    if offset == THE_END and is_events and state.closed:
        return NOW
    if offset.isascii() and offset.isdecimal() and len(offset) < _LONGEST:
        return At(int(offset), state.incarnation)
    return offset


@contextmanager
def as_http() -> Iterator[None]:
    """What a log refuses, as a status.

    Raises:
        HTTPError: instead.
    """
    try:
        yield
    except LogRefused as refused:
        raise HTTPError(STATUS[type(refused)], str(refused)) from refused


PRIVATE: Final = "private, no-store, no-transform"
"""How what is read may be cached: by nobody, since somebody else may not read it."""

_FAILED: Final = {"Stream-Failed": "true"}
_LONGEST: Final = 16  # digits
_LONG: Final = 2**62
"""More bytes than any run has."""
