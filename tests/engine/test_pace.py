from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator

import pytest

from millstream.engine.pace import ROUNDS, RUSH, SECONDS_PER_THREAD, STEP, YOUNG_PER_STREAM, Pace


@pytest.fixture
def pace() -> Iterator[Pace]:
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield Pace()
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


def test_the_switch_interval_grows_with_the_threads_at_work_and_comes_back(pace: Pace) -> None:
    usual = sys.getswitchinterval()
    pace.threads(+800)
    assert sys.getswitchinterval() == pytest.approx(800 * SECONDS_PER_THREAD)
    pace.threads(-799)
    assert sys.getswitchinterval() == pytest.approx(usual)
    pace.threads(-1)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_a_longer_interval_of_the_authors_is_kept(pace: Pace) -> None:
    sys.setswitchinterval(1.0)
    pace.threads(+800)
    assert sys.getswitchinterval() == pytest.approx(1.0)
    pace.threads(-800)
    assert sys.getswitchinterval() == pytest.approx(1.0)


def test_the_collector_looks_the_rarer_the_more_streams_there_are(pace: Pace) -> None:
    usual = gc.get_threshold()
    for _ in range(100 * STEP):
        pace.streams(+1)
    young, middle, old = gc.get_threshold()
    assert young == 100 * STEP * YOUNG_PER_STREAM
    assert (middle, old) == (1, ROUNDS)
    for _ in range(100 * STEP):
        pace.streams(-1)
    assert gc.get_threshold() == usual


def test_what_was_looked_at_once_is_looked_at_again_after_no_more_than_before(pace: Pace) -> None:
    gc.set_threshold(700, 10, 10)
    pace.streams(STEP * 10)
    young, middle, _ = gc.get_threshold()
    assert young > 700
    assert young * middle <= 7000


class Promoted:
    """What the collector looked at: what is old by then was not among it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        monkeypatch.setattr(gc, "freeze", self.count)
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def count(self) -> None:
        self.times += 1


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> Promoted:
    return Promoted(monkeypatch)


def come(pace: Pace, steps: int) -> None:
    for _ in range(steps * STEP):
        pace.streams(+1)


def go(pace: Pace, steps: int) -> None:
    for _ in range(steps * STEP):
        pace.streams(-1)


def test_what_comes_with_a_rush_is_old_at_once(pace: Pace, promoted: Promoted) -> None:
    come(pace, 100)
    before = promoted.times
    come(pace, 10)
    assert promoted.times == before + 10


def test_who_comes_slowly_is_no_rush(pace: Pace, promoted: Promoted) -> None:
    come(pace, 100)
    before = promoted.times
    for _ in range(10):
        promoted.now += RUSH + 0.1
        come(pace, 1)
    assert promoted.times == before


def test_coming_and_going_is_no_rush(pace: Pace, promoted: Promoted) -> None:
    come(pace, 100)
    before = promoted.times
    for _ in range(10):
        go(pace, 20)
        come(pace, 20)
    assert promoted.times == before


def test_the_next_crowd_is_a_rush_again(pace: Pace, promoted: Promoted) -> None:
    come(pace, 100)
    go(pace, 100)
    before = promoted.times
    come(pace, 100)
    assert promoted.times > before + 50


def test_nothing_stays_frozen_and_what_an_author_has_frozen_does(pace: Pace) -> None:
    come(pace, 100)
    assert gc.get_freeze_count() == 0
    gc.freeze()
    frozen = gc.get_freeze_count()
    come(pace, 100)
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)  # some of it has gone
    gc.unfreeze()


def test_few_streams_change_nothing(pace: Pace) -> None:
    usual = gc.get_threshold()
    for _ in range(STEP):
        pace.streams(+1)
    assert gc.get_threshold() == usual


def test_what_an_author_says_meanwhile_stands(pace: Pace) -> None:
    pace.streams(STEP * 100)
    gc.set_threshold(50_000, 20, 5)
    pace.streams(-STEP * 50)
    assert gc.get_threshold() == (50_000, 20, 5)
    pace.streams(-STEP * 50)
    assert gc.get_threshold() == (50_000, 20, 5)


def test_a_collector_that_is_switched_off_stays_so(pace: Pace) -> None:
    gc.set_threshold(0, 10, 10)
    pace.streams(STEP * 100)
    assert gc.get_threshold()[0] == 0
