"""Reading: one client at one run. Its bytes are the body, from wherever the client was.

A reader is a stream like any other, whose producer reads the log: counted, compressed, watched and ended as
others are. What it never does is add to the bytes, because a client that comes back counts them: only an
event stream, whose clients count ids, is given signs of life and a goodbye.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from starlette.datastructures import MutableHeaders

from millstream.dispatch.binding import bind
from millstream.dispatch.match import Match
from millstream.durable.http.following import AGAIN
from millstream.durable.outage import AWAY
from millstream.durable.refusals import LogRefused, NoSuchStream, StreamGone
from millstream.durable.runs.following import Following
from millstream.durable.runs.names import etag_of, run_in, stream_of, tag_in
from millstream.durable.state import State
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource
from millstream.engine.whole import deliver_whole
from millstream.errors import HTTPError, Overloaded, Truncated
from millstream.pipeline.choosing import Chosen
from millstream.pipeline.content import PRIVATE, Content, as_http, offset_in
from millstream.pipeline.durable import Durability
from millstream.pipeline.heads import stream_head
from millstream.pipeline.house import House
from millstream.pipeline.offers import Offer
from millstream.pipeline.plans import Owner
from millstream.pipeline.resuming import EVENTS, Wanted, is_event_source, wanted_by
from millstream.pipeline.runs import Opened, Runs
from millstream.pipeline.sending import Sending
from millstream.pipeline.stored import Stored
from millstream.pipeline.told import Begun, Refused
from millstream.protocol.events import Reason
from millstream.protocol.ports import Exchange, Head
from millstream.web.request import Request
from millstream.web.response import Response


class Reading(Sending):
    """One reader.

    Args:
        house: what it shares with others; there is a log in it.
        durable: how the action is durable.
        chosen: the action and its format, which gives way to the run's.
        request: what it answers.
        response: what is said of it.
        scope: what ends with it.
        exchange: where it goes.

    Attributes:
        handed_over: whether the request belongs to a run now.
    """

    __slots__ = ("_durable", "_runs", "handed_over")

    def __init__(
        self,
        house: House,
        durable: Durability,
        chosen: Chosen,
        *,
        request: Request,
        response: Response,
        scope: Scope,
        exchange: Exchange,
    ) -> None:
        chosen = replace(chosen, plan=chosen.plan.reading(durable))
        super().__init__(
            house, chosen, None, request=request, response=response, scope=scope, exchange=exchange
        )
        assert house.runs is not None  # noqa: S101  no action is durable without
        self._runs: Runs = house.runs
        self._durable = durable
        self.handed_over = False

    async def attend(self) -> bool:
        """Answer a request for the action: by a run of its own, or by one that there is.

        What is to be streamed is only opened, as by `send`.

        Returns:
            False for a HEAD that names no run: it is answered as any other action's.

        Raises:
            HTTPError: when there is nothing to be read.
        """
        wanted = wanted_by(self._request, self._chosen.match.action.signature.named)
        try:
            opened = await self._runs.open()
            wanted = await self._found(opened, wanted)
            if self._request.method == "HEAD" and not wanted.run:
                return False
            await self._scope.abort()  # what dispatch has used: the run has a scope of its own
            with as_http():
                while not await self._attended(opened, wanted):
                    pass
        except self._runs.failures as away:
            await self._put_off(away)
        return True

    async def serve(self, run: str) -> None:
        """Answer a request for the run itself, at its own URL; as `attend`.

        Raises:
            HTTPError: when there is nothing to be read.
        """
        wanted = wanted_by(self._request, ())
        try:
            opened = await self._runs.open()
            with as_http():
                state = await opened.log.describe(stream_of(run))
                await self._read(opened, state, wanted if wanted.run == run else Wanted(run))
        except self._runs.failures as away:
            await self._put_off(away)

    async def _put_off(self, away: Exception) -> None:
        """Let the client come again: its log cannot be had at the moment.

        To an `EventSource` any status but 200 is the last word (WHATWG HTML §9.2.3). One that comes back is
        given a stream without events. What comes for the first time may be any program that accepts events,
        for which an empty stream that ends well would be an answer: so that is broken off.

        Raises:
            Overloaded: 503.
            Truncated: to break it off.
        """
        self._runs.outage.note(away)
        if not self._is_events or not is_event_source(self._request):
            raise Overloaded(AWAY) from away
        await self._scope.abort()
        described = self._described(self._chosen.offer.content_type)
        head = stream_head(self._response, described, self._request.method)
        if "last-event-id" in self._request.headers:
            await deliver_whole(head, AGAIN, (), self._scope, self._exchange)
            return
        await self._exchange.send_head(head)
        await self._exchange.send_body(AGAIN)
        raise Truncated(self._route, AWAY) from None

    async def require_access(self, run: str) -> None:
        """Go on only if the client may read the run.

        Raises:
            HTTPError: 403.
        """
        access = self._durable.declared.access
        if access is None:
            return
        allowed = await self._scope.call(access, self._request, run)
        await self._scope.abort()
        self._scope.release_idle_lane()
        if not allowed:
            raise HTTPError(403, "this stream is not for you to read")

    # Finding the run

    async def _found(self, opened: Opened, wanted: Wanted) -> Wanted:
        """What is wanted, as far as there is such a thing.

        Raises:
            HTTPError: 404, when there is not, and nothing else will do.
        """
        if not wanted.run:
            return wanted
        if tag_in(wanted.run) not in self._durable.tags:
            if wanted.must_be:
                raise HTTPError(404, "this action has no such stream")
            return Wanted()
        if not wanted.must_be:
            try:
                await opened.log.describe(stream_of(wanted.run))
            except LogRefused:
                return Wanted()
        return wanted

    async def _attended(self, opened: Opened, wanted: Wanted) -> bool:
        """False when the run that was to be read ended before it began: then it is this request's turn."""
        recording, told = await self._runs.attend(self._request, self._chosen.match, wanted.run)
        self.handed_over = recording.claimed
        if isinstance(told, Refused):
            await deliver_whole(told.head, told.body, (), self._scope, self._exchange)
            return True
        if isinstance(told, Begun):
            self._take_over(told.head.headers)
            await self._read(opened, await opened.log.describe(stream_of(told.run)), wanted)
            return True
        await self.require_access(told.run)
        self._name_file()
        try:
            state = await self._begun(opened, told.run)
        except (NoSuchStream, StreamGone):
            if wanted.run:
                raise
            return False
        await self._read(opened, state, wanted)
        return True

    async def _begun(self, opened: Opened, run: str) -> State:
        """The run's stream, once there is something in it, or it has taken long enough."""
        patience = self._chosen.plan.settings.first_item_timeout
        return await opened.log.wait_until(
            stream_of(run), lambda state: state.tail > 0 or state.closed, patience
        )

    def _take_over(self, headers: Mapping[str, str]) -> None:
        """What the author said of the response, which this reader asked for."""
        for name, value in headers.items():
            if name not in _OURS:
                self._response.headers.append(name, value)

    def _name_file(self) -> None:
        """The name under which a later reader of the action saves it."""
        download = self._chosen.offer.download
        if download is not None:
            self._disposition = download.disposition(*bind(self._chosen.match))

    # Reading it

    async def _read(self, opened: Opened, state: State, wanted: Wanted) -> None:
        """Open what follows a place; `deliver` sends it."""
        run = run_in(state.name)
        self._chosen = replace(self._chosen, offer=self._offer_of(run, state.content_type))
        self._require_match(etag_of(run, state.incarnation))
        offset = offset_in(state, wanted.offset, is_events=self._is_events)
        place = await opened.log.locate(state, offset)
        if self._has_all(state, place):
            head = Head(204, MutableHeaders(headers={"Cache-Control": PRIVATE}), self._request.method)
            await deliver_whole(head, b"", (), self._scope, self._exchange)
            return
        following = Following(opened.log, opened.feeds, state, place, partial(self._still, run))
        codec = self._chosen.offer.encoder(self._route) if self._is_events else None
        content = Content(
            following,
            self._request,
            may_be_part=self._may_be_part(wanted),
            again=AGAIN if self._is_events and is_event_source(self._request) else b"",
            is_begun=lambda: self._exchange.head_sent,
            failure_ends=codec is not None and codec.failure_ends,
        )
        if content.is_part:  # its head cannot leave before the run has ended
            plan = self._chosen.plan
            patient = plan.settings.for_action(first_item_timeout=math.inf)
            self._chosen = replace(self._chosen, plan=replace(plan, settings=patient))
        await self._open(
            AsyncSource(content.pieces()),
            Stored(codec, head_first=not content.is_part),
            partial(self._head, content),
            self._compression,
        )

    def _require_match(self, etag: str) -> None:
        """Go on only in the run that the client means: a key may have another one by now (RFC 9110 §13.1.1).

        Raises:
            HTTPError: 412.
        """
        condition = self._request.headers.get("if-match", "*")
        tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]  # a compressed body's is weak
        if "*" not in tags and etag not in tags:
            raise HTTPError(412, "this run was begun anew")

    def _head(self, content: Content) -> Head:
        for field, text in self._chosen.offer.headers:
            self._response.headers.setdefault(field.decode("latin-1"), text.decode("latin-1"))
        for name, value in content.facts().items():
            self._response.headers[name] = value
        described = self._described(self._chosen.offer.content_type)
        return content.headed(stream_head(self._response, described, self._request.method))

    def _freeze(self) -> None:
        """Nothing: this response has no author but the run's, and its head is made when it leaves."""

    async def _still(self, run: str) -> None:
        """Go on only if the client may still read the run."""
        try:
            await self.require_access(run)
        except HTTPError:
            self._scope.stream.interrupt(Reason.REVOKED)
            raise

    def _offer_of(self, run: str, content_type: str) -> Offer:
        """The format is the run's, whatever this reader would accept."""
        offer = self._chosen.plan.offers[self._durable.tags.index(tag_in(run))]
        return offer.said(content_type) if content_type.startswith("multipart/") else offer

    @property
    def _is_events(self) -> bool:
        return self._chosen.offer.media_type == EVENTS

    def _may_be_part(self, wanted: Wanted) -> bool:
        """Whether a `Range` can mean this run: of a fresh one nobody has another part."""
        return not wanted.offset and (bool(wanted.run) or self._durable.key is not None)

    def _has_all(self, state: State, place: int) -> bool:
        """Whether an `EventSource` came back for more than there is: only this keeps it from coming again."""
        is_back = "last-event-id" in self._request.headers
        return self._is_events and is_back and state.closed and place == state.tail


def chosen_by(owner: Owner) -> Chosen:
    """A response to a request for a run of an action, to which no path led."""
    match = Match(owner.action, (), (), "", {}, (), (), {}, None)
    return Chosen(match, owner.plan, owner.offer, negotiated=False)


_OURS: Final = frozenset({"cache-control", "content-length", "vary", "x-accel-buffering"})
"""Headers of a run's own response that are not its author's."""
