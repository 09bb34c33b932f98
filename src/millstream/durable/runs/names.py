"""What a run is called: in its URL, on its events, and in its entity tag. Pure, but for chance.

An id is a tag, which tells whose run it is, and 128 bits nobody guesses: random ones, or those of a key under
a secret that all processes share. So knowing an id is a permission, and another action's ids are none.

In the log, a run's stream and all else that an application keeps for itself have names that begin with a dot.
The endpoint serves no such name, so that its streams and the runs cannot meet, whatever a client writes.

An event's id names the run and the place after the event, because `EventSource` gives back nothing else; an
entity tag names the run and its producer's token, because that is all a browser's resumed download has.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which run."""

    run: str
    offset: str


def tag_of(*owner: str) -> str:
    """The tag of an action's runs in one format; the same in every process."""
    return _text(blake2b(_one(owner), digest_size=6).digest())


def tag_in(run: str) -> str:
    """The tag of an id; of anything else, the empty one."""
    return run[:_TAG] if _RUN.fullmatch(run) else ""


def fresh(tag: str) -> str:
    """The id of a run that is like no other."""
    return tag + secrets.token_urlsafe(16)


def keyed(secret: bytes, tag: str, key: Sequence[str]) -> str:
    """The id of the run that a key names."""
    return tag + _text(blake2b(_one([tag, *key]), key=secret, digest_size=16).digest())


def stream_of(run: str) -> str:
    """The name of a run's stream in the log."""
    return f"{_STREAM}{run}"


def request_of(run: str, incarnation: str) -> str:
    """The name of the stream that keeps the request of a run; a run that is begun anew has another one."""
    return f"{INTERNAL}request.{run}.{incarnation}"


def run_in(name: str) -> str:
    """The id of the run whose stream has this name."""
    return name.removeprefix(_STREAM)


def is_internal(name: str) -> bool:
    """Whether a stream of this name belongs to an application, and is served to nobody by its name."""
    return name.startswith(INTERNAL)


def event_id(run: str, offset: str) -> bytes:
    """What an event is called."""
    return f"{run}:{offset}".encode()


def place_of(event: str) -> Place | None:
    """The place that an event's id names; None when it is no id of ours."""
    run, colon, offset = event.partition(":")
    return Place(run, offset) if colon and tag_in(run) else None


def etag_of(run: str, token: str) -> str:
    """A strong one: what one producer writes never changes by its place (RFC 9110 §8.8.1)."""
    return f'"{run}.{token}"'


def run_of_etag(etag: str) -> str:
    """The run that an entity tag names; empty when it is none of ours."""
    run = etag.strip().removeprefix("W/").strip('"').partition(".")[0]
    return run if tag_in(run) else ""


def token_of_etag(etag: str) -> str:
    """The token in an entity tag; empty when it is no strong one (RFC 9110 §13.1.5)."""
    shape = _ETAG.fullmatch(etag.strip())
    return shape[1] if shape else ""


def _one(texts: Sequence[str]) -> bytes:
    """Several texts as one that no others make: half a surrogate pair can come out of a URL."""
    return msgspec.msgpack.encode([text.encode("utf-8", "surrogatepass") for text in texts])


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).decode().rstrip("=")


INTERNAL: Final = "."
SECRET: Final = f"{INTERNAL}secret"
"""The name of the stream that keeps the secret under which keys become ids."""

_STREAM: Final = f"{INTERNAL}run."
_ETAG: Final = re.compile(r'"[^".]*\.([^".]*)"')
_TAG: Final = 8  # characters: six bytes
_RUN: Final = re.compile(r"[A-Za-z0-9_-]{30}")  # and 22 characters: sixteen bytes
