from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile
from typing import Any, BinaryIO

import pytest

from millstream.errors import ControllerError, HTTPError
from millstream.pipeline.files import PIECE, OpenFile, opened, type_of

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data.bin"
    made.write_bytes(CONTENT)
    return made


def read(file: OpenFile, part: slice | None = None) -> bytes:
    try:
        return b"".join(file.pieces(part))
    finally:
        file.close()


def refused(given: Any) -> str:
    with pytest.raises(ControllerError) as told:
        opened(given, "Root.file")
    return str(told.value)


def test_a_path_is_opened_with_all_that_is_known_of_it(path: Path) -> None:
    file = opened(path, "Root.file")
    assert (file.name, file.start, file.size) == ("data.bin", 0, len(CONTENT))
    assert set(file.facts) == {"etag", "last-modified", "content-length", "accept-ranges"}
    assert read(file) == CONTENT
    assert file.file.closed


def test_its_tag_changes_with_the_time_or_the_size(path: Path) -> None:
    def tag() -> str:
        file = opened(path, "Root.file")
        file.close()
        return file.etag

    tags = [tag(), tag()]
    os.utime(path, ns=(0, 1))
    tags.append(tag())
    path.write_bytes(b"x")
    os.utime(path, ns=(0, 1))
    tags.append(tag())
    assert len(set(tags)) == 3
    assert tags[0] == tags[1]


@pytest.mark.parametrize(
    "part", [slice(0, 1), slice(5, 6), slice(PIECE - 1, PIECE + 1), slice(1000, len(CONTENT))]
)
def test_a_part_is_read_alone(path: Path, part: slice) -> None:
    assert read(opened(path, "Root.file"), part) == CONTENT[part]


@pytest.mark.parametrize("buffering", [0, -1])
def test_an_open_file_begins_where_it_stands(path: Path, buffering: int) -> None:
    given = path.open("rb", buffering=buffering)
    given.seek(10)
    file = opened(given, "Root.file")
    assert (file.name, file.size) == ("data.bin", len(CONTENT) - 10)
    assert read(file, slice(5, 8)) == CONTENT[15:18]
    assert given.closed


def test_a_temporary_file_is_what_it_wraps() -> None:
    given: Any = NamedTemporaryFile()  # noqa: SIM115  it is closed by what is tested
    given.write(b"abc")
    given.seek(0)
    file = opened(given, "Root.file")
    assert file.etag
    assert read(file) == b"abc"


def test_bytes_in_memory_are_tagged_by_their_content() -> None:
    one, same, other = (opened(io.BytesIO(data), "Root.file") for data in (b"a", b"a", b"b"))
    assert one.etag == same.etag != other.etag
    assert not one.modified


def test_what_is_unpacked_while_it_is_read_has_no_size(tmp_path: Path) -> None:
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(CONTENT))
    given: Any = gzip.open(packed)  # noqa: SIM115  as above
    file = opened(given, "Root.file")
    assert (file.facts, file.name) == ({}, "")
    assert read(file) == CONTENT


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    os.close(writing)
    given: BinaryIO = os.fdopen(reading, "rb")
    file = opened(given, "Root.file")
    assert (file.size, file.name) == (None, "")
    assert read(file) == b"abc"


def test_a_file_that_became_shorter_is_told(path: Path) -> None:
    file = opened(path, "Root.file")
    os.truncate(path, 100)
    with pytest.raises(ControllerError, match=r"'data\.bin' became shorter while it was sent: 255900 bytes"):
        read(file)


def test_a_file_that_became_longer_is_sent_as_long_as_it_was(path: Path) -> None:
    file = opened(path, "Root.file")
    with path.open("ab") as more:
        more.write(b"more")
    assert read(file) == CONTENT


@pytest.mark.parametrize("name", ["missing", "data.bin/below", "a\0b", "x" * 300, "loop"])
def test_what_is_not_there_is_a_404(path: Path, name: str) -> None:
    (path.parent / "loop").symlink_to("loop")
    with pytest.raises(HTTPError) as told:
        opened(path.parent / name, "Root.file")
    assert told.value.status == 404


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path).endswith("which is a folder: return a file's")
    assert "which is a pipe" in refused(tmp_path / "fifo")
    assert "which is a device" in refused(Path("/dev/zero"))


def test_a_closed_file_is_no_answer(path: Path) -> None:
    given = path.open("rb")
    given.close()
    with pytest.raises(ValueError, match="closed"):
        opened(given, "Root.file")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.csv", "text/csv"),
        ("a.JSON", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.csv.br", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_a_name_tells_a_type(name: str, content_type: str) -> None:
    assert type_of(name) == content_type


@pytest.mark.parametrize("size", [10, 10_000], ids=["in memory", "on disk"])
def test_a_spooled_file_has_a_size_and_begins_where_it_stands(size: int) -> None:
    file: Any = SpooledTemporaryFile(max_size=100)  # noqa: SIM115  it is closed below
    file.write(b"x" + b"a" * size)
    file.seek(1)
    found = opened(file, "Root.feed")
    assert found.size == size
    assert b"".join(found.pieces(None)) == b"a" * size
    assert b"".join(found.pieces(slice(2, 5))) == b"aaa"
    found.close()
    assert file.closed
