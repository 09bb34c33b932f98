"""Following a stream from the terminal: what comes is printed, and a lost connection is taken up again.

Three kinds of streams are told apart by what they answer:

* durable ones name their next offset (`Stream-Next-Offset`): followed by long-polls from there, so that after
  any interruption the next byte is the right one;
* server-sent events (WHATWG HTML §9.2) are asked for again with the last id that was seen;
* any other body is printed line by line, and cannot be taken up again once it is cut off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import httpx
from httpx_sse import EventSource

Say = Callable[[str], None]

Reading = Generator[bytes, None, bool]
"""What one request brings, and at last whether the stream has ended."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed, and how."""

    url: str
    headers: Mapping[str, str]
    offset: str  # where a durable stream is begun: -1 its start, now its end, or one that was given out
    patience: float  # seconds without an answer after which it is given up
    say: Say  # tells the user, not the pipe behind us, what happens


class StreamFailed(Exception):
    """The stream did not end well; the text says how."""


def follow(followed: Followed) -> Iterator[bytes]:
    """What a stream says, from now to its end, in pieces that are whole lines where the stream has lines.

    Raises:
        StreamFailed: when it failed, was refused, was cut off where it cannot be resumed, or stays away.
    """
    # A long-poll, or a silence between two items, may be longer than any sane default.
    timeout = httpx.Timeout(CONNECT_TIMEOUT, read=READ_TIMEOUT)
    with httpx.Client(headers=dict(followed.headers), timeout=timeout, follow_redirects=True) as client:
        yield from _Follower(client, followed).run()


class _Follower:
    def __init__(self, client: httpx.Client, followed: Followed) -> None:
        self._client = client
        self._followed = followed
        self._last_id = ""
        self._retry = FIRST_WAIT
        self._offset = ""
        self._url = followed.url
        self._lost_since: float | None = None

    def run(self) -> Iterator[bytes]:
        while True:
            try:
                ended = yield from self._once()
            except httpx.TransportError as lost:
                self._wait(f"{type(lost).__name__}: {lost}" if str(lost) else type(lost).__name__)
            else:
                if ended:
                    return

    def _once(self) -> Reading:
        """One request; whether the stream has ended with it."""
        if self._offset:
            return (yield from self._poll())
        headers = {"Accept": ACCEPT}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        with self._client.stream("GET", self._url, headers=headers) as reply:
            if self._refused(reply):
                return False
            if reply.status_code == NOTHING_MORE:
                return True
            if STANDS_AT in reply.headers:
                self._begin_durable(reply)
                return False
            if reply.headers.get("content-type", "").startswith("text/event-stream"):
                return (yield from self._read_events(reply))
            return (yield from self._read_lines(reply))

    def _begin_durable(self, reply: httpx.Response) -> None:
        self._url = str(reply.url.join(reply.headers.get("content-location", "")))
        self._offset = self._followed.offset

    def _poll(self) -> Reading:
        """The next page of a durable stream."""
        asked = {"offset": self._offset, "live": "long-poll"}
        reply = self._client.get(self._url, params=asked)
        if self._refused(reply):
            return False
        if reply.content:
            yield _lines_of(reply)
        self._offset = reply.headers.get(STANDS_AT, self._offset)
        if reply.headers.get("stream-failed") == "true":
            raise StreamFailed("the stream has failed")
        closed: str = reply.headers.get("stream-closed", "")
        return closed == "true"

    def _read_events(self, reply: httpx.Response) -> Reading:
        for event in EventSource(reply).iter_sse():
            self._last_id = event.id
            if event.retry is not None:
                self._retry = event.retry / 1000
            if event.event == "error":
                raise StreamFailed(f"the stream has failed: {event.data}")
            if event.event not in ABOUT_THE_END:
                yield event.data.encode() + b"\n"
        return True

    def _read_lines(self, reply: httpx.Response) -> Reading:
        began = False
        try:
            for chunk in reply.iter_bytes():
                began = True
                yield chunk
        except httpx.TransportError as lost:
            if not began:
                raise
            raise StreamFailed("the stream was cut off, and it cannot be resumed") from lost
        return True

    def _refused(self, reply: httpx.Response) -> bool:
        """Whether to try again; a refusal that will not change is raised."""
        if reply.status_code < FIRST_FAILURE:
            self._lost_since = None
            return False
        if reply.status_code not in TRY_AGAIN:
            raise StreamFailed(f"the server answered {reply.status_code} {reply.reason_phrase}")
        self._wait(f"the server answered {reply.status_code}", reply.headers.get("retry-after", ""))
        return True

    def _wait(self, why: str, seconds: str = "") -> None:
        """Before another attempt: as long as the server says, else longer each time.

        Raises:
            StreamFailed: when patience is over.
        """
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
        lost = now - self._lost_since
        if lost > self._followed.patience:
            raise StreamFailed(f"{why}; given up after {lost:.0f} s")
        told = float(seconds) if seconds.isascii() and seconds.isdigit() else None
        pause = told if told is not None else min(max(self._retry, lost), LONGEST_WAIT)
        self._followed.say(f"{why}; trying again in {pause:.1f} s")
        time.sleep(pause)


def _lines_of(reply: httpx.Response) -> bytes:
    """A page; of a JSON stream, its messages one a line."""
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return reply.content
    return b"".join(json.dumps(message, ensure_ascii=False).encode() + b"\n" for message in reply.json())


STANDS_AT: Final = "stream-next-offset"
ACCEPT: Final = "text/event-stream, application/x-ndjson;q=0.9, text/*;q=0.8, */*;q=0.5"
ABOUT_THE_END: Final = frozenset({"end", "goodbye"})
"""Events that say why a stream ends; whether that was well, the body's own end tells."""

NOTHING_MORE: Final = 204
FIRST_FAILURE: Final = 400
TRY_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 90.0
"""Seconds; longer than any server's keep-alive or long-poll."""

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 15.0
