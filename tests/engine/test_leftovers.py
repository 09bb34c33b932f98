from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from tests.engine.conftest import instantly

from millstream.config import Settings
from millstream.engine import leftovers
from millstream.engine.ledger import Ledger
from millstream.engine.leftovers import CROWD, MOMENT, give_back_soon, is_gone
from millstream.engine.stream import Stream


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was asked of the C library."""
    asked: list[int] = []
    monkeypatch.setattr(leftovers, "_trim", asked.append)
    return asked


@pytest.fixture
def frozen() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def test_a_few_are_no_crowd_and_one_of_which_some_are_left_has_not_gone() -> None:
    assert not is_gone(CROWD - 1, 0)
    assert is_gone(CROWD, 0)
    assert is_gone(CROWD * 16, CROWD)
    assert not is_gone(CROWD * 16, CROWD + 1)


@instantly
async def test_memory_is_given_back_once_the_last_connections_have_gone() -> None:
    loop, asked = asyncio.get_running_loop(), list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leftovers, "_trim", asked.append)
        give_back_soon(loop)
        await asyncio.sleep(MOMENT - 0.1)
        assert asked == []
        await asyncio.sleep(0.2)
        assert asked == [0]


def test_the_collector_looks_at_nothing_for_that(given_back: list[int]) -> None:
    looked: list[dict[str, int]] = []
    circle: list[object] = []
    circle.append(circle)
    del circle
    watch = lambda phase, info: looked.append(dict(info)) if phase == "stop" else None  # noqa: E731
    gc.callbacks.append(watch)
    try:
        leftovers._give_back()
    finally:
        gc.callbacks.remove(watch)
    assert [(info["generation"], info["collected"]) for info in looked] == [(2, 0)]
    assert gc.get_freeze_count() == 0
    assert given_back == [0]


@pytest.mark.usefixtures("frozen")
def test_what_an_author_has_frozen_stays_so(given_back: list[int]) -> None:
    before = gc.get_freeze_count()
    leftovers._give_back()
    assert gc.get_freeze_count() == before
    assert given_back == [0]


async def test_a_ledger_gives_back_once_for_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr("millstream.engine.ledger.give_back_soon", asked.append)
    ledger = Ledger(Settings())
    for crowd, times in ((CROWD - 1, 0), (CROWD, 1), (CROWD, 2)):
        streams = [Stream() for _ in range(crowd)]
        for stream in streams:
            ledger.enter(stream)
        for stream in streams:
            ledger.leave(stream)
        assert asked == [asyncio.get_running_loop()] * times
