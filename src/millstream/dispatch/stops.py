"""Stops: a controller at which a client ends a stream on purpose, by its name."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import expose
from millstream.errors import ConfigurationError, HTTPError
from millstream.protocol.events import Statistics
from millstream.web.proxies import request, stream
from millstream.web.request import Request

Allowed = Callable[[Request, Statistics], bool | Awaitable[bool]]
"""Whether whoever sent this request may stop that stream; sync or async, on the event loop."""


class Stops(TGController):
    """Answers `POST /streams/<id>/stop`, mounted as `streams = Stops(allowed=…)`.

    The client knows the id from the head of its stream, `Stream-Id`, which an action sends that was exposed
    with `stream_id=True`. The stream ends with the reason `stopped`, and is rolled back. Answered with 204;
    with 404 when no stream of that name is open in this process, and 403 when it is not allowed.

    Args:
        allowed: who may stop which stream. An id cannot be guessed, but may be seen by others: in a log, in
            a page that was saved.

    Raises:
        ConfigurationError: when `allowed` cannot be called.
    """

    def __init__(self, *, allowed: Allowed) -> None:
        if not callable(allowed):
            raise ConfigurationError(
                f"Stops was given allowed={allowed!r}: it must be a function of request and statistics"
            )
        self._allowed = allowed

    def _lookup(self, stream_id: str, *remainder: str) -> tuple[TGController, Sequence[str]]:
        return _One(stream_id, self._allowed), remainder


class _One(TGController):
    """One stream."""

    def __init__(self, stream_id: str, allowed: Allowed) -> None:
        self._id = stream_id
        self._allowed = allowed

    @expose(allowed_methods=["POST"])
    async def stop(self) -> None:
        """End it."""
        there = stream.find(self._id)
        if there is None:
            raise HTTPError(404, _NOT_THERE)
        verdict = self._allowed(request._current_obj(), there)  # noqa: SLF001  the proxies' documented way
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if not verdict:
            raise HTTPError(403, "this stream is not yours to stop")
        if not stream.stop(self._id):
            raise HTTPError(404, _NOT_THERE)  # it settles or has ended meanwhile


_NOT_THERE: Final = "no stream of that name is open here"
