"""Clocks of machines that share a log jump by an hour, and disagree: nobody who is alive dies of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from millstream.durable.appending import Append
from millstream.durable.engines import open_log
from millstream.durable.http.cursors import cursor_after
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.upkeep import Upkeep
from millstream.testing.durable import Clock

HOUR = 3600.0
TEXT = "text/plain"
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])


class Machine:
    """A log, its wall clock, and its upkeep with a clock that never jumps."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.ticks = Clock()
        self.log = open_log(url)
        self.log._clock = self.clock
        self.upkeep = Upkeep(self.log, monotonic=self.ticks)


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[list[Machine]]:
    found = [Machine(f"sqlite:///{tmp_path}/streams.db") for _ in range(2)]
    async with AsyncExitStack() as stack:
        for machine in found:
            await stack.enter_async_context(machine.log)
        yield found


async def go_round(machines: list[Machine]) -> None:
    for machine in machines:
        await machine.upkeep.go_round()


@JUMPS
@pytest.mark.parametrize("who", [0, 1], ids=["its machine", "another one"])
async def test_a_run_survives_a_jump_of_any_clock(machines: list[Machine], jump: float, who: int) -> None:
    here, there = machines[0].log, machines[1].log
    lease = await here.claim("run", Config(content_type=TEXT, ttl=60), seconds=30)
    assert lease is not None
    await go_round(machines)
    machines[who].clock.advance(jump)
    for machine in machines:
        machine.ticks.advance(20)
    await go_round(machines)
    assert not (await here.renew(lease)).closed
    done = await here.append("run", Append(records=[b"all"], producer=lease.claim(0), close=True))
    assert not done.state.failed
    assert (await machines[1 - who].log.read("run")).messages == [b"all"]
    assert (await there.leased()) == []


@JUMPS
async def test_a_dead_run_is_found_whatever_the_clocks_do(machines: list[Machine], jump: float) -> None:
    assert await machines[0].log.claim("run", Config(content_type=TEXT), seconds=30, will=b"died")
    await go_round(machines)
    machines[1].clock.advance(jump)
    machines[1].ticks.advance(31)
    await machines[1].upkeep.go_round()
    page = await machines[0].log.read("run")
    assert (page.state.failed, page.messages) == (True, [b"died"])


@JUMPS
async def test_what_has_time_left_or_all_of_it_stays(machines: list[Machine], jump: float) -> None:
    for log in (machine.log for machine in machines):
        await log.create("for ever", Config(content_type=TEXT), [b"a"])
        await log.create("for hours", Config(content_type=TEXT, ttl=2 * int(HOUR)), [b"b"])
    machines[1].clock.advance(jump)
    await go_round(machines)
    for log in (machine.log for machine in machines):
        for name in ("for ever", "for hours"):
            assert (await log.read(name)).messages
            await log.append(name, Append(records=[b"more"]))
    machines[1].clock.advance(-jump)
    await go_round(machines)
    assert (await machines[0].log.read("for hours")).messages == [b"b", b"more", b"more"]


@JUMPS
async def test_offsets_do_not_come_from_a_clock(machines: list[Machine], jump: float) -> None:
    log: Log = machines[0].log
    offsets = [(await log.create("s", Config(content_type=TEXT), [b"a"])).state.next_offset]
    for _ in range(3):
        machines[0].clock.advance(jump)
        offsets.append((await log.append("s", Append(records=[b"b"]))).state.next_offset)
    assert offsets == sorted(set(offsets))
    assert (await log.read("s", offsets[1])).messages == [b"b", b"b"]


@JUMPS
def test_a_followers_cursor_never_goes_back(jump: float) -> None:
    now = 1_800_000_000.0
    brought = cursor_after(None, now)
    assert cursor_after(str(brought), now + jump) > brought
