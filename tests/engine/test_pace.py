from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from millstream.engine.pace import SECONDS_PER_THREAD, STREAMS_PER_ROUND, Pace


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


def test_full_collections_are_rarer_with_many_streams_and_the_young_ones_as_often_as_ever(pace: Pace) -> None:
    usual = gc.get_threshold()
    for _ in range(100 * STREAMS_PER_ROUND):
        pace.streams(+1)
    assert gc.get_threshold() == (usual[0], usual[1], 100)
    for _ in range(100 * STREAMS_PER_ROUND):
        pace.streams(-1)
    assert gc.get_threshold() == usual


def test_few_streams_change_nothing(pace: Pace) -> None:
    usual = gc.get_threshold()
    for _ in range(STREAMS_PER_ROUND):
        pace.streams(+1)
    assert gc.get_threshold() == usual


def test_what_an_author_says_of_the_young_generations_meanwhile_stands(pace: Pace) -> None:
    usual = gc.get_threshold()
    pace.streams(+STREAMS_PER_ROUND * 100)
    gc.set_threshold(5000, 20, gc.get_threshold()[2])
    pace.streams(-STREAMS_PER_ROUND * 100)
    assert gc.get_threshold() == (5000, 20, usual[2])
