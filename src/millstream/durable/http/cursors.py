"""Cursors: what keeps a cache between us and a follower from answering the same question twice.

A cursor is the number of the interval of twenty seconds that has begun. Who brings the current one, or a
later one, gets one that is later still, by a random while: so no two questions of a follower look alike.
"""

from __future__ import annotations

import random
from typing import Final

INTERVAL: Final = 20
"""Seconds."""

EPOCH: Final = 1_728_432_000
"""2024-10-09T00:00:00Z, as the protocol has it."""

JITTER: Final = 3600
"""Seconds by which a cursor that was met again may move on, at most."""


def interval_at(now: float) -> int:
    """The cursor that belongs to a time."""
    return int((now - EPOCH) // INTERVAL)


def cursor_after(brought: str | None, now: float) -> int:
    """The cursor for somebody who brought one; anything that is no number counts as none."""
    current = interval_at(now)
    if brought is None or not brought.isascii() or not brought.isdigit() or len(brought) > _LONGEST:
        return current
    if int(brought) < current:
        return current
    jitter = random.randint(1, JITTER)  # noqa: S311  nothing is secret about it
    return int(brought) + max(1, jitter // INTERVAL)


_LONGEST: Final = 15  # digits; what is longer is none of ours
