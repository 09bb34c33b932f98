"""What is remembered of a request, so that another process can answer it once more.

It lies beside the run, in a stream of its own that no URL leads to, and it goes when the run has ended. A log
has other readers than the application: administrators, backups, replicas. So those headers are kept that say
how to answer, and those that the author names; any other one may be a credential, whatever it is called. The
URL and the body are kept as they are: the action's arguments are in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    withheld: tuple[str, ...] = ()  # the names of its other headers, in small letters


async def remember(
    log: Log, run: State, scope: Mapping[str, Any], body: bytes, *, headers: Collection[str] = ()
) -> None:
    """Keep the request of a run.

    Args:
        log: an open log.
        run: its stream.
        scope: the request's.
        body: the request's.
        headers: the names of further headers to be kept.
    """
    data = {name: scope[name] for name in _KEPT if scope.get(name) is not None}
    known = HARMLESS | {name.lower().encode("latin-1") for name in headers}
    data["headers"] = [[bytes(name), bytes(value)] for name, value in scope["headers"] if name in known]
    withheld = {str(name, "latin-1") for name, _ in scope["headers"] if name not in known}
    record = msgspec.msgpack.encode(Remembered(data, body, tuple(sorted(withheld))))
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


HARMLESS: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language content-encoding content-language content-length "
    b"content-type date dnt expect forwarded host if-match if-modified-since if-none-match if-range "
    b"if-unmodified-since last-event-id origin prefer range save-data sec-fetch-dest sec-fetch-mode "
    b"sec-fetch-site stream-id te traceparent transfer-encoding user-agent via x-forwarded-for "
    b"x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto x-http-method-override "
    b"x-real-ip x-request-id x-requested-with".split()
)
"""Headers that say how to answer, or where a request came from, and never who may be answered."""

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
