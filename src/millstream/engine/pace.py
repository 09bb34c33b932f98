"""Pace: what thousands of streams ask of the interpreter, and what it gets back when they have gone.

Two settings of CPython's are made for a few threads and a small heap. Both belong to the process, whatever
the number of applications in it, and so does this room's one object, `PACE`.

The convoy
    Every thread that waits for the interpreter lock looks again once per switch interval (5 ms). When a few
    thousand sleeping streams wake, their looking fills a core, and no one gets on. So the interval is
    stretched with the number of threads that work: nobody loses by it, because a thread that sends gives
    the lock up of its own accord long before.

The collector
    It walks through everything alive whenever a quarter more has come to live, which is all the time while
    clients arrive, and finds nothing, because a stream's objects go with their stream, and without its
    help. With ten thousand streams one such walk is a pause of a quarter of a second. So the walks through
    the old generation are made rarer with the number of streams; the young ones are looked at as ever.

What an author set beforehand is where both start from, and what they come back to.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Final

SECONDS_PER_THREAD: Final = 50e-6
"""Of the switch interval, for each thread at work."""

STREAMS_PER_ROUND: Final = 32
"""A full collection waits for one more round of the young generations for so many streams.

A round is some 7,700 new objects, a stream some 80: what a crowd of clients brings along is no reason.
"""


class Pace:
    """Counts what is alive in this process, and sets the interpreter accordingly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.busy = 0  # threads
        self._streams = 0
        self._interval = 0.0  # what they were before
        self._rounds = 0

    def threads(self, change: int) -> None:
        """So many threads more are at work."""
        with self._lock:
            if not self.busy:
                self._interval = sys.getswitchinterval()
            self.busy += change
            sys.setswitchinterval(max(self._interval, self.busy * SECONDS_PER_THREAD))

    def streams(self, change: int) -> None:
        """So many streams more are open."""
        with self._lock:
            if not self._streams:
                self._rounds = gc.get_threshold()[2]
            self._streams += change
            if self._streams % STREAMS_PER_ROUND == 0:
                young, middle, _ = gc.get_threshold()
                gc.set_threshold(young, middle, max(self._rounds, self._streams // STREAMS_PER_ROUND))


PACE: Final = Pace()
