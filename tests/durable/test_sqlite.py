from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.sqlite import SqliteEngine
from millstream.durable.state import Change, Record, State
from millstream.testing import check_log

TEXT: Final = Config(content_type="text/plain")


async def test_it_keeps_the_contract(tmp_path: Path) -> None:
    await check_log(lambda: SqliteEngine(f"sqlite:///{tmp_path}/streams.db"))
    assert (tmp_path / "streams.db").exists()


async def test_a_change_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    async with Log(SqliteEngine(f"sqlite:///{tmp_path}/streams.db")) as log:
        await log.create("a", TEXT)
        nothing: Any = None
        wrong = Change(states=(State("wrong", "f" * 16, "text/plain"),), records=[Record(1, nothing)])
        impossible = log._engine.change(["wrong"], None, lambda *_: wrong)
        beside = [log.append("a", Append(records=[b"x"])) for _ in range(5)]
        told = await asyncio.gather(*beside[:2], impossible, *beside[2:], return_exceptions=True)
        assert [type(each) for each in told if isinstance(each, Exception)] == [TypeError]
        assert (await log.describe("a")).tail == 5
        assert await log._engine.look("wrong") is None
