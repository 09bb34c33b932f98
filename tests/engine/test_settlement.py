from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from tests.engine.conftest import AsyncUnit, Unit

from millstream.engine import settlement
from millstream.protocol.ports import UnitOfWork

NAMES = "abc"


async def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def three(log: list[str], fails: dict[str, str], *, error: BaseException | None = None) -> list[UnitOfWork]:
    """Units a, b and c; each fails at the step that is named, if one is; b is asynchronous."""
    kinds = {"a": Unit, "b": AsyncUnit, "c": Unit}
    return [kinds[name](name, log, fails.get(name, ""), error=error) for name in NAMES]


def steps(step: str, names: str = NAMES) -> list[str]:
    return [f"{name}.{step}" for name in names]


async def test_all_prepare_before_any_commits() -> None:
    log: list[str] = []
    await settlement.commit(three(log, {}), call)
    assert log == steps("prepare") + steps("commit")


@pytest.mark.parametrize("name", NAMES)
async def test_one_that_does_not_prepare_aborts_all_and_commits_none(name: str) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match=f"{name} fails"):
        await settlement.commit(three(log, {name: "prepare"}), call)
    assert log == steps("prepare", NAMES[: NAMES.index(name) + 1]) + steps("abort")


@pytest.mark.parametrize("name", NAMES)
async def test_one_that_does_not_commit_aborts_itself_and_the_rest(name: str) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match=f"{name} fails"):
        await settlement.commit(three(log, {name: "commit"}), call)
    place = NAMES.index(name)
    assert log == steps("prepare") + steps("commit", NAMES[: place + 1]) + steps("abort", NAMES[place:])


async def test_a_cancellation_aborts_like_a_failure_and_goes_up() -> None:
    log: list[str] = []
    with pytest.raises(asyncio.CancelledError):
        await settlement.commit(three(log, {"b": "commit"}, error=asyncio.CancelledError()), call)
    assert log[-2:] == steps("abort", "bc")


@pytest.mark.parametrize(("step", "expected"), [("abort", "abc"), ("close", "cba"), ("rest", "abc")])
async def test_every_unit_takes_the_step_in_its_order(step: str, expected: str) -> None:
    log: list[str] = []
    await getattr(settlement, step)(three(log, {}), call)
    assert log == steps(step, expected)


@pytest.mark.parametrize(("step", "name"), list(product(["abort", "close"], NAMES)))
async def test_one_that_fails_to_give_up_does_not_keep_the_others_from_it(
    step: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    await getattr(settlement, step)(three(log, {name: step}), call)
    assert sorted(log) == steps(step)
    assert "a participant failed while it was given up" in caplog.text
    assert f"{name} fails" in caplog.text


@pytest.mark.parametrize(("step", "name"), list(product(["abort", "close"], NAMES)))
async def test_a_cancellation_does_not_keep_the_others_from_giving_up(step: str, name: str) -> None:
    log: list[str] = []
    with pytest.raises(asyncio.CancelledError):
        await getattr(settlement, step)(three(log, {name: step}, error=asyncio.CancelledError()), call)
    assert sorted(log) == steps(step)


async def test_a_failing_abort_does_not_hide_why_it_came_to_it(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    units = three(log, {"a": "prepare", "c": "abort"})
    with pytest.raises(RuntimeError, match="a fails"):
        await settlement.commit(units, call)
    assert "c fails" in caplog.text


async def test_a_rest_that_fails_is_a_failure_of_the_stream() -> None:
    with pytest.raises(RuntimeError, match="b fails"):
        await settlement.rest(three([], {"b": "rest"}), call)


class Joining(Unit):
    """Uses, while it votes or commits, something that was not used before."""

    def __init__(self, log: list[str], units: list[UnitOfWork], at: str) -> None:
        super().__init__("a", log)
        self.units = units
        self.at = at

    def step(self, step: str) -> None:
        super().step(step)
        if step == self.at:
            self.units.append(Unit("late", self.log))


@pytest.mark.parametrize("at", ["prepare", "commit"])
async def test_a_unit_that_joins_while_the_others_settle_settles_with_them(at: str) -> None:
    log: list[str] = []
    units: list[UnitOfWork] = []
    units.append(Joining(log, units, at))
    await settlement.commit(units, call)
    assert "late.commit" in log
    assert ("late.prepare" in log) == (at == "prepare")


async def test_no_units_settle_at_once() -> None:
    await settlement.commit([], call)
    await settlement.abort([], call)
    await settlement.close([], call)
