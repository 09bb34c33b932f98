"""Header fields: the names and values that an author may set (RFC 9110 §5).

A server refuses a head that it cannot write, and by then the transaction may have been committed. So a field
is checked where the author sets it, and once more where a head is made: `raw_headers` is a list that anybody
can append to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final


def checked_field(name: object, value: object) -> tuple[str, str]:
    """A field as it can be sent; blanks around its value are no part of it (RFC 9110 §5.5).

    Args:
        name: a token (RFC 9110 §5.1).
        value: text in Latin-1, without control characters.

    Raises:
        TypeError: when the name or the value is no text.
        ValueError: when the field cannot be sent, or when only the server may decide about it.
    """
    if not isinstance(name, str):
        raise TypeError(f"a header was given the name {name!r}: write it as text")
    if not isinstance(value, str):
        raise TypeError(f"the header {name!r} was given {value!r}: write its value as text")
    value = value.strip(" \t")
    _require(name, value)
    return name, value


def require_sendable(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Check a whole head's fields as ASGI has them.

    Raises:
        ValueError: when a field cannot be sent, or `Content-Length` is said twice.
    """
    lengths = 0
    for name, value in fields:
        _require(name.decode("latin-1"), value.decode("latin-1"))
        lengths += name.lower() == b"content-length"
    if lengths > 1:
        raise ValueError("the header 'content-length' was set twice: a body has one length")


def without_servers(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A head that others have made, without the fields that only the server decides about."""
    return [(name, value) for name, value in fields if not _is_servers(name.lower(), value)]


def _is_servers(name: bytes, value: bytes) -> bool:
    return name.decode("latin-1") in _SERVERS or (name == b"connection" and value.lower() != b"close")


def _require(name: str, value: str) -> None:
    if not _TOKEN(name):
        raise ValueError(
            f"{name!r} is no name of a header: a name has letters, digits and some signs, no line break, "
            "blank or colon (RFC 9110 §5.1)"
        )
    if (found := _UNSENDABLE(value)) is not None:
        raise ValueError(
            f"the header {name!r} cannot be sent with the character {found[0]!r} in it: a value has no line "
            "break or NUL, no other control character, and no character beyond Latin-1 (RFC 9110 §5.5)"
        )
    known = name.lower()
    if known in _SERVERS:
        raise ValueError(f"the header {name!r} cannot be set by an action: the server decides about it")
    if known == "connection" and value.lower() != "close":
        raise ValueError(f"the header {name!r} was given {value!r}: an action may only ask for 'close'")
    if known == "content-length" and not _DIGITS(value):
        raise ValueError(f"the header {name!r} was given {value!r}: it must be a number of bytes")


_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 §5.6.2
_UNSENDABLE: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]").search
_DIGITS: Final = re.compile(r"[0-9]{1,18}").fullmatch  # clients take a longer number for no length at all
_SERVERS: Final = frozenset(
    {"keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What frames a body or belongs to one connection (RFC 9110 §7.6.1, RFC 9112 §6.1)."""
