"""Following a stream from the terminal: what comes is printed, and a lost connection is taken up again.

Three kinds of streams are told apart by what they answer:

* server-sent events (WHATWG HTML §9.2) are asked for again with the last id that was seen;
* runs of durable actions say what they are (`Stream-Id`, `Location`), and are asked for again from the number
  of bytes that came;
* durable streams name their next offset (`Stream-Next-Offset`), and are followed by long-polls from there;
* any other body is printed line by line, and cannot be taken up again once it is cut off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
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
    with httpx.Client(timeout=timeout) as client:
        yield from _Follower(client, followed).run()


class _Follower:
    def __init__(self, client: httpx.Client, followed: Followed) -> None:
        self._client = client
        self._followed = followed
        self._last_id = ""
        self._etag = ""  # of a run
        self._place = 0  # in a run
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
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        if self._etag:
            headers["If-Match"] = self._etag
        with self._get(headers) as reply:
            if self._refused(reply):
                return False
            return reply.status_code == NOTHING_MORE or (yield from self._read(reply))

    def _read(self, reply: httpx.Response) -> Reading:
        """What a reply brings, by what kind of stream it is of."""
        if STANDS_AT in reply.headers:
            self._url = str(reply.url.join(reply.headers.get("content-location", "")))
            self._offset = self._followed.offset
            return False
        if _is_events(reply):
            return (yield from self._read_events(reply))
        if _is_run(reply):
            return (yield from self._read_run(reply))
        return (yield from self._read_lines(reply))

    @contextmanager
    def _get(
        self, headers: Mapping[str, str], asked: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """Ask, and go where the server leads; the user's own headers are for the origin that was named alone.

        Raises:
            StreamFailed: when it leads nowhere.
        """
        sent = httpx.Headers({"Accept": ACCEPT})
        if _same_origin(self._followed.url, self._url):
            sent.update(self._followed.headers)
        sent.update(headers)
        request = self._client.build_request("GET", self._url, headers=sent, params=asked)
        for _ in range(MOST_REDIRECTS):
            reply = self._client.send(request, stream=True)
            try:
                if reply.next_request is None:
                    yield reply
                    return
            finally:
                reply.close()
            if not _same_origin(str(request.url), str(reply.next_request.url)):
                for name in self._followed.headers:
                    reply.next_request.headers.pop(name, None)
            request = reply.next_request
        raise StreamFailed(f"the server redirects more than {MOST_REDIRECTS} times")

    def _poll(self) -> Reading:
        """The next page of a durable stream."""
        with self._get({}, {"offset": self._offset, "live": "long-poll"}) as reply:
            if self._refused(reply):
                return False
            reply.read()
        if reply.content:
            yield _lines_of(reply)
        self._offset = reply.headers.get(STANDS_AT, self._offset)
        if reply.headers.get("stream-failed") == "true":
            raise StreamFailed("the stream has failed")
        closed: str = reply.headers.get("stream-closed", "")
        return closed == "true"

    def _read_run(self, reply: httpx.Response) -> Reading:
        """What is left of a run; asked for again as an `EventSource` does it, by the number of bytes."""
        if self._followed.offset != START and not self._last_id:
            self._url, self._offset = str(reply.url.join(reply.headers["location"])), self._followed.offset
            return False
        self._etag = self._etag or reply.headers.get("etag", "")
        self._last_id = f"{reply.headers['stream-id']}:{self._place}"
        for chunk in reply.iter_bytes():
            self._place += len(chunk)
            self._last_id = f"{reply.headers['stream-id']}:{self._place}"
            yield chunk
        return True

    def _read_events(self, reply: httpx.Response) -> Reading:
        is_back, came = bool(self._last_id), False
        for event in EventSource(reply).iter_sse():
            came = True
            self._last_id = event.id or self._last_id
            if event.retry is not None:
                self._retry = event.retry / 1000
            if event.event == "error":
                raise StreamFailed(f"the stream has failed: {event.data}")
            if event.event not in ABOUT_THE_END:
                yield event.data.encode() + b"\n"
        if is_back and not came:  # so a server says that it cannot go on at the moment
            self._wait("the server has no events at the moment")
            return False
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
        if reply.headers.get("stream-failed") == "true":
            raise StreamFailed("the stream has failed")
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


def _is_events(reply: httpx.Response) -> bool:
    content_type: str = reply.headers.get("content-type", "")
    return content_type.startswith("text/event-stream")


def _is_run(reply: httpx.Response) -> bool:
    """Whether it is a run, which its own URL names."""
    location, run = reply.headers.get("location", ""), reply.headers.get("stream-id", "")
    return bool(run) and str(location).endswith(f"/{run}")


def _same_origin(one: str, other: str) -> bool:
    """Whether two URLs lead to one server; an upgrade to TLS by itself leads to no other."""
    here, there = httpx.URL(one), httpx.URL(other)
    if here.host != there.host:
        return False
    ports = [(url.scheme, url.port or _PORTS.get(url.scheme)) for url in (here, there)]
    return ports[0] == ports[1] or ports == [("http", 80), ("https", 443)]


def _lines_of(reply: httpx.Response) -> bytes:
    """A page; of a JSON stream, its messages one a line."""
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return reply.content
    return b"".join(json.dumps(message, ensure_ascii=False).encode() + b"\n" for message in reply.json())


START: Final = "-1"
STANDS_AT: Final = "stream-next-offset"
ACCEPT: Final = "text/event-stream, application/x-ndjson;q=0.9, text/*;q=0.8, */*;q=0.5"
ABOUT_THE_END: Final = frozenset({"end", "goodbye"})
"""Events that say why a stream ends; whether that was well, the body's own end tells."""

MOST_REDIRECTS: Final = 20
NOTHING_MORE: Final = 204
FIRST_FAILURE: Final = 400
TRY_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 90.0
"""Seconds; longer than any server's keep-alive or long-poll."""

_PORTS: Final = {"http": 80, "https": 443}
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 15.0
