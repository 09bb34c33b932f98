from __future__ import annotations

import csv
import gc
import io
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.arrow import Arrow
from millstream.codecs.base import Codec
from millstream.codecs.bodies import BLOCK
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.parquet import Parquet
from millstream.codecs.xlsx import Xlsx
from millstream.codecs.xml import Xml
from millstream.codecs.zip import Member, Zip, safe_name
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.testing.contracts import check_codec

THEN = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def write(members: Iterable[Any], **options: Any) -> bytes:
    codec = Zip(action="Root.archive", charset="utf-8", **options)
    return codec.head() + b"".join(map(codec.item, members)) + codec.tail()


def opened(body: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    return archive


def contents(body: bytes) -> dict[str, bytes]:
    archive = opened(body)
    return {name: archive.read(name) for name in archive.namelist()}


def test_zip_keeps_the_contract() -> None:
    members = [Member("a.txt", b"one", modified=THEN), Member("b/ü.txt", ["two", b"!"], modified=THEN)]
    check_codec(
        Zip,
        members,
        read=lambda body: list(contents(body).items()),
        expected=[("a.txt", b"one"), ("b/ü.txt", b"two!")],
    )


class Query:
    """Rows that can be had in batches, as those of a query."""

    def __init__(self, *batches: list[tuple[Any, ...]]) -> None:
        self.columns: tuple[Column, ...] = ()
        self.said: list[tuple[int, int]] = []
        self._batches = batches

    def batches(self) -> Generator[Sequence[Sequence[Any]], None, None]:
        self.columns = (Column("a", int), Column("b", str))
        yield from self._batches

    def took(self, rows: int, size: int) -> None:
        self.said.append((rows, size))

    def close(self) -> None:
        raise AssertionError("the batches are closed by whoever pulls them")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("one by one they would be slow, and no rows would have no columns")


@pytest.mark.parametrize("codec", [Csv, Ndjson, Json, Xml, Xlsx, Arrow, Parquet])
def test_the_rows_of_a_query_are_encoded_in_batches(codec: type[Codec]) -> None:
    query = Query([(1, "x")], [(2, "y"), (3, "z")])
    archive = contents(write([Member("a", query, codec=codec, modified=THEN)]))
    alone = codec(action="Root.archive", charset="utf-8")
    opening = alone.head()
    encode = alone.rows((Column("a", int), Column("b", str)))
    wanted = opening + encode([(1, "x")]) + encode([(2, "y"), (3, "z")]) + alone.tail()
    assert archive["a"] == wanted
    assert [rows for rows, size in query.said] == ([1, 3] if codec in {Xlsx, Parquet} else [1, 2])


def test_a_query_without_rows_still_names_its_columns() -> None:
    archive = contents(write([Member("a.csv", Query([]), codec=Csv)]))
    assert archive == {"a.csv": b"a,b\r\n"}


CHUNK = (
    st.binary(max_size=100)
    | st.text(max_size=50)
    | st.integers(1, 3 * BLOCK).map(lambda size: b"line\n" * size)
)


@given(st.lists(st.tuples(st.lists(CHUNK, max_size=4), st.booleans())), st.integers(0, 9))
def test_any_members_are_read_back_equal(drawn: list[tuple[list[bytes | str], bool]], level: int) -> None:
    members = {
        f"{number}.bin": Member(f"{number}.bin", iter(chunks), compress=compress)
        for number, (chunks, compress) in enumerate(drawn)
    }
    expected = {
        f"{number}.bin": b"".join(each.encode() if isinstance(each, str) else each for each in chunks)
        for number, (chunks, _) in enumerate(drawn)
    }
    assert contents(write(members.values(), level=level)) == expected


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_unzip_finds_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(
        write([Member("a", b"x" * 100_000), Member("b", iter([b"y"]), compress=False), Member("é", "")])
    )
    tested = subprocess.run(["unzip", "-t", path], capture_output=True, check=False)  # noqa: S603, S607  our file
    assert tested.returncode == 0
    assert b"No errors detected" in tested.stdout


def test_an_archive_of_nothing_is_one() -> None:
    assert contents(write([])) == {}


def test_a_member_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"0123456789" * 50_000)
    file = path.open("rb")
    assert set(contents(write([Member("path", path), Member("file", file)])).values()) == {path.read_bytes()}
    assert file.closed


def test_a_member_may_be_the_rows_of_another_codec() -> None:
    rows = [{"a": 1, "b": "x,y"}, {"a": 2, "b": None}]
    found = contents(
        write(
            [
                Member("rows.csv", iter(rows), codec=Csv),
                Member("rows.ndjson", rows, codec=Ndjson),
                Member("none.csv", iter(()), codec=partial(Csv, fields=["a", "b"])),
            ]
        )
    )
    assert list(csv.DictReader(io.StringIO(found["rows.csv"].decode(), newline=""))) == [
        {"a": "1", "b": "x,y"},
        {"a": "2", "b": ""},
    ]
    assert found["rows.ndjson"] == b'{"a":1,"b":"x,y"}\n{"a":2,"b":null}\n'
    assert found["none.csv"] == b"a,b\r\n"


def test_text_in_members_is_in_the_charset() -> None:
    codec = Zip(action="x", charset="utf-16")
    body = codec.item(Member("a", iter(["é", "b"]))) + codec.item(Member("b", "c")) + codec.tail()
    assert [data.decode("utf-16") for data in contents(body).values()] == ["éb", "c"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.txt", "a/b.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Windows\\x.dll", "C_/Windows/x.dll"),
        ("..\\..\\x", "x"),
        ("a/./b//c/../d", "a/b/c/d"),
        ("a/.. /b./...", "a/b"),
        (".hidden", ".hidden"),
        ("a\0b\nc", "a_b_c"),
        ("file.txt:stream", "file.txt_stream"),
        ("größe 1.csv", "größe 1.csv"),
        ("con", "_con"),
        ("a/NUL.txt", "a/_NUL.txt"),
        ("lpt1/x", "_lpt1/x"),
        ("\u202efdp.exe", "_fdp.exe"),
        ("a\u0085\u200b", "a__"),
    ],
)
def test_names_stay_inside_the_folder_they_are_unpacked_into(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert list(contents(write([Member(name, b"x")]))) == [safe]


@given(st.text(st.sampled_from("./\\:a \0é")))
def test_no_name_leads_outside(name: str) -> None:
    parts = safe_name(name).split("/")
    assert parts == [""] or not any(part.strip(". ") == "" or set(part) & set('\\:"\0') for part in parts)
    assert safe_name(safe_name(name)) == safe_name(name)


@pytest.mark.parametrize("name", ["", "/", "..", "../..", " ", "a" * 65_535, "\ud800"])
def test_a_name_of_nothing_or_without_end_is_refused(name: str) -> None:
    with pytest.raises(WrongItem, match=r"Root\.archive .* its name"):
        write([Member(name, b"x")])


@pytest.mark.parametrize("again", ["a/b", "./a//b", "a\\b", "/a/b"])
def test_two_members_cannot_have_one_name(again: str) -> None:
    with pytest.raises(WrongItem, match="has a member 'a/b' already"):
        write([Member("a/b", b"x"), Member(again, b"y")])


NUMBER: Any = 1


@pytest.mark.parametrize(
    "item", [b"x", "a", ("a", b"x"), None, Member(NUMBER, b"x"), Member("a", NUMBER), Member("a", {"b": 1})]
)
def test_what_is_no_member_is_refused(item: Any) -> None:
    with pytest.raises(WrongItem, match="codec 'zip' takes Member"):
        write([item])


@pytest.mark.parametrize(("chunk", "why"), [(1, "yields str and bytes only"), ("\ud800", "surrogates")])
def test_a_member_of_other_things_is_refused(chunk: object, why: str) -> None:
    with pytest.raises(WrongItem, match=why):
        write([Member("a", iter([chunk]))])


def test_a_row_its_codec_cannot_carry_is_refused() -> None:
    with pytest.raises(WrongItem, match=r"Root\.archive .* codec 'csv'"):
        write([Member("a.csv", [object()], codec=Csv)])


def test_an_asynchronous_member_cannot_be_had_at_once() -> None:
    async def body() -> Any:
        yield b""

    with pytest.raises(WrongItem, match="asynchronous"):
        write([Member("a", body())])


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 6), (2026, 1, 2, 3, 4, 6)),  # noqa: DTZ001  a wall's time stays one
        (THEN.astimezone(timezone(timedelta(hours=2))), (2026, 1, 2, 3, 4, 6)),
        (datetime(1970, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))), (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_a_member_has_its_time_as_far_as_archives_go(modified: datetime, expected: tuple[int, ...]) -> None:
    assert opened(write([Member("a", b"", modified=modified)])).getinfo("a").date_time == expected


def test_without_a_time_a_file_has_its_own_and_others_that_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"")
    before = datetime.now(UTC)
    archive = opened(write([Member("file", path, modified=None), Member("text", "")]))
    for name in archive.namelist():
        found = datetime(*archive.getinfo(name).date_time, tzinfo=UTC)
        assert abs(found - before) < timedelta(minutes=1)


def test_what_is_small_enough_is_stored_as_it_is() -> None:
    body = write([Member("a.png", b"same" * 100, compress=False)])
    assert b"same" * 100 in body
    assert opened(body).getinfo("a.png").compress_type == zipfile.ZIP_STORED


def test_a_member_in_memory_needs_no_zip64_and_one_that_streams_has_it() -> None:
    assert struct.pack("<HH", 1, 16) not in write([Member("a", b"x")])
    assert struct.pack("<HH", 1, 16) in write([Member("a", iter([b"x"]))])


def test_more_members_than_sixteen_bits_can_count() -> None:
    assert (
        len(zipfile.ZipFile(io.BytesIO(write(Member(str(n), b"") for n in range(65_600)))).namelist())
        == 65_600
    )


def pieces_of(codec: Zip, member: Member) -> Iterator[bytes]:
    """What the engine does with a member."""
    nested = codec.expand(member)
    producer: Any = nested.producer
    yield nested.head()
    for chunk in producer:
        yield from nested.pieces(chunk)
    yield nested.tail()


def test_a_member_of_more_than_four_gigabytes_is_written_in_flat_memory(tmp_path: Path) -> None:
    size, path = (1 << 32) + (8 << 20), tmp_path / "big.zip"
    codec, zeros = Zip(action="x", charset="utf-8"), bytes(8 << 20)
    tracemalloc.start()
    with path.open("wb") as file:
        for piece in pieces_of(codec, Member("zeros", repeat(zeros, size // len(zeros)), compress=False)):
            assert len(piece) <= BLOCK
            if piece == zeros[: len(piece)]:
                file.seek(len(piece), io.SEEK_CUR)  # a hole, which reads as zeros and takes no room
            else:
                file.write(piece)
        file.write(codec.tail())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2 << 20
    archive = zipfile.ZipFile(path)
    assert archive.getinfo("zeros").file_size == size
    with archive.open("zeros") as member:
        assert member.read(1) == b"\0"


@pytest.mark.parametrize("words", [lambda codec: codec.failed({"status": 500}), lambda _codec: b""])
def test_an_archive_that_was_broken_off_cannot_be_opened(words: Any) -> None:
    codec = Zip(action="x", charset="utf-8")
    body = codec.head() + codec.item(Member("a", b"x")) + words(codec)
    with pytest.raises(zipfile.BadZipFile):
        opened(body)


def test_a_member_that_fails_leaves_no_archive_and_no_noise() -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise LookupError

    codec = Zip(action="x", charset="utf-8")
    body: list[bytes] = []
    with pytest.raises(LookupError):
        body.extend(pieces_of(codec, Member("a", failing())))
    with pytest.raises(zipfile.BadZipFile):
        opened(b"".join(body))
    del codec
    gc.collect()  # what the collector cannot close it complains about, and warnings are errors


@pytest.mark.parametrize("level", [-1, 10])
def test_a_level_that_is_none_is_found_at_start_up(level: int) -> None:
    with pytest.raises(ConfigurationError, match="'level'"):
        Zip.check_options({"level": level})
