from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from millstream.engine.pace import ROUNDS, SECONDS_PER_THREAD, STEP, YOUNG_PER_STREAM, Pace


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
