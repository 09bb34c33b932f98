"""Pace: what thousands of streams ask of the interpreter, and what it gets back when they have gone.

Two settings of CPython's are made for a few threads and a small heap. They belong to the process, whatever
the number of applications in it, and so does this room's one object, `PACE`.

The convoy
    Every thread that waits for the interpreter lock looks again once per switch interval (5 ms). When a few
    thousand sleeping streams wake, their looking fills a core, and no one gets on. So the interval is
    stretched with the number of threads that work: nobody loses by it, because a thread that sends gives
    the lock up of its own accord long before.

The collector
    It looks at what is new whenever 700 objects more than before are alive, at the same things again some
    thousands later, and through everything that lives whenever a quarter more has come: all the time, while
    clients arrive. It finds next to nothing, because a stream's objects go with their stream, and without
    its help; but it takes a fifth of what opening ten thousand streams costs, and a walk through all of
    them is a pause of a quarter of a second. So the more streams there are, the more has to be new before
    it looks, and the rarer it walks through everything. And what came with a rush of streams counts as old
    at once, without a look: it is looked at with everything else.

What an author set beforehand is where both start from, and what they come back to.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
import time
from typing import Final

BREATH: Final = 1e-6
"""Seconds, of which the system makes some 60 µs, for whichever thread waits for the interpreter lock.

Who gives the lock up for less time than a thread takes to wake, but more often than the switch interval,
keeps it from all others: a waiting thread neither catches it nor asks for it, and stands still for seconds.
"""

SECONDS_PER_THREAD: Final = 100e-6
"""Of the switch interval, for each thread at work."""

YOUNG_PER_STREAM: Final = 4
"""Objects, for each stream, that have to be new before the collector looks at them.

All that a stream takes is some 150 objects; a look at 40,000 of them is a pause of two milliseconds.
"""

ROUNDS: Final = 50
"""Second looks before a full collection: by then 400 objects a stream have come to live."""

STEP: Final = 32
"""Streams that have to come or go for the collector to be told."""

RUSH: Final = 1.0
"""Seconds in which so many have come when it is a rush. What an author drops meanwhile in a cycle is found
by a full collection only, and so this must not go on for long."""


class Pace:
    """Counts what is alive in this process, and sets the interpreter accordingly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.busy = 0  # threads
        self._streams = 0
        self._interval = 0.0  # what they were before, as the author has them
        self._thresholds = self._ours = gc.get_threshold()
        self._most = 0  # streams there have been, since there were half as many
        self._most_since = -math.inf

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
            self._streams += change
            if self._streams % STEP:
                return
            self._tell_collector()

    def _tell_collector(self) -> None:
        if (now := gc.get_threshold()) != self._ours:  # the author's, by now
            self._thresholds = now
        gc.set_threshold(*self._for_crowd(self._streams * YOUNG_PER_STREAM))
        self._ours = gc.get_threshold()
        if self._is_rush() and self._ours != self._thresholds and not gc.get_freeze_count():
            gc.freeze()  # which spares it all generations
            gc.unfreeze()  # and adds it to the oldest

    def _is_rush(self) -> bool:
        if self._streams <= self._most:
            if self._streams <= self._most // 2:
                self._most = self._streams
            return False
        now = time.monotonic()
        since, self._most, self._most_since = self._most_since, self._streams, now
        return now - since < RUSH

    def _for_crowd(self, new: int) -> tuple[int, int, int]:
        young, middle, old = self._thresholds
        if not young or new <= young:  # 0 is a collector that is switched off
            return self._thresholds
        return new, max(1, middle * young // new), max(old, ROUNDS)


PACE: Final = Pace()
