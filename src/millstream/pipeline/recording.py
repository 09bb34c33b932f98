"""Recording: a run on its way into the log, detached from whoever asked for it.

The hallway answers the request as any other, in a task of its own, and what it sends is appended. The claim
stands between the action's `_before` and the action: nobody writes to the log who may not even ask, and of a
hundred that ask at once one calls the action. An answer that is no 200 is no run: the one who asked is told,
as honestly as without a log, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from starlette.datastructures import MutableHeaders

from millstream.dispatch.match import Match
from millstream.durable.appending import Append
from millstream.durable.leasing import Lease
from millstream.durable.naming import Config
from millstream.durable.outage import AWAY
from millstream.durable.runs import names
from millstream.durable.runs.marks import last
from millstream.durable.runs.recorder import Recorder
from millstream.durable.runs.remembered import forget, remember
from millstream.durable.runs.tending import Tending
from millstream.durable.state import JSON, media_type
from millstream.engine.stream import Stream
from millstream.errors import ControllerError, HTTPError, Overloaded, Truncated
from millstream.pipeline.choosing import Chosen
from millstream.pipeline.durable import Durability
from millstream.pipeline.offers import Offer
from millstream.pipeline.resuming import EVENTS
from millstream.pipeline.told import Begun, Elsewhere, Logbook, Refused, Told
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import COMMITTED
from millstream.protocol.ports import Head
from millstream.web.forms import MULTIPART
from millstream.web.problems import Problem
from millstream.web.request import Request

_LOG: Final = logging.getLogger("millstream")


class Recording:
    """One run, or the attempt at one; the port `Exchange`.

    Args:
        logbook: where it is recorded.
        request: what is answered.
        match: where its path led; None, when that is still to be found.
        wanted: the run that the client has asked for by name: then none is begun.
        lease: of a run that is produced again.
    """

    def __init__(
        self,
        logbook: Logbook,
        request: Request,
        match: Match | None,
        *,
        wanted: str = "",
        lease: Lease | None = None,
    ) -> None:
        self._logbook = logbook
        self._wanted = wanted
        self._lease = lease
        self._told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._stream: Stream | None = None
        self._recorder: Recorder | None = None
        self._tending: Tending | None = None
        self._restarts = False
        self._asked_at = logbook.log.now()
        self._will = b""
        self._refusal: Head | None = None
        self._refused = bytearray()
        self.request = request
        self.match = match
        self.scope: MutableMapping[str, Any] = request.scope
        self.head_sent = False
        self.body_ended = False
        self.gone = False

    @property
    def is_plain(self) -> bool:
        """See `Outlet.is_plain`: a log may ask for its task."""
        return False

    async def break_off(self, why: Truncated, /) -> None:
        """Nothing: what a log was not given is not in it."""

    @property
    def claimed(self) -> bool:
        """Whether this is the one producer."""
        return self._recorder is not None

    async def told(self) -> Told:
        """What the request comes to, as soon as that is known.

        Raises:
            BaseException: what kept it from coming to anything.
        """
        await asyncio.wait((self._told,))  # whoever waits may be cancelled, the run is not
        return self._told.result()

    async def carry(self, answer: Callable[[], Awaitable[None]]) -> None:
        """Let the hallway answer, and bring the run to an end, whatever that does.

        Args:
            answer: the hallway.
        """
        words = b""
        try:
            await answer()
        except Truncated:
            pass  # the failure is logged, the last words are said
        except Exception as broken:  # noqa: BLE001  a log that does not take anything any more
            _LOG.warning("%s: the run was broken off: %s", self._name, broken)
            words = self._will
        except BaseException as raised:
            words = self._will
            self._tell_error(raised)
            raise
        finally:
            await self._end(words)

    # What the hallway asks

    async def claim(
        self, stream: Stream, decided: Chosen, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> bool:
        """Become the run's one producer; False when there is one, and only reading to be done.

        Raises:
            HTTPError: 413, when a request that is to be remembered is too long for it; 503, when the log
                cannot be had.
        """
        durable = decided.plan.durable
        assert durable is not None  # noqa: S101  nobody else is given a recording
        if self.claimed:  # the action is called once more
            return True
        if self._wanted:
            self._tell(Elsewhere(self._wanted))
            return False
        lease = self._lease
        run = self._name_for(durable, decided, args, kwargs) if lease is None else names.run_in(lease.name)
        decided.offer = self._sealed(decided.offer)
        is_events = decided.offer.media_type == EVENTS
        will = decided.offer.encoder(decided.match.action.label).failed(_DIED.members)
        self._will = last(run, will) if is_events else will
        if lease is None:
            try:
                lease = await self._leased(run, durable, decided.offer)
            except self._logbook.log.failures as away:
                self._tell_error(away)
                raise Overloaded(AWAY) from away
        if lease is None:
            self._tell(Elsewhere(run))
            return False
        self._stream = stream
        self._restarts = durable.declared.restarts
        self._begin(lease, stream, durable, marked=is_events)
        return True

    def _sealed(self, offer: Offer) -> Offer:
        """The offer in the one content type that all readers of the run are told."""
        stored = "" if self._lease is None else self._lease.state.content_type
        return (offer.said(stored) if stored.startswith("multipart/") else offer).sealed()

    async def _leased(self, run: str, durable: Durability, offer: Offer) -> Lease | None:
        """The right to produce a run; None when there is such a run."""
        log, declared = self._logbook.log, durable.declared
        body = await self._body() if declared.restarts else None
        lease = self._lease = await log.claim(
            names.stream_of(run),
            Config(
                content_type=_stored(offer.content_type), ttl=math.ceil(declared.ttl or self._logbook.ttl)
            ),
            seconds=self._logbook.lease,
            will=self._will,
            failed_before=self._asked_at if declared.retries else None,
        )
        if lease is not None and body is not None:
            await remember(log, lease.state, self.scope, body, headers=declared.keep_headers)
        return lease

    def _name_for(
        self, durable: Durability, decided: Chosen, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str:
        tag = durable.tags[decided.plan.offers.index(decided.offer)]
        if durable.key is None:
            return names.fresh(tag)
        return names.keyed(self._logbook.secret, tag, durable.key.of(args, kwargs))

    async def _body(self) -> bytes | None:
        """What is to be remembered with the request; None of one that is not restarted."""
        if self.request.content_type == MULTIPART:  # its files are not ours to keep
            return None
        try:
            return await self.request.body()
        except ControllerError:  # it was streamed
            return None

    def _begin(self, lease: Lease, stream: Stream, durable: Durability, *, marked: bool) -> None:
        log = self._logbook.log
        stream._id = names.run_in(lease.name)  # noqa: SLF001  what the author knows it by is what its readers do
        self._tending = Tending(
            log, lease, lambda: stream.interrupt(Reason.STOPPED), lambda: stream.interrupt(Reason.REVOKED)
        )
        self._recorder = Recorder(
            log,
            lease,
            marked=marked,
            keep=durable.declared.max_bytes,
            on_fenced=lambda: stream.interrupt(Reason.REVOKED),
        )

    # What the hallway sends

    async def receive(self) -> MutableMapping[str, Any]:
        """The next of the request's body: never asked, since the request is the one that was sent here."""
        return await self.request.receive()

    def watch(self, on_gone: Callable[[], None], /) -> None:
        """Nobody who could leave: leaving is the readers' affair."""

    def look(self) -> None:
        """See `Outlet.look`: a log does not leave."""

    def unwatch(self) -> None:
        """As `watch`."""

    async def send_head(self, head: Head, /) -> None:
        """See `Outlet.send_head`."""
        self.head_sent = True
        if head.status != _OK or self._lease is None:
            self._refusal = head
        else:
            self._tell(Begun(names.run_in(self._lease.name), head))

    async def send_body(self, data: bytes, /) -> None:
        """See `Outlet.send_body`."""
        if self._refusal is not None or self._recorder is None:
            self._refused += data
        elif not self._is_left:  # or else these are last words
            await self._recorder.write(data)

    async def end(self, data: bytes, /) -> None:
        """See `Outlet.end`: closes the stream, once everything is committed."""
        if self._refusal is not None or self._recorder is None:
            self._refused += data
        elif self._stream is not None and self._stream.state not in COMMITTED:
            await self.send_body(data)  # the record of a failure is a visible end, but not of a whole run
            return
        else:
            await self._recorder.complete(data)
        self.body_ended = True

    async def forward(self, message: MutableMapping[str, Any], /) -> None:
        """See `Exchange.forward`."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            await self.send_head(Head(message["status"], headers, self.request.method))
        elif message.get("more_body", False):
            await self.send_body(message.get("body", b""))
        else:
            await self.end(message.get("body", b""))

    # The end

    @property
    def _is_left(self) -> bool:
        """Whether another process is to go on with it."""
        return self._restarts and self._stream is not None and self._stream.reason is Reason.SHUTDOWN

    @property
    def _is_kept(self) -> bool:
        """Whether there is a run at all: begun, or ended by somebody else's wish before it could begin."""
        if self._refusal is None or self._lease is None or self._lease.tenure.epoch:
            return True
        return self._stream is not None and self._stream.interrupted

    @property
    def _name(self) -> str:
        return "a run" if self._lease is None else f"the run {names.run_in(self._lease.name)}"

    async def _end(self, words: bytes) -> None:
        if self._lease is not None:
            try:
                await self._settle(self._lease, words)
            except Exception as failed:  # noqa: BLE001  the lease lapses then, and the reaper ends it
                _LOG.warning("%s could not be ended: %s", self._name, failed)
        if self._tending is not None:
            self._tending.end()
        if self._refusal is not None:
            self._tell(Refused(self._refusal, bytes(self._refused)))
        self._tell_error(RuntimeError("the run ended without an answer"))

    async def _settle(self, lease: Lease, words: bytes) -> None:
        """What is left of it in the log."""
        log, recorder = self._logbook.log, self._recorder
        if recorder is None:  # it was to be produced again, and that was refused
            request = Append(
                records=[lease.tenure.will] if lease.tenure.will else [],
                producer=lease.claim(0),
                close=True,
                failed=True,
            )
            await log.append(lease.name, request)
        elif not self._is_kept:
            recorder.abandon()
            await log.delete(lease.name)
        elif self._is_left and not self.body_ended:
            await recorder.leave()
            return
        elif self._refusal is not None or not self.body_ended:
            await recorder.fail(words if self._refusal is None else self._will)
        if self._restarts or lease.tenure.epoch:
            await forget(log, lease.state)

    def _tell(self, told: Told) -> None:
        if not self._told.done():
            self._told.set_result(told)

    def _tell_error(self, raised: BaseException) -> None:
        if not self._told.done():
            self._told.set_exception(raised)
            self._told.exception()  # it is retrieved by whoever still waits


def _stored(content_type: str) -> str:
    """The type of the stream: a JSON text in pieces is no stream of JSON messages."""
    return "application/vnd.millstream.json" if media_type(content_type) == JSON else content_type


_OK: Final = 200
_DIED: Final = Problem(HTTPError(500, "the process that produced this has died"))
