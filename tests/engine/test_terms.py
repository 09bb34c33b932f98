from __future__ import annotations

import math

import pytest

from millstream.config import Settings
from millstream.engine.terms import MOST_UNSEEN, RATE_GRACE, terms_of


def test_what_is_no_limit_is_never_due() -> None:
    terms = terms_of(
        Settings(
            keep_alive=None, lifetime=None, idle_timeout=None, stall_timeout=None, detached_lifetime=None
        )
    )
    limits = (
        terms.keep_alive,
        terms.lifetime,
        terms.idle_timeout,
        terms.stall_timeout,
        terms.detached_lifetime,
    )
    assert set(limits) == {math.inf}


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        (Settings(stall_timeout=8.0), 2.0),
        (Settings(stall_timeout=None, min_rate=1000, high_water=3000), (RATE_GRACE + 3) / 4),
        (Settings(stall_timeout=None, min_rate=None), MOST_UNSEEN),
    ],
    ids=["stall", "rate", "unseen"],
)
def test_a_write_is_looked_at_four_times_in_the_time_it_has(settings: Settings, most: float) -> None:
    assert terms_of(settings).look_every == most


@pytest.mark.parametrize(
    "settings",
    [
        Settings(first_item_timeout=0.5),
        Settings(keep_alive=0.5),
        Settings(lifetime=0.5),
        Settings(idle_timeout=0.5),
        Settings(stall_timeout=2.0),
    ],
    ids=["head", "silence", "life", "idle", "stall"],
)
def test_the_first_look_is_not_later_than_the_first_limit(settings: Settings) -> None:
    assert terms_of(settings).first_look == 0.5


@pytest.mark.parametrize(
    ("policy", "seconds"), [("cancel", 0.0), ("detach", math.inf), ("grace(2.5)", 2.5)], ids=str
)
def test_a_policy_is_so_many_seconds(policy: str, seconds: float) -> None:
    assert terms_of(Settings(on_disconnect=policy)).linger == seconds
