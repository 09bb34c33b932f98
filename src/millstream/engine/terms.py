"""Terms: what an action's settings come to for each of its streams, worked out once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from millstream.config import Settings, linger

RATE_GRACE: Final = 5.0
"""Seconds a reader always has before `min_rate` is asked of it."""

MOST_UNSEEN: Final = 15.0
"""Seconds until it is seen that a client has left of which the server does not tell."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a stream is delivered. Times are seconds, and infinite where there is no limit."""

    high_water: int  # bytes
    byte_time: float  # that a byte of a write may take; 0 where there is no least rate
    keep_alive: float
    first_item_timeout: float
    lifetime: float
    idle_timeout: float
    stall_timeout: float
    look_every: float  # a write may begin right after a look, so four times as often as one could be too slow
    first_look: float  # after the beginning
    close_timeout: float
    linger: float  # for which a producer runs on when its client has left
    detached_lifetime: float


def terms_of(settings: Settings) -> Terms:
    """The terms that settings mean."""
    stall_timeout = settings.stall_timeout or math.inf
    rate_timeout = RATE_GRACE + settings.high_water / settings.min_rate if settings.min_rate else math.inf
    look_every = min(stall_timeout / 4, rate_timeout / 4, MOST_UNSEEN)
    lifetime, idle_timeout = settings.lifetime or math.inf, settings.idle_timeout or math.inf
    keep_alive = settings.keep_alive or math.inf
    return Terms(
        high_water=settings.high_water,
        byte_time=1 / settings.min_rate if settings.min_rate else 0.0,
        keep_alive=keep_alive,
        first_item_timeout=settings.first_item_timeout,
        lifetime=lifetime,
        idle_timeout=idle_timeout,
        stall_timeout=stall_timeout,
        look_every=look_every,
        first_look=min(settings.first_item_timeout, keep_alive, lifetime, idle_timeout, look_every),
        close_timeout=settings.close_timeout,
        linger=linger(settings.on_disconnect),
        detached_lifetime=settings.detached_lifetime or math.inf,
    )
