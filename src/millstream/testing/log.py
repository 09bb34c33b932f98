"""What a server logs, kept and waited for."""

from __future__ import annotations

import re
import threading
import time

from millstream.testing.failures import ServerFailed


class Log:
    """Lines, written by one thread and read by another."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._closed = False
        self._change = threading.Condition()

    @property
    def text(self) -> str:
        """All of it until now."""
        with self._change:
            return "".join(self._lines)

    def add(self, line: str) -> None:
        """Keep a line; it brings its own line feed."""
        with self._change:
            self._lines.append(line)
            self._change.notify_all()

    def close(self) -> None:
        """No line will follow."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def wait(self, pattern: str, timeout: float, *, times: int = 1) -> None:
        """Wait until a regular expression is found so many times.

        Raises:
            ServerFailed: when the log ends without, or the time is over.
        """
        deadline = time.monotonic() + timeout
        with self._change:
            while len(re.findall(pattern, text := "".join(self._lines))) < times:
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    how = "ended and had" if self._closed else f"ran on for {timeout:g} s and has"
                    raise ServerFailed(f"the server {how} not logged {pattern!r} {times} times", log=text)
                self._change.wait(left)
