"""The demo's start: the database is made once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from millstream.app import Millstream
from millstream.demo import data, start


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=20)


def test_the_database_is_made_at_the_first_start_and_used_at_the_second(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, built = data.build, []

    def counting(path: Path, *, on_progress: data.OnProgress) -> int:
        built.append(path)
        return build(path, on_progress=on_progress)

    monkeypatch.setattr(data, "build", counting)
    file = tmp_path / "cache" / "flights.sqlite"
    assert isinstance(start.application(file, console), Millstream)
    assert isinstance(start.application(file, console), Millstream)
    assert built == [file]
    assert isinstance(console.file, io.StringIO)
    assert f"336,776 flights are in {file}\n" in console.file.getvalue()


def test_the_users_cache_is_where_it_is_kept(
    database: Path, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "millstream").mkdir()
    (tmp_path / "millstream" / "flights.sqlite").write_bytes(database.read_bytes())
    start.application(None, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""
