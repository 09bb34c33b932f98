"""Stored bytes as a codec: they are the body already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millstream.codecs.base import Codec
from millstream.protocol.events import Reason


class Stored:
    """An encoder that encodes nothing; the port `Encoder`.

    Args:
        codec: of an event stream, whose signs of life and last words may stand between; None for any other
            format, in which they would be taken for its content by a client that counts bytes.
        head_first: whether the head need not wait for the first byte.
    """

    failure_ends = False  # what keeps this reader from reading on is no end of the run

    def __init__(self, codec: Codec | None, *, head_first: bool) -> None:
        self._codec = codec
        self.head_first = head_first
        self._sign = b"" if codec is None else codec.keep_alive
        self.keep_alive = self._sign

    def head(self) -> bytes:
        """It is stored."""
        return b""

    def item(self, item: Any, /) -> bytes:
        """Some stored bytes."""
        data: bytes = item
        self.keep_alive = self._sign if data.endswith(b"\n") else b""  # a long event comes in several pieces
        return data

    def tail(self) -> bytes:
        """It is stored."""
        return b""

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """What kept this reader from reading on."""
        return b"" if self._codec is None else self._codec.failed(problem)

    def goodbye(self, reason: Reason, /) -> bytes:
        """Why this reader has to go, and when it may come back."""
        return b"" if self._codec is None else self._codec.goodbye(reason)
