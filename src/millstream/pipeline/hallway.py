"""THE HALLWAY: one request through all stages, in order.

    begin → find → choose → bind → before → act → after → deliver → end

Each stage is a method of `Visit` and calls the room that does the work. Whatever goes wrong anywhere comes
to `_fail`, and whatever happens, `_close` is the last.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from anyio import move_on_after
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millstream.config import Settings
from millstream.dispatch.binding import bind
from millstream.dispatch.match import Match, Mount
from millstream.dispatch.survey import mounted
from millstream.dispatch.traversal import Tree
from millstream.engine.delivery import Body, Delivery
from millstream.engine.handle import Handle
from millstream.engine.ledger import Ledger
from millstream.engine.scope import Scope
from millstream.engine.source import AsyncSource, source_of
from millstream.engine.stream import Stream
from millstream.engine.threads import Lanes
from millstream.engine.whole import deliver_whole
from millstream.errors import HTTPError, Truncated
from millstream.pipeline.asking import adopted, judged
from millstream.pipeline.foreign import deliver_foreign
from millstream.pipeline.heads import problem_head, stream_head, whole_head
from millstream.pipeline.outcomes import Foreign, Outcome, Page, Streamed, Whole, outcome_of
from millstream.pipeline.plans import Offer, Plan, Planner
from millstream.pipeline.raised import no_failure, unless_ours
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import COMMITTED, FINAL, Event, State
from millstream.protocol.ports import Closes, Exchange, Head, ItemHook, Participant, Transform
from millstream.web.problems import Problem, problem_of
from millstream.web.proxies import Binding
from millstream.web.request import Request
from millstream.web.response import Response
from millstream.web.templates import Templates

_LOG: Final = logging.getLogger("millstream")


@dataclass(frozen=True, slots=True)
class House:
    """What all requests of one application share."""

    settings: Settings
    tree: Tree
    planner: Planner
    templates: Templates
    ledger: Ledger
    lanes: Lanes
    participants: Sequence[Participant]
    transforms: Sequence[Transform]
    item_hooks: Sequence[ItemHook]

    async def close(self) -> None:
        """The application ends, after its last stream."""
        for participant in self.participants:
            if isinstance(participant, Closes):
                await participant.close()


class Visit:
    """One request on its way through the house."""

    __slots__ = (
        "_delivery",
        "_exchange",
        "_house",
        "_negotiated",
        "_request",
        "_response",
        "_scope",
        "_stream",
    )

    def __init__(self, house: House, exchange: Exchange) -> None:
        self._house = house
        self._exchange = exchange
        self._request = Request(exchange.scope, exchange.receive)
        self._response = Response()
        route = quote(self._request.path_info, errors="replace")  # it is logged, and the client chose it
        self._stream = Stream(client=self._request.remote_addr, route=route)
        self._scope = Scope(house.lanes, self._stream)
        self._delivery: Delivery | None = None
        self._negotiated = False  # whether another client could have got another format here

    async def run(self) -> None:
        """Answer the request.

        Raises:
            Truncated: when a body had to be broken off, for the server to see.
        """
        proxies = Binding.bind(self._request, self._response, Handle(self._scope, self._house.ledger))
        try:
            await self._answer()
        except BaseException as raised:  # noqa: BLE001  a cancellation has to be rolled back like any failure
            await self._fail(unless_ours(raised))
        finally:
            await self._close(proxies)

    # The stages

    async def _answer(self) -> None:
        request, house = self._request, self._house
        self._scope.begin(house.participants)
        params = await self._params()
        match = await house.tree.find(request.path_info, request.method, params, self._scope.call)
        if isinstance(match, Mount):
            await self._mounted(match)
        elif request.method == "OPTIONS":
            await self._options(match)
        else:
            await self._act(match)

    async def _params(self) -> dict[str, Any]:
        """The fields, from the body too, unless the body belongs to an application mounted on this path."""
        request, house = self._request, self._house
        if mounted(house.tree, request.path_info, guarded=True) is not None:
            return request.params.mixed()
        return (await request.read_params(house.settings.max_body)).mixed()

    async def _act(self, match: Match) -> None:
        action = match.action
        self._stream.route = action.label
        plan = self._house.planner.plan(action)
        self._negotiated = plan.negotiates and not match.extension
        offer = plan.choose(match.extension, self._request.headers.get("accept"))
        self._scope.read_only = plan.settings.read_only or self._request.method == "HEAD"
        for more in reversed(range(plan.settings.attempts)):
            try:
                await self._attempt(match, plan, offer)
            except Exception as raised:
                if not more or not self._may_repeat(raised):
                    raise
                await self._start_over()
            else:
                return

    async def _attempt(self, match: Match, plan: Plan, offer: Offer) -> None:
        args, kwargs = bind(match)
        result = adopted(await self._call(match, args, kwargs), self._house.participants)
        outcome = outcome_of(result, offer, match.action.label)
        await self._deliver(outcome, match, plan, offer)

    def _may_repeat(self, raised: Exception) -> bool:
        """Whether nobody has seen anything yet, and a participant says that it may go well next time."""
        if self._exchange.head_sent or self._stream.interrupted or self._stream.state not in _REPEATABLE:
            return False
        judgement = judged(raised, self._house.participants)
        return judgement is not None and judgement.repeat

    async def _start_over(self) -> None:
        await self._scope.abort()
        self._house.ledger.leave(self._stream)
        self._response.start_over()
        self._stream.start_over()
        self._delivery = None

    async def _call(self, match: Match, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        call, action = self._scope.call, match.action
        try:
            for before in match.before:
                await call(before, *args, **kwargs)
        except HTTPError as raised:
            return no_failure(raised)
        try:
            # Calling an asynchronous generator's function only makes the generator, here in its task.
            result = (
                match.target(*args, **kwargs)
                if action.is_async
                else await call(match.target, *args, **kwargs)
            )
            if inspect.iscoroutine(result):
                result = await result
        except HTTPError as raised:
            result = no_failure(raised)
        try:
            for after in match.after:
                await call(after, *args, **kwargs)
        except BaseException:
            if (unused := source_of(result)) is not None:
                await call(unused.close)
            raise
        return result

    async def _deliver(self, outcome: Outcome, match: Match, plan: Plan, offer: Offer) -> None:
        match outcome:
            case Page(template, values):
                render = self._house.templates.render
                is_async = match.action.is_async
                text = (
                    render(template, values) if is_async else await self._scope.call(render, template, values)
                )
                body = text.encode(offer.charset, "xmlcharrefreplace")
                await self._send_whole(Whole(body, offer.content_type))
            case Whole():
                await self._send_whole(outcome)
            case Foreign(response):
                await self._send_foreign(response)
            case Streamed() if self._request.method == "HEAD":
                await self._send_head_alone(outcome, offer)
            case Streamed():
                await self._send_stream(outcome, plan, offer)

    async def _send_whole(self, whole: Whole) -> None:
        for name, value in whole.headers.items():
            self._response.headers[name] = value
        head = whole_head(
            self._response,
            whole.status,
            whole.content_type,
            len(whole.body),
            self._request.method,
            negotiated=self._negotiated,
        )
        await deliver_whole(head, whole.body, self._house.transforms, self._scope, self._exchange)

    async def _send_head_alone(self, streamed: Streamed, offer: Offer) -> None:
        """HEAD: the head of the stream there would be; its generator is closed without a step."""
        await self._close_source(streamed)
        head = self._stream_head(offer)
        await deliver_whole(head, b"", (), self._scope, self._exchange)

    async def _send_stream(self, streamed: Streamed, plan: Plan, offer: Offer) -> None:
        try:
            self._house.ledger.enter(self._stream)
        except HTTPError:
            await self._close_source(streamed)
            raise
        body = Body(
            source=streamed.source,
            encoder=offer.encoder(self._stream.route),
            make_head=lambda: self._stream_head(offer),
            transforms=self._house.transforms,
            item_hooks=self._house.item_hooks,
        )
        if isinstance(streamed.source, AsyncSource):
            self._scope.release_idle_lane()
        self._delivery = Delivery(body, self._scope, self._exchange, plan.settings)
        await self._delivery.run()
        if not self._exchange.body_ended and not self._stream.client_gone:
            raise Truncated(self._stream.route, "the client does not read")  # committed, but unseen

    async def _send_foreign(self, response: Any) -> None:
        own = self._response.cookies_and_headers()
        self._response.sent()
        await deliver_foreign(response, own, self._scope, self._exchange)

    async def _options(self, match: Match) -> None:
        self._scope.read_only = True
        self._response.headers["Allow"] = ", ".join(match.allowed)
        head = whole_head(self._response, 204, None, 0, "OPTIONS", negotiated=False)
        await deliver_whole(head, b"", (), self._scope, self._exchange)

    async def _mounted(self, mount: Mount) -> None:
        """Another ASGI application answers; its response is its own affair."""
        scope = {**self._exchange.scope, "root_path": self._request.script_name + mount.mount_path}
        await self._scope.abort()
        self._stream.tell(Event.EXHAUSTED)
        self._stream.tell(Event.COMMITTED)
        await mount.app(scope, self._exchange.receive, self._exchange.forward)
        self._stream.tell(Event.END_SENT)

    def _stream_head(self, offer: Offer) -> Head:
        return stream_head(
            self._response, offer.content_type, self._request.method, negotiated=self._negotiated
        )

    async def _close_source(self, streamed: Streamed) -> None:
        """Close what was never started, where it would have run."""
        await self._scope.call(streamed.source.close)

    # Ends that are not good

    async def _fail(self, raised: BaseException) -> None:
        stream, exchange = self._stream, self._exchange
        if isinstance(raised, asyncio.CancelledError | ClientDisconnect):
            is_gone = exchange.gone or stream.client_gone
            stream.interrupt(Reason.CLIENT_GONE if is_gone else Reason.SHUTDOWN)
        if stream.state not in FINAL:
            stream.tell(Event.BROKE)
        self._log(raised)
        await self._scope.abort()
        if isinstance(raised, Truncated) or not isinstance(raised, Exception):
            raise raised
        if exchange.gone or stream.client_gone:
            return
        judgement = judged(raised, self._house.participants)
        told = raised if judgement is None or judgement.told is None else judgement.told
        problem = problem_of(told, debug=self._house.settings.debug)
        if not exchange.head_sent:
            await self._send_problem(problem)
            return
        if stream.state not in COMMITTED and stream.reason is not Reason.STALLED:
            await self._send_last_words(problem)
        raise Truncated(stream.route, str(stream.reason)) from None

    async def _send_problem(self, problem: Problem) -> None:
        content_type, body = problem.render(self._request.headers.get("accept"))
        head = problem_head(problem.error, content_type, len(body), self._request.method)
        await self._exchange.send_head(head)
        await self._exchange.end(body if head.has_body else b"")

    async def _send_last_words(self, problem: Problem) -> None:
        if self._delivery is None:
            return
        try:
            words = self._delivery.last_words(problem.members)
        except Exception:  # noqa: BLE001  a transform that failed may fail again, and that was logged
            return
        if words:
            with move_on_after(self._house.settings.close_timeout):
                await self._exchange.send_body(words)

    def _log(self, raised: BaseException) -> None:
        """Once a failure, where it is known; an end that somebody wanted is no failure."""
        stream = self._stream
        wanted = stream.interrupted and isinstance(raised, HTTPError | ClientDisconnect | Truncated)
        if wanted or isinstance(raised, asyncio.CancelledError):
            _LOG.info("%s ended early: %s, after %d items", stream.route, stream.reason, stream.items)
        elif isinstance(raised, Truncated):
            pass  # by an application of ours that is mounted here, which has said why
        elif self._exchange.head_sent or not isinstance(raised, HTTPError | HTTPException):
            _LOG.error(
                "%s failed after %d items, %d bytes",
                stream.route,
                stream.items,
                stream.bytes,
                exc_info=raised,
            )

    async def _close(self, proxies: Binding) -> None:
        """Give everything back, whatever went before."""
        try:
            await self._scope.close()
            await self._request.close()  # uploaded files
        finally:
            self._house.ledger.leave(self._stream)
            proxies.release()


_REPEATABLE: Final = frozenset({State.WAITING, State.SETTLING})
