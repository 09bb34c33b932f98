"""Sending: each kind of outcome on its way out, through the same table and the same order."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from millstream.codecs.base import Codec, with_charset
from millstream.codecs.raw import Raw
from millstream.engine.delivery import Body, Delivery
from millstream.engine.passing import passing_for
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource, Source, SyncSource
from millstream.engine.whole import deliver_whole
from millstream.errors import MillstreamError, Truncated
from millstream.pipeline.choosing import Chosen
from millstream.pipeline.files import OpenFile, opened, type_of
from millstream.pipeline.foreign import ForeignBody
from millstream.pipeline.heads import Described, file_head, stream_head, whole_head
from millstream.pipeline.house import House
from millstream.pipeline.offers import Offer
from millstream.pipeline.outcomes import Filed, Foreign, Outcome, Page, Streamed, Whole
from millstream.pipeline.pages import flow_of, page_source
from millstream.protocol.events import Reason
from millstream.protocol.ports import ChunkTransform, Encoder, Exchange, Head, ItemHook, Transform
from millstream.web.conditions import NOTHING, part_head, part_wanted
from millstream.web.request import Request
from millstream.web.response import Response


class Sending:
    """One response, its format and its headers being chosen.

    Args:
        house: what it shares with others.
        chosen: the format.
        disposition: the name it is saved under, as a header; None for none.
        request: what it answers.
        response: what its author says of it.
        scope: what settles with it.
        exchange: where it goes.
    """

    __slots__ = (
        "_body",
        "_chosen",
        "_disposition",
        "_exchange",
        "_house",
        "_request",
        "_response",
        "_scope",
        "counts_rows",
        "delivery",
    )

    def __init__(
        self,
        house: House,
        chosen: Chosen,
        disposition: str | None,
        *,
        request: Request,
        response: Response,
        scope: Scope,
        exchange: Exchange,
    ) -> None:
        self._house = house
        self._chosen = chosen
        self._disposition = disposition
        self._request = request
        self._response = response
        self._scope = scope
        self._exchange = exchange
        self._body: ForeignBody | None = None  # of a response that sends itself piece by piece
        self.delivery: Delivery | None = None  # of a stream, once it has begun
        self.counts_rows = False  # each item is a row, as it is not in batches

    async def send(self, outcome: Outcome, *, as_annotated: bool) -> None:
        """Send what an action's result is; of a stream, only what `deliver` then needs.

        Args:
            outcome: that.
            as_annotated: whether it is the action's own, and no query that a participant makes rows of.

        Raises:
            HTTPError: when there is no such thing to send, or no room for another stream.
            Exception: whatever a participant raised.
        """
        # What is sent most, first; and by keyword, because for a positional pattern CPython 3.11 makes a name
        # each time, and its cache of attributes keeps those, and with each a megabyte of a crowd's memory.
        match outcome:
            case Streamed(source=source):
                self.counts_rows = not (
                    isinstance(source, SyncSource) and hasattr(source.closable, "batches")
                )
                encoder = self._chosen.offer.encoder(
                    self._route, as_annotated=as_annotated and self.counts_rows
                )
                if isinstance(encoder, Raw) and self._chosen.plan.durable is None:
                    encoder.said = partial(_type_said, self._response)
                await self._open(source, encoder, partial(self._stream_head, encoder), self._transforms)
            case Whole():
                await self._whole(outcome)
            case Page():
                await self._page(outcome)
            case Filed(file=file):
                await self._file(await self._scope.call(opened, file, self._route))
            case Foreign(response=response):
                await self._foreign(response)

    def offered(self) -> Offer:
        """The format, in the content type that the action has set for its response by now.

        What is recorded is read by many, who are told the type that was declared.
        """
        if self._chosen.plan.durable is None and (said := _type_said(self._response)) is not None:
            self._chosen = replace(self._chosen, offer=self._chosen.offer.said(said))
        return self._chosen.offer

    @property
    def stage(self) -> Coroutine[Any, Any, None] | None:
        """What is left to do: to pull the stream that was opened, which takes as long as a stream lives."""
        if self.delivery is None:
            return None
        return self.delivery.run() if self._body is None else self._run_foreign(self.delivery, self._body)

    def require_seen(self) -> None:
        """See that a stream which was delivered to its end had a reader for that.

        Raises:
            Truncated: when the client does not read: what it is sent was committed, but not seen.
        """
        stream = self._scope.stream
        if self.delivery is not None and not self._exchange.body_ended and not stream.client_gone:
            raise Truncated(stream.route, str(Reason.STALLED))

    async def _whole(self, whole: Whole) -> None:
        for name, value in whole.headers.items():
            self._response.headers[name] = value
        described = self._described(whole.content_type)
        head = whole_head(
            self._response, described, len(whole.body), self._request.method, status=whole.status
        )
        await deliver_whole(head, whole.body, self._transforms, self._scope, self._exchange)

    async def _page(self, page: Page) -> None:
        templates, offer = self._house.templates, self._chosen.offer
        flow = flow_of(page.values, self._house.participants)
        if flow is not None:
            source = page_source(templates, page.template, flow, offer.charset)
            encoder = offer.encoder(self._route)
            await self._open(source, encoder, partial(self._stream_head, encoder), self._transforms)
            return
        render = templates.render
        if self._chosen.match.action.is_async:
            text = render(page.template, page.values)
        else:
            text = await self._scope.call(render, page.template, page.values)
        await self._whole(Whole(text.encode(offer.charset, "xmlcharrefreplace"), offer.content_type))

    async def _open(
        self,
        source: Source,
        encoder: Encoder,
        make_head: Callable[[], Head],
        transforms: Sequence[Transform],
        *,
        item_hooks: Sequence[ItemHook] | None = None,
    ) -> None:
        if self._request.method == "HEAD":
            await self._head_alone(source, make_head, transforms)
            return
        plan = self._chosen.plan
        try:
            self._house.ledger.enter(self._scope.stream, plan.admission, plan.client(self._request))
        except MillstreamError:
            await self._scope.call(source.close)
            raise
        if plan.settings.stream_id:
            make_head = partial(self._named, make_head)
        if isinstance(source, AsyncSource):
            self._scope.release_idle_lane()
        hooks = self._house.item_hooks if item_hooks is None else item_hooks
        body = Body(source, encoder, make_head, transforms, hooks, self._freeze)
        self.delivery = Delivery(body, self._scope, self._exchange, plan.terms)

    def _freeze(self) -> None:
        """The first item is there: whenever it leaves, it leaves with the head as it is now."""
        self._response.sent()

    async def _head_alone(
        self, source: Source, make_head: Callable[[], Head], transforms: Sequence[Transform]
    ) -> None:
        """HEAD: the head of the stream there would be; its generator is closed without a step."""
        await self._scope.call(source.close)
        head = make_head()
        passing_for(head, transforms)  # they may have to say something in it
        await deliver_whole(head, b"", (), self._scope, self._exchange)

    async def _file(self, file: OpenFile) -> None:
        """A file, or the part of it that is wanted."""
        try:
            head, part, transforms = self._part(file)
        except BaseException:
            await self._scope.call(file.close)
            raise
        source = SyncSource(file.pieces(part), file)
        if not head.describes_body:
            await self._head_alone(source, lambda: head, ())
            return
        encoder = Raw(action=self._route, charset=self._chosen.offer.charset)
        await self._open(source, encoder, lambda: head, transforms)

    def _part(self, file: OpenFile) -> tuple[Head, slice | None, Sequence[Transform]]:
        """What is sent of a file; a body that a transform changes can only be had whole."""
        request = self._request
        head = file_head(self._response, self._described(self._type_of(file)), file.facts, request.method)
        changing = passing_for(head, self._house.transforms)
        if changing is not None:
            _loosen(head)
        part = part_wanted(head, request.headers, None if changing else file.size)
        if part is None:
            return head, None, (lambda _: changing, *self._compression)
        if part == NOTHING:
            passing_for(head, self._compression)  # the head has to be that of the body the client has
        head = part_head(head, part, file.size)
        passing_for(head, self._compression)  # which says by what the whole would differ (RFC 9110 §15.3.7)
        return head, part, ()

    async def _foreign(self, response: ASGIApp) -> None:
        """A response that sends itself: whole when it sends all at once, else as a stream."""
        body = ForeignBody(response, self._exchange, self._route)
        try:
            await body.begin()
            if (whole := body.whole) is not None:
                await deliver_whole(self._foreign_head(body), whole, (), self._scope, self._exchange)
                await self._finish(body)
                return
            encoder = Raw(action=self._route, charset=self._chosen.offer.charset)
            encoder.head_first = body.is_events
            await self._open(AsyncSource(body), encoder, partial(self._foreign_head, body), (), item_hooks=())
            self._body = body
        except BaseException:
            await body.give_up()
            raise

    def _foreign_head(self, body: ForeignBody) -> Head:
        own = self._response.cookies_and_headers()
        self._response.sent()
        return body.head(self._response.status, own, self._request.method)

    async def _run_foreign(self, delivery: Delivery, body: ForeignBody) -> None:
        try:
            await delivery.run()
        except BaseException:
            await body.give_up()
            raise
        await self._finish(body)

    async def _finish(self, body: ForeignBody) -> None:
        """Let a response run its background task; what that writes is lasting when it has ended."""
        await body.finish()
        if body.has_background:
            await self._scope.commit()

    def _stream_head(self, encoder: Codec) -> Head:
        described = self._described(self._chosen.offer.type_for(encoder))
        said = _type_said(self._response)
        head = stream_head(self._response, described, self._request.method)
        if said is not None:
            head.headers["content-type"] = encoder.typed(said)
        return head

    def _named(self, make_head: Callable[[], Head]) -> Head:
        head = make_head()
        head.headers["Stream-Id"] = self._scope.stream.id
        return head

    def _described(self, content_type: str | None) -> Described:
        return Described(content_type, self._chosen.negotiated, self._disposition)

    def _type_of(self, file: OpenFile) -> str:
        """What somebody decided on, or else what the file's name tells."""
        offer = self._chosen.offer
        return offer.content_type if offer.chosen_type else with_charset(type_of(file.name), offer.charset)

    @property
    def _route(self) -> str:
        return self._chosen.match.action.label

    @property
    def _transforms(self) -> Sequence[Transform]:
        return (*self._house.transforms, *self._compression)

    @property
    def _compression(self) -> Sequence[Transform]:
        """The last transform: what comes out of it is no text any more."""
        return (self._compressed,)

    def _compressed(self, head: Head) -> ChunkTransform | None:
        return self._chosen.plan.compression.of(head, self._request.field(b"accept-encoding"))


def _type_said(response: Response) -> str | None:
    """The content type that an action has set for its response; most say nothing at all."""
    return response.content_type if response.raw_headers else None


def _loosen(head: Head) -> None:
    """A transform will change the bytes: the tag means the same body only, and no part of it can be had."""
    headers = head.headers
    if (etag := headers.get("etag", "")) and not etag.startswith("W/"):
        headers["etag"] = f"W/{etag}"
    for name in ("accept-ranges", "content-length"):
        if name in headers:
            del headers[name]
