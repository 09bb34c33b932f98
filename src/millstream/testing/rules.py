"""What an application may send for one HTTP response: the ASGI specification's rules and HTTP's, checked.

A real server forgives some of this, breaks off silently on other, and passes the rest on to a client
that chokes. Here each is one sentence. No I/O: messages in, facts out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from http import HTTPMethod, HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers

from millstream.testing.failures import ProtocolViolation

BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Statuses whose responses have no body (RFC 9110 §15.3.5, §15.4.5)."""


@dataclass(frozen=True, slots=True)
class Start:
    """A response's head."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a response's body."""

    data: bytes
    last: bool


@unique
class Stage(Enum):
    """What a response has behind it."""

    NOTHING = "before the head"
    HEAD = "after the head"
    END = "after the end of the body"


class ResponseRules:
    """One response's messages, in order.

    Args:
        where: the request, as `GET /feed`; begins every complaint.
        method: of the request; a response to HEAD has no body whatever is sent.
    """

    def __init__(self, where: str, method: str) -> None:
        self._where = where
        self._method = method
        self._stage = Stage.NOTHING
        self._start = Start(0, Headers())
        self._missing: int | None = None

    def take(self, message: Mapping[str, Any]) -> Start | Piece:
        """Check one message and say what it means.

        Raises:
            ProtocolViolation: when it is not allowed.
        """
        kind = message.get("type")
        step = _STEPS.get((self._stage, str(kind)))
        if step is None:
            raise self._violation(f"the application sent {kind!r} {self._stage.value}")
        return step(self, message)

    def _take_start(self, message: Mapping[str, Any]) -> Start:
        status = message.get("status")
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:  # noqa: PLR2004  RFC 9110 §15
            raise self._violation(f"the status {status!r} is no whole number from 200 to 599")
        pairs = [self._checked(pair) for pair in message.get("headers", ())]
        self._start = Start(int(status), Headers(raw=pairs))
        self._missing = self._declared_length(pairs)
        self._stage = Stage.HEAD
        return self._start

    def _checked(self, pair: Iterable[Any]) -> tuple[bytes, bytes]:
        header = tuple(pair)
        match header:
            case (bytes() as name, bytes() as value):
                pass
            case _:
                raise self._violation(f"the header {header!r} is no pair of bytes")
        if not _NAME.fullmatch(name):
            raise self._violation(f"the header name {name!r} is no lower-case token (RFC 9110 §5.1)")
        if _FORGED.search(value):
            raise self._violation(
                f"the value {value!r} of the header {name!r} has a line break or a NUL in it"
            )
        return name, value

    def _declared_length(self, pairs: list[tuple[bytes, bytes]]) -> int | None:
        lengths = [value for name, value in pairs if name == b"content-length"]
        if not lengths or self._method == HTTPMethod.HEAD or self._start.status in BODILESS:
            return None
        if len(lengths) > 1 or not lengths[0].isdigit():
            raise self._violation(f"the content-length {b', '.join(lengths)!r} is no single whole number")
        return int(lengths[0])

    def _take_body(self, message: Mapping[str, Any]) -> Piece:
        data, more = message.get("body", b""), message.get("more_body", False)
        if not isinstance(data, bytes):
            raise self._violation(f"a piece of the body is {type(data).__name__}, it must be bytes")
        if not isinstance(more, bool):
            raise self._violation(f"more_body is {more!r}, it must be True or False")
        if self._method == HTTPMethod.HEAD:
            data = b""  # dropped by every server: an application may leave the difference to it
        if data:
            self._check_body_allowed()
        self._count(len(data), last=not more)
        if not more:
            self._stage = Stage.END
        return Piece(data, not more)

    def _check_body_allowed(self) -> None:
        if self._start.status in BODILESS:
            raise self._violation(f"a {self._start.status} has no body")
        if "content-type" not in self._start.headers:
            raise self._violation("the response has a body, but no content-type (RFC 9110 §8.3)")

    def _count(self, size: int, *, last: bool) -> None:
        if self._missing is None:
            return
        self._missing -= size
        if self._missing < 0:
            raise self._violation(
                f"the body is at least {-self._missing} bytes longer than its content-length"
            )
        if last and self._missing:
            raise self._violation(f"the body is {self._missing} bytes shorter than its content-length")

    def _violation(self, rule: str) -> ProtocolViolation:
        return ProtocolViolation(self._where, rule)


_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FORGED: Final = re.compile(rb"[\r\n\0]")
_STEPS: Final[dict[tuple[Stage, str], Callable[[ResponseRules, Mapping[str, Any]], Start | Piece]]] = {
    (Stage.NOTHING, "http.response.start"): ResponseRules._take_start,  # noqa: SLF001  the table is the class's own
    (Stage.HEAD, "http.response.body"): ResponseRules._take_body,  # noqa: SLF001  as above
}
