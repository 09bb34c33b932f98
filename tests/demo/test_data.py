"""The flights' database: what is in it, and that nothing half-built is ever used."""

from __future__ import annotations

import lzma
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millstream.demo import data
from millstream.errors import ConfigurationError

HEAD = "year,month,dep_time,carrier,tailnum\n"


def source(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "some.csv.xz"
    file.write_bytes(lzma.compress(text.encode("ascii")))
    return file


def ask(file: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(question).fetchall()


def test_all_flights_are_in_it(tmp_path: Path) -> None:
    file = tmp_path / "flights.sqlite"
    assert data.build(file) == 336_776
    assert ask(file, "SELECT count(*), count(dep_time), count(tailnum) FROM flights") == [
        (336_776, 328_521, 334_264)
    ]
    assert ask(file, "SELECT count(*) FROM flights WHERE 'NA' IN (dep_delay, arr_delay, air_time)") == [(0,)]
    first = "SELECT id, month, dep_time, carrier, flight, dest, time_hour FROM flights WHERE id = 1"
    assert ask(file, first) == [(1, 1, 517, "UA", 1545, "IAH", "2013-01-01T10:00:00Z")]
    assert data.is_ready(file)


def test_numbers_are_integers_and_what_is_missing_is_null(tmp_path: Path) -> None:
    file = tmp_path / "flights.sqlite"
    data.build(file, source=source(tmp_path, HEAD + "2013,1,NA,UA,NA\n2013,2,517,9E,N1\n"))
    assert ask(file, "SELECT * FROM flights") == [
        (1, 2013, 1, None, "UA", None),
        (2, 2013, 2, 517, "9E", "N1"),
    ]


def test_the_progress_grows_to_the_whole(tmp_path: Path) -> None:
    seen: list[float] = []
    rows = "".join(f"2013,{n % 12},{n},UA,N{n * n}\n" for n in range(3 * data.BATCH))
    data.build(tmp_path / "f", source=source(tmp_path, HEAD + rows), on_progress=seen.append)
    assert len(seen) == 3
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    packed = source(tmp_path, HEAD + "2013,1,1,UA,N1\n" * 50_000)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(EOFError):
        data.build(tmp_path / "flights.sqlite", source=packed)
    assert [file.name for file in tmp_path.iterdir()] == [packed.name]


def test_an_older_file_is_replaced_while_it_can_still_be_read(tmp_path: Path) -> None:
    file = tmp_path / "flights.sqlite"
    data.build(file, source=source(tmp_path, HEAD + "2013,1,1,UA,N1\n"))
    with closing(sqlite3.connect(file)) as before:
        before.execute("PRAGMA user_version = 0")
        assert not data.is_ready(file)
        data.build(file, source=source(tmp_path, HEAD + "2013,1,1,UA,N1\n" * 2))
        assert before.execute("SELECT count(*) FROM flights").fetchone() == (1,)
    assert ask(file, "SELECT count(*) FROM flights") == [(2,)]


def test_nothing_there_is_not_ready(tmp_path: Path) -> None:
    assert not data.is_ready(tmp_path / "flights.sqlite")


@pytest.mark.parametrize("name", ["a text", "a database", "a folder"])
def test_a_file_of_somebody_elses_is_never_replaced(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    match name:
        case "a text":
            file.write_text("dear diary")
        case "a database":
            with closing(sqlite3.connect(file)) as database:
                database.execute("CREATE TABLE diary (day TEXT)")
        case _:
            file.mkdir()
    with pytest.raises(ConfigurationError) as refused:
        data.is_ready(file)
    assert str(refused.value) == (
        f"{file} is not a database of the demo's: name a file that does not exist yet"
    )


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as refused:
        data.build(tmp_path / "file" / "flights.sqlite")
    assert str(refused.value).startswith(f"the database {tmp_path}/file/flights.sqlite cannot be written: ")


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ("/var/cache/me", "/var/cache/me/millstream/flights.sqlite"),
        ("relative", None),
        ("", None),
        (None, None),
    ],
)
def test_the_file_is_kept_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, cache: str | None, expected: str | None
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    home = Path.home() / ".cache" / "millstream" / "flights.sqlite"
    assert data.default_path() == (Path(expected) if expected else home)
