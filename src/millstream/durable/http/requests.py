"""What a request of the protocol asks for, read from its headers and its query. Pure.

Everything that is not as the protocol has it is a 400 with one sentence; what it does not know is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, unquote

from starlette._utils import get_route_path
from starlette.types import Scope

from millstream.durable.appending import Append
from millstream.durable.http.json_mode import messages_of
from millstream.durable.naming import Config
from millstream.durable.state import JSON, Producer, media_type
from millstream.errors import HTTPError


class PeerLeft(Exception):
    """The client left before its request was whole."""


class Asked:
    """One request.

    Attributes:
        scope: ASGI's.
        method: as it was sent.
        name: the stream's: the path below the mount, without its first slash.
        headers: by name in small letters; of a repeated one, the last.
    """

    __slots__ = ("headers", "method", "name", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.name = get_route_path(scope).removeprefix("/")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    def header(self, name: bytes) -> str | None:
        """A header's value."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip()

    def flag(self, name: bytes) -> bool:
        """Whether a header is `true`; any other value is as good as none."""
        value = self.headers.get(name)
        return value is not None and value.strip().lower() == b"true"

    @property
    def declared(self) -> int:
        """The bytes of the body, as far as the head says it."""
        text = self.headers.get(b"content-length", b"")
        return int(text) if text.isdigit() and len(text) <= _LONGEST else 0

    @property
    def declares_body(self) -> bool:
        """Whether the head says that there is a body."""
        return bool(self.declared) or b"transfer-encoding" in self.headers

    def query(self) -> Mapping[str, Sequence[str]]:
        """The parameters; those without a value, too."""
        raw: bytes = self.scope["query_string"]
        found: dict[str, list[str]] = {}
        if raw:
            for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
                found.setdefault(key, []).append(value)
        return found

    @property
    def url(self) -> str:
        """The stream's own URL."""
        scope = self.scope
        host = self.headers.get(b"host", b"").decode("latin-1")
        if not host:
            server = scope.get("server") or ("localhost", None)
            host = server[0] if server[1] is None else f"{server[0]}:{server[1]}"
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        return f"{scope.get('scheme', 'http')}://{host}{raw.partition(b'?')[0].decode('latin-1')}"

    def name_at(self, path: str) -> str | None:
        """The name of the stream at a path of this server; None, if that is no stream of ours."""
        root = self.scope.get("root_path", "")
        path = unquote(path.partition("?")[0])
        return path[len(root) + 1 :] if path.startswith(f"{root}/") else None


def config_of(asked: Asked) -> Config:
    """What a stream is to be.

    Raises:
        HTTPError: 400.
    """
    ttl, until = asked.header(b"stream-ttl"), asked.header(b"stream-expires-at")
    if ttl is not None and until is not None:
        raise HTTPError(400, "Stream-TTL and Stream-Expires-At exclude each other")
    return Config(
        content_type=asked.header(b"content-type") or None,
        ttl=None if ttl is None else whole_number("Stream-TTL", ttl),
        expires_at=None if until is None else _time("Stream-Expires-At", until),
    )


def append_of(asked: Asked, body: bytes) -> Append:
    """What is to be appended.

    Raises:
        HTTPError: 400.
    """
    close = asked.flag(b"stream-closed")
    content_type = asked.header(b"content-type")
    if not body and not close:
        raise HTTPError(400, "there is nothing to append")
    if body and not content_type:
        raise HTTPError(400, "the Content-Type is missing")
    return Append(
        records=records_of(body, content_type),
        content_type=content_type,
        producer=_producer(asked),
        seq=asked.header(b"stream-seq"),
        close=close,
    )


def records_of(body: bytes, content_type: str | None, *, empty: bool = False) -> list[bytes]:
    """A body as records of a stream.

    Args:
        body: the request's.
        content_type: the stream's.
        empty: whether an empty JSON array is allowed.

    Raises:
        HTTPError: 400, when it is no JSON and should be, or says nothing.
    """
    if not body:
        return []
    if content_type is None or media_type(content_type) != JSON:
        return [body]
    messages = messages_of(body)
    if not messages and not empty:
        raise HTTPError(400, "an empty array appends nothing")
    return messages


def whole_number(what: str, text: str) -> int:
    """A number written in digits, and only as they are usually written.

    Raises:
        HTTPError: 400.
    """
    if not _WHOLE.fullmatch(text) or int(text) > LARGEST:
        raise HTTPError(400, f"{what} is {text!r}: it must be a whole number of digits, up to {LARGEST}")
    return int(text)


def _producer(asked: Asked) -> Producer | None:
    if asked.headers.keys().isdisjoint(_CLAIM):
        return None
    name, epoch, seq = map(asked.header, _CLAIM)
    if not name or epoch is None or seq is None:
        raise HTTPError(
            400, "Producer-Id, Producer-Epoch and Producer-Seq belong together, and none is empty"
        )
    return Producer(name, whole_number("Producer-Epoch", epoch), whole_number("Producer-Seq", seq))


def _time(what: str, text: str) -> float:
    """An RFC 3339 date and time, as a Unix time."""
    try:
        if _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        pass
    raise HTTPError(400, f"{what} is {text!r}: it must be a time as 2026-01-31T12:00:00Z")


LARGEST: Final = 2**53 - 1
"""The largest number every client can count to."""

_LONGEST: Final = 18
"""Digits of a length; what is longer is counted as it arrives."""

_CLAIM: Final = (b"producer-id", b"producer-epoch", b"producer-seq")
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
