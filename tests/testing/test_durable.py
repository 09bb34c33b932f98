"""The check of a log's contract finds what is wrong with an engine, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from millstream.durable.engine import Awake, Decide
from millstream.durable.memory import Memory, MemoryEngine
from millstream.durable.state import Change, State, Stored
from millstream.testing import check_log, log_nodes


class Forgetful(MemoryEngine):
    """Keeps no producers."""

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        return await super().change(names, None, decide)


class Unsorted(MemoryEngine):
    """Gives records in any order."""

    async def records(self, *stretch: Any) -> Stored:
        stored = await super().records(*stretch)
        return stored._replace(records=stored.records[::-1])


class Deaf(MemoryEngine):
    """Wakes nobody."""

    async def open(self, awake: Awake, /) -> None:
        await super().open(lambda _: None)


class Hoarder(MemoryEngine):
    """Removes nothing."""

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        return await super().change(names, producer, lambda *known: replace(decide(*known), removed=()))


class Careless(MemoryEngine):
    """Stores before it asks."""

    async def look(self, name: str, /) -> State | None:
        state = await super().look(name)
        return None if state is None else state.but(tail=state.tail + 1)


class Idle(MemoryEngine):
    """Has no idea of leases."""

    async def leased(self) -> Sequence[State]:
        return ()


class Selfish(MemoryEngine):
    """Does not know of the producers that another engine has put."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._producers = Memory().producers


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("log_crowds", "log_streams"):
        monkeypatch.setattr(f"millstream.testing.{module}.PATIENCE", 0.2)


@pytest.mark.parametrize("engine", [Forgetful, Unsorted, Hoarder, Careless, Idle])
async def test_a_broken_engine_does_not_pass(
    engine: Callable[[], MemoryEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_impatient(monkeypatch)
    with pytest.raises(AssertionError):
        await check_log(engine, keeps=False, shared=False)


async def test_an_engine_that_wakes_nobody_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    be_impatient(monkeypatch)
    with pytest.raises(AssertionError, match="waiter"):
        await check_log(Deaf, keeps=False, shared=False)


async def test_an_engine_that_keeps_nothing_must_not_say_it_does() -> None:
    with pytest.raises(AssertionError, match="what was stored is there again"):
        await check_log(MemoryEngine, shared=False)


async def test_engines_that_share_nothing_must_not_say_they_do() -> None:
    with pytest.raises(AssertionError, match="another process sees every change"):
        await check_log(MemoryEngine, keeps=False)


async def test_engines_that_do_not_fence_each_others_producers_off_do_not_pass() -> None:
    memory = Memory()
    with pytest.raises(AssertionError, match="dead producer"):
        await log_nodes.a_killed_producer_is_ended_by_a_process_that_never_saw_it(lambda: Selfish(memory))
