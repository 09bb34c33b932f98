"""JSON mode: a body becomes messages, and messages become a body. Pure.

What is posted is one message, or, as an array, several; one level of it is taken apart and no more.
What is read is always an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from millstream.errors import HTTPError


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body, byte for byte as they stand in it.

    Raises:
        HTTPError: 400, when it is no JSON.
    """
    try:
        parsed = _ANY.decode(body)  # a Raw alone is not looked into
        raw = _ARRAY.decode(body) if isinstance(parsed, list) else [body.strip(_BLANK)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPError(400, f"the body is not JSON: {error}") from None
    return [bytes(message) for message in raw]


def body_of(messages: Sequence[bytes]) -> bytes:
    """One array of all messages."""
    return b"[%b]" % b",".join(messages)


_ANY: Final = msgspec.json.Decoder()
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BLANK: Final = b" \t\r\n"
