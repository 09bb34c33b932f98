"""Restarting: the request of a run that is produced again, as far as it was kept.

The client that sent it is not there, and headers that may be credentials were not kept. Code that asks for
one is told so: an action that found none would take the client for an anonymous one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message

from millstream.durable.runs.remembered import Remembered
from millstream.errors import ControllerError
from millstream.web.request import Request


def request_again(remembered: Remembered) -> Request:
    """A request that somebody made once."""
    messages: list[Message] = [{"type": "http.request", "body": remembered.body}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.get_running_loop().create_future()  # nobody is there, and so nobody leaves
        return {"type": "http.disconnect"}

    scope: dict[str, Any] = {**remembered.scope, "state": {}}
    scope["headers"] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    for name in ("client", "server"):
        if name in scope:
            scope[name] = tuple(scope[name])
    request = Request(scope, receive)
    if remembered.withheld:
        request._headers = KeptHeaders(scope["headers"], remembered.withheld)  # noqa: SLF001  where Starlette looks
    return request


class KeptHeaders(Headers):
    """The headers that were kept.

    Args:
        raw: those.
        withheld: the names of those that were not.
    """

    def __init__(self, raw: list[tuple[bytes, bytes]], withheld: Iterable[str]) -> None:
        super().__init__(raw=raw)
        self._withheld = frozenset(withheld)

    def __getitem__(self, name: str) -> str:
        """The value of a header.

        Raises:
            ControllerError: when the client has sent it and it was not kept.
            KeyError: when the client has not sent it.
        """
        self._require_kept(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._require_kept(name)
        return super().__contains__(name)

    def getlist(self, name: str) -> list[str]:
        """As above."""
        self._require_kept(name)
        return super().getlist(name)

    def _require_kept(self, name: object) -> None:
        if isinstance(name, str) and name.lower() in self._withheld:
            raise ControllerError(
                f"the header {name!r} was not kept for this run, which is produced again after its process "
                "died: name it in Durable(keep_headers=…) if it is no secret, or decide by the URL or body"
            )
