"""What is remembered of a request, so that another process can answer it once more.

It lies beside the run, in a stream of its own that no URL leads to, with all that the request had, cookies
among it; and it goes when the run has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.refusals import LogRefused
from millstream.durable.runs.names import request_of, run_in
from millstream.durable.state import State

LONGEST: Final = 7 * 24 * 3600
"""Seconds; a run that takes longer is not produced again."""


class Remembered(msgspec.Struct, frozen=True):
    """One request: what of its scope is data, and its body."""

    scope: dict[str, Any]
    body: bytes


async def remember(log: Log, run: State, scope: Mapping[str, Any], body: bytes) -> None:
    """Keep the request of a run."""
    data = {name: scope[name] for name in _KEPT if scope.get(name) is not None}
    data["headers"] = [[bytes(name), bytes(value)] for name, value in scope["headers"]]
    record = msgspec.msgpack.encode(Remembered(data, body))
    await log.create(_name(run), Config(ttl=LONGEST), [record], closed=True)


async def recall(log: Log, run: State) -> Remembered | None:
    """The request of a run; None when it is not known any more."""
    pieces: list[bytes] = []
    try:
        page = await log.read(_name(run))
        pieces += page.messages
        while not page.closed:
            page = await log.read(_name(run), page.next_offset)
            pieces += page.messages
    except LogRefused:
        return None
    return msgspec.msgpack.decode(b"".join(pieces), type=Remembered)


async def forget(log: Log, run: State) -> None:
    """The run has ended."""
    with suppress(LogRefused):
        await log.delete(_name(run))


def _name(run: State) -> str:
    return request_of(run_in(run.name), run.incarnation)


_KEPT: Final = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "client",
    "server",
)
