from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from tests.durable.restoring import saved_sqlite

from millstream.durable.appending import Append
from millstream.durable.log import Log
from millstream.durable.naming import Config
from millstream.durable.sqlite import SqliteEngine
from millstream.durable.state import Change, Record, State
from millstream.testing import check_log

TEXT: Final = Config(content_type="text/plain")
PATIENCE: Final = 30.0


async def test_it_keeps_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "streams.db"
    await check_log(lambda: SqliteEngine(f"sqlite:///{file}"), save=lambda: saved_sqlite(file))
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


async def test_what_it_makes_is_nobody_elses_to_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with Log(SqliteEngine(f"sqlite:///{tmp_path}/streams.db")) as log:
            await log.create("a", TEXT, [b"secret"])
            made = modes(tmp_path)
    finally:
        os.umask(before)
    assert {path.name for path in made} == {
        f"streams.db{tail}" for tail in ("", "-wal", "-shm", "-turn", "-sockets")
    }
    assert {mode for path, mode in made.items() if path.name != "streams.db-sockets"} == {0o600}
    assert made[tmp_path / "streams.db-sockets"] == 0o700


async def test_a_file_keeps_the_mode_that_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "streams.db"
    file.touch()
    file.chmod(0o640)
    async with Log(SqliteEngine(f"sqlite:///{file}")) as log:
        await log.create("a", TEXT)
        assert modes(tmp_path)[file] == 0o640


def modes(folder: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_the_room_of_a_deleted_stream_is_given_back_while_others_append(tmp_path: Path) -> None:
    file = tmp_path / "streams.db"
    async with Log(SqliteEngine(f"sqlite:///{file}")) as log:
        await filled(log)
        assert size(file) > 16_000_000
        await log.delete("big")
        async with asyncio.timeout(PATIENCE):
            while size(file) > 8_000_000:
                await log.append("a", Append(records=[b"x"]))
                await asyncio.sleep(0.01)


async def test_what_a_process_had_no_time_to_delete_another_one_does(tmp_path: Path) -> None:
    file = tmp_path / "streams.db"
    async with Log(SqliteEngine(f"sqlite:///{file}")) as log:
        await filled(log)
        await log.delete("big")
    assert records(file) > 0
    async with Log(SqliteEngine(f"sqlite:///{file}")), asyncio.timeout(PATIENCE):
        while records(file):
            await asyncio.sleep(0.01)


async def test_a_file_that_was_replaced_while_it_was_in_use_takes_nothing_that_would_be_lost(
    tmp_path: Path,
) -> None:
    file, copy = tmp_path / "streams.db", tmp_path / "copy.db"
    async with Log(SqliteEngine(f"sqlite:///{file}")) as log:
        await log.create("a", TEXT)
        await saved_sqlite(file)
        await asyncio.to_thread(copy.replace, file)
        for asked in (lambda: log.append("a", Append(records=[b"x"])), lambda: log.describe("a")):
            with pytest.raises(
                apsw.CantOpenError, match="replaced or deleted while it was in use: start all"
            ):
                await until_it_fails(asked)


async def until_it_fails(asked: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            await asked()
            await asyncio.sleep(0.01)


async def filled(log: Log) -> None:
    for name in ("a", "big"):
        await log.create(name, TEXT)
    for _ in range(16):
        await log.append("big", Append(records=[b"x" * 65536] * 16))


def size(file: Path) -> int:
    return file.stat().st_size


def records(file: Path) -> int:
    with apsw.Connection(str(file)) as connection:
        count: int = connection.execute("SELECT count(*) FROM records").get
    return count
