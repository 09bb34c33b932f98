"""Resuming: which run a request wants, and from where. Pure.

A client that comes back says so in one of four ways. A browser's `EventSource` repeats the last event's id,
and knows nothing else; a browser's resumed download repeats the entity tag in `If-Range`; a program sends
`Stream-Id`, or writes `?stream=` into the URL, with an `offset` to go on from.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from millstream.durable.runs.names import place_of, run_of_etag
from millstream.web.request import Request


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    run: str = ""  # "" for none by name
    offset: str = ""  # "" for the beginning
    must_be: bool = True  # whether nothing else will do: an `If-Range` that fails means "or else all of it"


def wanted_by(request: Request, taken: Container[str]) -> Wanted:
    """The run that a request names, and the offset.

    Args:
        request: that.
        taken: query fields that are the action's own parameters.
    """
    query, headers = request.query_params, request.headers
    place = place_of(headers.get("last-event-id", ""))
    if place is not None:
        return Wanted(place.run, place.offset)
    offset = query.get(OFFSET, "") if OFFSET not in taken else ""
    run = headers.get("stream-id", "") or (query.get(STREAM, "") if STREAM not in taken else "")
    if run:
        return Wanted(run, offset)
    if "range" in headers and (run := run_of_etag(headers.get("if-range", ""))):
        return Wanted(run, "", must_be=False)
    return Wanted("", offset)


def run_path(request: Request) -> str:
    """What follows the place of all runs in a request's path; empty for any other path."""
    path = request.path_info
    return path[len(PATH) + 1 :] if path.startswith(f"{PATH}/") else ""


def is_plain(request: Request) -> bool:
    """Whether a run is asked for as any resource is; its own protocol always says an offset, or a way."""
    return request.method in _READING and not (_PROTOCOL & request.query_params.keys())


def is_event_source(request: Request) -> bool:
    """Whether a page's `EventSource` may ask, to which any other status than 200 is the last word."""
    headers = request.headers
    return request.method == "GET" and ("last-event-id" in headers or EVENTS in headers.get("accept", ""))


EVENTS: Final = "text/event-stream"
PATH: Final = "/_streams"
"""Where each run has its URL: no controller can stand there, because its name would be private."""

STREAM: Final = "stream"
OFFSET: Final = "offset"
_PROTOCOL: Final = frozenset({OFFSET, "live"})
_READING: Final = frozenset({"GET", "HEAD"})
