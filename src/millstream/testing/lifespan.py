"""An application's start-up and shutdown, as a server would run them."""

from __future__ import annotations

import asyncio
from contextvars import Context
from enum import Enum, unique
from types import TracebackType
from typing import Any, Final, Self

from starlette.types import ASGIApp, Message

from millstream.testing.failures import CheckFailed, LifespanFailed, raise_or_note
from millstream.testing.waiting import Change, stands_at, within

SPEC_VERSION: Final = "2.0"


@unique
class Phase(Enum):
    """Where an application stands between its start and its end."""

    STARTING = "start-up"
    SERVING = "serving"
    STOPPING = "shutdown"
    STOPPED = "end"
    FAILED = "failure"
    UNSUPPORTED = "absence"  # the application knows no lifespan; it is simply there


class Lifespan:
    """One run of the lifespan protocol.

    An application that ends, or answers with something else, before it ever asked for the start-up event does
    not know the protocol and is served without. One that asked and then fails has failed.

    Raises:
        LifespanFailed: on entering, when the start-up fails; on leaving, when the shutdown does.
        TimedOut: when one of them does not end.
    """

    def __init__(self, app: ASGIApp, context: Context, *, timeout: float) -> None:
        self.state: dict[str, Any] = {}  # what the application keeps for its requests
        self._timeout = timeout
        self._phase = Phase.STARTING
        self._asked = False
        self._ended = False
        self._shutdown_told = False
        self._message = ""
        self._change = Change()
        self._call = asyncio.create_task(self._run(app), name="lifespan", context=context)
        self._call.add_done_callback(self._note_end)

    async def __aenter__(self) -> Self:
        try:
            async with within(self._timeout, "lifespan", "the application's start-up"):
                await self._change.wait_for(lambda: self._phase is not Phase.STARTING)
            await self._check(Phase.STARTING)
        except BaseException:
            await self._end_call()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.shutdown(self._timeout)
        except CheckFailed as problem:
            raise_or_note(problem, error)
        finally:
            await self._end_call()

    async def shutdown(self, seconds: float) -> None:
        """Shut the application down, once; a further call returns at once.

        Raises:
            LifespanFailed: when it fails, or failed while it served.
            TimedOut: when it does not end.
        """
        if self._phase is Phase.SERVING:
            self._phase = Phase.STOPPING
            self._change.tell()
            async with within(
                seconds, "lifespan", "the application's shutdown", lambda: stands_at(self._call)
            ):
                await self._change.wait_for(lambda: self._phase is not Phase.STOPPING)
                await self._change.wait_for(lambda: self._ended)
        await self._check(Phase.STOPPING)

    async def _end_call(self) -> None:
        self._call.cancel()
        await asyncio.wait({self._call}, timeout=self._timeout)

    async def _check(self, during: Phase) -> None:
        if self._phase is not Phase.FAILED:
            return
        self._phase = Phase.STOPPED  # told once
        await asyncio.wait({self._call}, timeout=self._timeout)  # a message comes first, its cause next
        error = self._call.exception() if self._call.done() and not self._call.cancelled() else None
        detail = self._message or (
            f"{type(error).__name__}: {error}" if error else "it ended without saying why"
        )
        raise LifespanFailed(during.value, detail) from error

    async def _run(self, app: ASGIApp) -> None:
        asgi = {"version": "3.0", "spec_version": SPEC_VERSION}
        await app({"type": "lifespan", "asgi": asgi, "state": self.state}, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._change.wait_for(lambda: self._phase is Phase.STOPPING and not self._shutdown_told)
        self._shutdown_told = True
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = str(message.get("type"))
        if self._phase is Phase.STARTING and not kind.startswith("lifespan."):
            self._become(Phase.UNSUPPORTED)
            raise LifespanFailed("start-up", f"{kind} was sent: the application knows no lifespan")
        try:
            phase = _ANSWERS[self._phase, kind]
        except KeyError:
            raise LifespanFailed(self._phase.value, f"{kind} was sent, which is no answer then") from None
        self._message = str(message.get("message", ""))
        self._become(phase)

    def _note_end(self, call: asyncio.Task[None]) -> None:
        self._ended = True
        failed = not call.cancelled() and call.exception() is not None
        match self._phase:
            case Phase.STARTING:
                self._become(Phase.FAILED if self._asked else Phase.UNSUPPORTED)
            case Phase.STOPPING:
                self._become(Phase.FAILED)
            case Phase.SERVING | Phase.STOPPED:
                self._become(Phase.FAILED if failed else Phase.STOPPED)
            case Phase.FAILED | Phase.UNSUPPORTED:
                self._change.tell()

    def _become(self, phase: Phase) -> None:
        self._phase = phase
        self._change.tell()


_ANSWERS: Final = {
    (Phase.STARTING, "lifespan.startup.complete"): Phase.SERVING,
    (Phase.STARTING, "lifespan.startup.failed"): Phase.FAILED,
    (Phase.STOPPING, "lifespan.shutdown.complete"): Phase.STOPPED,
    (Phase.STOPPING, "lifespan.shutdown.failed"): Phase.FAILED,
}
