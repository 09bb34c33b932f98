"""The reading half of a raw connection: blocking, buffered, and never ahead of what is asked for."""

from __future__ import annotations

import socket
import time
from typing import Final

from millstream.testing.failures import BodyTruncated, TimedOut


class Inlet:
    """Bytes from a socket, by end mark or by number.

    `raw` is everything that was received; `at` the `time.monotonic()` at which the last of it was.
    Each method raises `TimedOut` when the bytes do not come in time, and `BodyTruncated` when the
    connection ends before them; both say what was read, in the words given as `what`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.raw = bytearray()
        self.at = 0.0
        self._socket = connection
        self._buffer = bytearray()

    def until(self, mark: bytes, where: str, what: str, timeout: float) -> bytes:
        """Everything up to the mark, without it."""
        wanted = _Wanted(where, what, timeout)
        while (size := self._buffer.find(mark)) < 0:
            self._need(wanted)
        return self._cut(size + len(mark))[:size]

    def exactly(self, size: int, where: str, what: str, timeout: float) -> bytes:
        """So many bytes."""
        wanted = _Wanted(where, what, timeout)
        while len(self._buffer) < size:
            self._need(wanted)
        return self._cut(size)

    def some(self, most: int | None, where: str, what: str, timeout: float) -> bytes:
        """What is there or comes next, no more than so many bytes; empty at the connection's end."""
        if not self._buffer:
            self._fill(_Wanted(where, what, timeout))
        return self._cut(len(self._buffer) if most is None else most)

    def _need(self, wanted: _Wanted) -> None:
        if not self._fill(wanted):
            raise wanted.truncated("the connection ended", self._buffer)

    def _fill(self, wanted: _Wanted) -> bool:
        """Read once; False is the connection's end."""
        try:
            self._socket.settimeout(max(_LEAST_WAIT, wanted.deadline - time.monotonic()))
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError:
            raise wanted.timed_out(len(self.raw), self.at) from None
        except ConnectionError as error:
            raise wanted.truncated(str(error.strerror), self._buffer) from error
        self.at = time.monotonic()
        self._buffer += data
        self.raw += data
        return bool(data)

    def _cut(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


class _Wanted:
    """What is read, until when, and what to say if it does not come."""

    __slots__ = ("deadline", "seconds", "what", "where")

    def __init__(self, where: str, what: str, seconds: float) -> None:
        self.where = where
        self.what = what
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds

    def truncated(self, how: str, received: bytearray) -> BodyTruncated:
        return BodyTruncated(self.where, f"{how} before {self.what}", received=bytes(received))

    def timed_out(self, size: int, at: float) -> TimedOut:
        meanwhile = f"the last of {size} bytes came {time.monotonic() - at:.3f} s ago" if size else ""
        return TimedOut(self.where, what=self.what, seconds=self.seconds, meanwhile=meanwhile)


_READ_SIZE: Final = 64 * 1024
_LEAST_WAIT: Final = 0.001  # 0 would mean: do not wait at all, and raise another error
