"""Framing: what is still to be done with the rows that PostgreSQL has copied, a block at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

Frame = Callable[[int, bytearray], Any]
"""Makes of the rows of a block, given their number, what the codec takes."""


def csv_lines(rows: int, block: bytearray) -> bytes:
    """Lines end with CR LF; a line feed inside of quotes is the author's."""
    data = bytes(block)
    lines = data.replace(b"\n", b"\r\n")
    if len(lines) - len(data) == rows:
        return lines
    pieces = data.split(b'"')  # a quote inside of quotes is doubled: every other piece is outside
    pieces[::2] = [piece.replace(b"\n", b"\r\n") for piece in pieces[::2]]
    return b'"'.join(pieces)


def json_objects(names: Sequence[str], quoted: Sequence[bool], end: bytes) -> Frame:
    r"""Objects of cells in COPY's text format, whose escapes are those of JSON but for a few.

    A quote is not escaped there, NULL is `\N`, the vertical tab `\v`, and other control characters come as
    they are. Line feed, tab, backslash and the rest are the same.

    Args:
        names: the keys.
        quoted: which cells are text.
        end: what follows each object.
    """
    members = [
        msgspec.json.encode(name).replace(b"%", b"%%") + (b':"%b"' if is_text else b":%b")
        for name, is_text in zip(names, quoted, strict=True)
    ]
    form = b"{" + b",".join(members) + b"}" + end

    def objects(rows: int, block: bytearray) -> bytes:
        data = bytes(block)
        if len(data.translate(None, _CONTROLS)) < len(data):
            data = _CONTROL.sub(_escape, data)
        if b'"' in data:
            data = data.replace(b'"', b'\\"')
        has_escapes = b"\\" in data
        if has_escapes and b"\\v" in data:
            data = _ESCAPE.sub(_unless_vertical_tab, data)
        cells = data.replace(b"\n", b"\t").split(b"\t")
        del cells[-1]
        data = form * rows % tuple(cells)
        # Every backslash in a text or a key escapes or is escaped, so that these two are found in none.
        return data.replace(b'"\\N"', b"null").replace(b":\\N", b":null") if has_escapes else data

    return objects


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0])


def _unless_vertical_tab(found: re.Match[bytes]) -> bytes:
    return b"\\u000b" if found[0] == b"\\v" else found[0]


_CONTROLS: Final = bytes([*range(0x01, 0x08), *range(0x0E, 0x20)])
_CONTROL: Final = re.compile(b"[" + re.escape(_CONTROLS) + b"]")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
