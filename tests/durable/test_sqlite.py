from __future__ import annotations

from pathlib import Path

from millstream.durable.sqlite import SqliteEngine
from millstream.testing import check_log


async def test_it_keeps_the_contract(tmp_path: Path) -> None:
    await check_log(lambda: SqliteEngine(f"sqlite:///{tmp_path}/streams.db"))
    assert (tmp_path / "streams.db").exists()
