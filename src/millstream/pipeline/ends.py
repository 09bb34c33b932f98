"""Ends that are not good: whatever went wrong, wherever it did, comes here once.

The table is told first, then the log, then the participants (who roll back), and the client last: by an
honest status when its head has not left, else by the format's last words and a visible break.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from anyio import move_on_after
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millstream.engine.scope import Scope
from millstream.errors import HTTPError, Truncated, UnreadableValue, WrongItem
from millstream.pipeline.asking import judged
from millstream.pipeline.heads import problem_head
from millstream.pipeline.house import House
from millstream.pipeline.sending import Sending
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import COMMITTED, FINAL, Event, State
from millstream.protocol.ports import Exchange
from millstream.web.problems import Problem, problem_of
from millstream.web.request import Request

PARTING: Final = 0.3
"""Seconds a client has, when the process ends, to take the last words, and then what was sent before."""

_LOG: Final = logging.getLogger("millstream")


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a request, and what has to hear of it."""

    raised: BaseException
    scope: Scope
    exchange: Exchange
    sending: Sending | None  # None: there was nothing to send yet

    async def tell(self, house: House, request: Request) -> None:
        """Tell everybody.

        Raises:
            Truncated: for the server, when a body has to be broken off.
            BaseException: what was raised, when it is no failure of ours to tell: a cancellation.
        """
        raised, stream, exchange = self.raised, self.scope.stream, self.exchange
        if isinstance(raised, asyncio.CancelledError | ClientDisconnect):
            is_gone = (exchange.gone or stream.client_gone) and stream.state is not State.UNWATCHED
            stream.interrupt(Reason.CLIENT_GONE if is_gone else Reason.SHUTDOWN)
        if stream.state not in FINAL:
            stream.tell(Event.BROKE)
        self._log()
        await self.scope.abort()
        if isinstance(raised, Truncated) or not isinstance(raised, Exception):
            raise raised
        if exchange.gone or stream.client_gone or exchange.body_ended:
            return
        judgement = judged(raised, house.participants)
        told = raised if judgement is None or judgement.told is None else judgement.told
        problem = problem_of(told, debug=house.settings.debug)
        if not exchange.head_sent:
            await self._send_problem(problem, request)
            return
        if stream.state not in COMMITTED and stream.reason is not Reason.STALLED:
            is_end = stream.reason is Reason.SHUTDOWN
            if await self._ended(problem, PARTING if is_end else house.settings.close_timeout):
                return
        raise Truncated(stream.route, str(stream.reason)) from None

    async def _send_problem(self, problem: Problem, request: Request) -> None:
        content_type, body = problem.render(request.headers.get("accept"))
        head = problem_head(problem.error, content_type, len(body), request.method)
        await self.exchange.send_head(head)
        await self.exchange.end(body if head.has_body else b"")

    async def _ended(self, problem: Problem, seconds: float) -> bool:
        """Send the last words; whether the body has ended with them, as its format wants it."""
        delivery = None if self.sending is None else self.sending.delivery
        if delivery is None:
            return False
        try:
            words = delivery.last_words({**problem.members, **self._where()})
            is_end = bool(words) and delivery.failure_ends
            words += delivery.rest() if is_end else b""
        except Exception:  # noqa: BLE001  a transform that failed may fail again, and that was logged
            return False
        if words:
            with move_on_after(seconds):
                await (self.exchange.end if is_end else self.exchange.send_body)(words)
                return is_end
        return False

    def _where(self) -> dict[str, Any]:
        """Which row it was, for whoever has all those before it; what is wrong with it stays in the log."""
        raised, stream, sending = self.raised, self.scope.stream, self.sending
        if not isinstance(raised, WrongItem | UnreadableValue) or sending is None or stream.interrupted:
            return {}
        if raised.row is not None:  # counted where they were read or packed: some are held and have not left
            return {"row": raised.row}
        return {"row": stream.items + 1} if sending.counts_rows else {}

    def _log(self) -> None:
        """Once a failure, where it is known; an end that somebody wanted is no failure."""
        raised, stream = self.raised, self.scope.stream
        wanted = stream.interrupted and isinstance(raised, HTTPError | ClientDisconnect | Truncated)
        if wanted or isinstance(raised, asyncio.CancelledError):
            _LOG.info("%s ended early: %s, after %d items", stream.route, stream.reason, stream.items)
        elif isinstance(raised, Truncated):
            pass  # by an application of ours that is mounted here, which has said why
        elif self.exchange.head_sent or not isinstance(raised, HTTPError | HTTPException):
            row = "".join(f", at row {number}" for number in self._where().values())
            _LOG.error(
                "%s failed after %d items, %d bytes%s",
                stream.route,
                stream.items,
                stream.bytes,
                row,
                exc_info=raised,
            )
