"""Which bytes of a download a client wants (RFC 9110 §14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from millstream.errors import HTTPError


@dataclass(frozen=True, slots=True)
class Wanted:
    """Some bytes of a whole: from the first up to, and without, the last."""

    first: int
    upto: int


def wanted(header: str, length: int) -> Wanted | None:
    """The range a header asks for; None, if it asks for none, several, or nothing we know.

    Raises:
        HTTPError: 416, when the whole has none of it.
    """
    shape = _SINGLE.fullmatch(header)
    if shape is None or shape[1] == shape[2] == "":
        return None
    if shape[1] == "":
        found = Wanted(max(0, length - int(shape[2])), length)
    else:
        last = int(shape[2]) + 1 if shape[2] else length
        if shape[2] and last <= int(shape[1]):
            return None
        found = Wanted(int(shape[1]), min(last, length))
    if found.first >= found.upto:
        raise HTTPError(416, "the stream has no such bytes", headers={"Content-Range": f"bytes */{length}"})
    return found


_SINGLE: Final = re.compile(r"bytes=\s*([0-9]{0,16})-([0-9]{0,16})\s*")
