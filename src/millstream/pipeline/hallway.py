"""THE HALLWAY: one request through all stages, in order.

    begin → find → choose → bind → before → act → after → send → end

Each stage is a method of `Visit` and calls the room that does the work. How each kind of result is sent
stands in `sending.py`; whatever goes wrong anywhere comes to `ends.py`, once; `_close` is the last, always.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast
from urllib.parse import quote

from millstream.dispatch.binding import bind
from millstream.dispatch.match import Match, Mount
from millstream.engine.handle import Handle
from millstream.engine.scope import Scope
from millstream.engine.source import source_of
from millstream.engine.stream import Stream
from millstream.engine.whole import deliver_whole
from millstream.errors import HTTPError, Overloaded, Truncated
from millstream.pipeline.asking import adopted, judged
from millstream.pipeline.choosing import Chosen, chosen
from millstream.pipeline.durable import Durability
from millstream.pipeline.ends import Failure
from millstream.pipeline.heads import Described, whole_head
from millstream.pipeline.house import House
from millstream.pipeline.mounted import Mounted
from millstream.pipeline.outcomes import at_once, outcome_of
from millstream.pipeline.pages import Flow, flow_of
from millstream.pipeline.raised import RAISED, no_failure, redirect_of, unless_ours
from millstream.pipeline.reading import Reading, chosen_by
from millstream.pipeline.recording import Recording
from millstream.pipeline.resuming import is_plain, run_path
from millstream.pipeline.runs import Runs
from millstream.pipeline.sending import Sending
from millstream.pipeline.waiting import BodyWait
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import Exchange
from millstream.web.forms import FORMS
from millstream.web.proxies import Binding
from millstream.web.request import Request
from millstream.web.response import Response

__all__ = ["House", "Visit"]


Stage = Coroutine[Any, Any, Any]
"""One stage of a visit. It returns the next one instead of awaiting it, so that whatever it needed is gone
while that waits: the last stage takes as long as a stream lives, and there are thousands of them."""


class Visit:
    """One request on its way through the house.

    Args:
        house: what it shares with others.
        exchange: where it came from, and where its response goes.
        run: the same, when the response is recorded instead: the durable way.
    """

    __slots__ = (
        "_decided",
        "_exchange",
        "_house",
        "_more",
        "_request",
        "_response",
        "_run",
        "_scope",
        "_sending",
        "_stream",
        "_waiting",
        "_woken",
    )

    def __init__(self, house: House, exchange: Exchange, run: Recording | None = None) -> None:
        self._house = house
        self._exchange = exchange
        self._run = run
        self._request = Request(exchange.scope, exchange.receive) if run is None else run.request
        self._response = Response()
        self._stream = Stream(client=self._request.remote_addr, route=_printable(self._request.path_info))
        self._scope = Scope(house.lanes, self._stream)
        self._request.waiting = self._waiting = BodyWait(house, self._scope)
        self._request.settings = house.settings
        self._sending: Sending | None = None
        self._decided: Chosen | None = None
        self._more = 0  # attempts that are left
        self._woken: asyncio.Task[Any] | None = None  # by a cancellation of ours, which has to be taken back

    async def run(self) -> None:
        """Answer the request.

        Raises:
            Truncated: when a body had to be broken off, for the server to see.
        """
        proxies = Binding.bind(self._request, self._response, Handle(self._scope, self._house.ledger))
        self._stream.on_interrupt = partial(self._wake, cast("asyncio.Task[Any]", asyncio.current_task()))
        self._house.ledger.begin(self._stream)
        try:
            stage: Stage | None = self._answer()
            while stage is not None:
                try:
                    stage = await stage
                except Exception as raised:
                    if self._may_repeat(raised):
                        stage = await self._start_over()
                    elif (elsewhere := redirect_of(raised)) is not None and not self._stream.interrupted:
                        stage = self._lead(elsewhere)
                    else:
                        raise
            if self._sending is not None:
                self._sending.require_seen()
        except BaseException as raised:  # noqa: BLE001  a cancellation has to be rolled back like any failure
            await self._failed(self._told(raised))
        finally:
            await self._close(proxies)

    # The stages

    async def _answer(self) -> Stage | None:
        request, house = self._request, self._house
        self._scope.begin(house.participants)
        if house.runs is not None and (path := run_path(request)):
            return await self._read(path, house.runs)
        match = await self._find()
        if isinstance(match, Mount):
            await self._mounted(match)
        elif request.method == "OPTIONS":
            await self._options(match)
        else:
            return self._act(match)
        return None

    async def _find(self) -> Match | Mount:
        if self._run is not None and self._run.match is not None:
            return self._run.match
        request, tree = self._request, self._house.tree
        path, method, params = request.path_info, request.method, request.query_fields()
        body = self if request.brings_fields else None
        match = tree.known(path, method, params, body)
        if match is not None and match.needs:
            params, body = await self.fields(match), None
            match = match.with_params(params) if match.needs <= params.keys() else None
        return match or await tree.find(path, method, params, self._scope.call, body)

    # As a `Body`, whose fields dispatch may ask for

    @property
    def is_form(self) -> bool:
        """See `Body`."""
        return self._request.content_type in FORMS

    async def fields(self, match: Match, /) -> dict[str, Any]:
        """See `Body`: what refuses the request anyway does so before the body is read."""
        plan = self._waiting.plan = self._house.planner.plan(match.action)
        chosen(match, plan, self._request)
        self._stream.route = match.action.label
        if plan.settings.parse_body:
            await self._request.read_params(plan.settings)
        return self._request.params.mixed()

    async def _act(self, match: Match) -> Stage | None:
        self._stream.route = match.action.label
        plan = self._waiting.plan = self._house.planner.plan(match.action)
        if self._request.brings_fields and plan.settings.parse_body:
            match = match.with_params(await self.fields(match))
        if (durable := plan.durable) is not None:
            if self._run is None:
                reading = self._reading(chosen(match, plan, self._request), durable)
                if await reading.attend():
                    return reading.stage
            else:
                plan = plan.producing(durable)
        decided = chosen(match, plan, self._request)
        self._request.limit_body(plan.settings)
        self._scope.read_only = plan.settings.read_only or self._request.method == "HEAD"
        self._decided = decided
        self._more = plan.settings.attempts - 1
        return self._attempt(decided)

    async def _attempt(self, decided: Chosen) -> Stage | None:
        match, download = decided.match, decided.offer.download
        if decided.offer.headers:
            self._response.raw_headers.extend(decided.offer.headers)
        args, kwargs = bind(match)
        self._sending = sending = Sending(
            self._house,
            decided,
            None if download is None else download.disposition(args, kwargs),
            request=self._request,
            response=self._response,
            scope=self._scope,
            exchange=self._exchange,
        )
        returned = await self._call(decided, args, kwargs)
        result = adopted(returned, self._house.participants)
        try:
            action, offered = match.action, sending.offered()
            if action.is_async or at_once(result):
                outcome = outcome_of(result, offered, action.label)
            else:  # an object may have to read something to say what it is
                outcome = await self._scope.call(outcome_of, result, offered, action.label)
        except BaseException:
            await self._discard(result)
            raise
        await sending.send(outcome, as_annotated=result is returned)
        return sending.stage

    def _reading(self, decided: Chosen, durable: Durability) -> Reading:
        """The durable way: a run goes through this hallway by itself, and this request reads it."""
        self._sending = reading = Reading(
            self._house,
            durable,
            decided,
            request=self._request,
            response=self._response,
            scope=self._scope,
            exchange=self._exchange,
        )
        return reading

    def _may_repeat(self, raised: Exception) -> bool:
        """Whether nobody has seen anything yet, and a participant says that it may go well next time."""
        if not self._more or self._exchange.head_sent or self._stream.interrupted:
            return False
        if self._stream.state not in _REPEATABLE:
            return False
        judgement = judged(raised, self._house.participants)
        return judgement is not None and judgement.repeat

    async def _start_over(self) -> Stage:
        assert self._decided is not None  # noqa: S101  there was an attempt
        self._more -= 1
        await self._scope.abort()
        self._house.ledger.leave(self._stream)
        self._house.ledger.begin(self._stream)
        self._response.start_over()
        self._stream.start_over()
        self._sending = None
        return self._attempt(self._decided)

    async def _call(self, decided: Chosen, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        call, match, action = self._scope.call, decided.match, decided.match.action
        try:
            for before in match.before:
                await call(before, *args, **kwargs)
        except RAISED as raised:
            return no_failure(raised)
        if decided.has_all(self._request):
            self._response.headers.setdefault("Cache-Control", "no-store")
            return None
        if self._run is not None and not await self._run.claim(self._stream, decided, args, kwargs):
            return None  # it is produced elsewhere, by whoever was first
        try:
            result = (
                match.target(*args, **kwargs)
                if action.is_async or action.only_makes
                else await call(match.target, *args, **kwargs)
            )
            if inspect.iscoroutine(result):
                result = await result
        except RAISED as raised:
            result = no_failure(raised)
        try:
            for after in match.after:
                await call(after, *args, **kwargs)
        except BaseException:
            await self._discard(result)
            raise
        return result

    async def _discard(self, result: Any) -> None:
        """Close what will not be sent, where it would have run."""
        unused = flow_of(result) if isinstance(result, Mapping) else source_of(result)
        if unused is not None:
            await self._scope.call(
                unused.aclose if isinstance(unused, Flow) and unused.is_async else unused.close
            )

    async def _lead(self, elsewhere: HTTPError) -> None:
        """Send a redirect that was raised by a generator, or on the way to an action.

        Raises:
            HeadAlreadySent: when the first item was produced: its response cannot become another one.
        """
        self._response.require_unsent("the status, by a redirect,")
        for name, value in elsewhere.headers.items():
            self._response.headers[name] = value
        method, status = self._request.method, elsewhere.status
        self._scope.read_only |= method == "HEAD"
        head = whole_head(self._response, Described(None), 0, method, status=status)
        await deliver_whole(head, b"", (), self._scope, self._exchange)

    def _wake(self, task: asyncio.Task[Any]) -> None:
        """The process ends, and the stream has not begun to flow: wake whatever waits for its beginning."""
        if self._house.ledger.draining and task is not asyncio.current_task():
            self._woken = task
            task.cancel()
            self._scope.wake()

    def _told(self, raised: BaseException) -> BaseException:
        """What the client is told: of a cancellation that is ours, that the process ends."""
        self._stream.on_interrupt = None
        if self._woken is None or not isinstance(raised, asyncio.CancelledError):
            return unless_ours(raised)
        self._woken.uncancel()
        return Overloaded("this process is about to end", retry_after=self._house.settings.retry_after)

    async def _failed(self, raised: BaseException) -> None:
        failure = Failure(raised, self._scope, self._exchange, self._sending)
        try:
            await failure.tell(self._house, self._request)
        except Truncated as truncated:
            await self._exchange.break_off(truncated)
            raise
        except asyncio.CancelledError:  # by a server that ends
            if self._exchange.head_sent and not self._exchange.body_ended:
                await self._exchange.break_off(Truncated(self._stream.route, str(self._stream.reason)))
            raise

    async def _options(self, match: Match) -> None:
        self._scope.read_only = True
        self._response.headers["Allow"] = ", ".join(match.allowed)
        head = whole_head(self._response, Described(None), 0, "OPTIONS", status=204)
        await deliver_whole(head, b"", (), self._scope, self._exchange)

    async def _read(self, path: str, runs: Runs) -> Stage | None:
        """A run's own URL: its body, or whatever else the protocol of such streams knows."""
        run, _, verb = path.partition("/")
        owner = runs.owner_of(run)
        if owner is None:
            raise HTTPError(404)
        self._stream.route = owner.action.label
        reading = self._reading(chosen_by(owner), owner.durable)
        await reading.require_access(run)
        if verb or not is_plain(self._request):
            await self._mounted((await runs.open()).mount(path))
        else:
            await reading.serve(run)
        return reading.stage

    async def _mounted(self, mount: Mount) -> None:
        """Another ASGI application answers."""
        scope = {**self._exchange.scope, "root_path": self._request.script_name + mount.mount_path}
        await self._scope.abort()  # what dispatch has used: the response may go on for long
        receive = self._request.replayed(self._exchange.receive)
        await Mounted(self._scope, self._exchange).deliver(mount.app, scope, receive)

    async def _close(self, proxies: Binding) -> None:
        """Give everything back, whatever went before."""
        try:
            await self._scope.close()
            if not self._handed_over:
                await self._request.close()  # uploaded files
        finally:
            self._stream.on_interrupt = None
            self._house.ledger.leave(self._stream)
            proxies.release()

    @property
    def _handed_over(self) -> bool:
        """Whether the request is somebody else's: the run's which it began, or its reader's."""
        if self._run is not None:
            return not self._run.claimed
        return isinstance(self._sending, Reading) and self._sending.handed_over


def _printable(path: str) -> str:
    """A path as it may be logged: the client chose it."""
    return path if _PLAIN_PATH(path) else quote(path, errors="replace")


_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9_./~-]*").fullmatch
_REPEATABLE: Final = frozenset({State.WAITING, State.SETTLING})
