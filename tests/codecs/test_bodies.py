from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.bodies import BLOCK, FileBlocks, buffer_of, producer_of, slices, whole


def chunks(body: Any) -> list[Any]:
    producer: Any = producer_of(body)
    return list(producer)


def test_what_is_in_memory_is_one_chunk() -> None:
    for body in ("text", b"bytes", bytearray(b"x"), memoryview(b"y")):
        assert chunks(body) == [body]


def test_a_path_and_an_open_file_are_read_by_blocks_and_not_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"line\n" * 20_000)
    for body in (path, path.open("rb")):
        producer: Any = producer_of(body)
        assert [len(block) for block in producer] == [BLOCK, 100_000 - BLOCK]
        producer.close()
    assert chunks(io.StringIO("text")) == ["text"]


def test_a_file_is_opened_when_it_is_pulled_and_closed_with_its_producer(tmp_path: Path) -> None:
    missing: Any = producer_of(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        next(iter(missing))
    missing.close()
    file = io.BytesIO(b"x")
    opened = FileBlocks(lambda: file)
    opened.close()
    assert not file.closed
    next(iter(opened))
    opened.close()
    assert file.closed


def test_an_open_file_is_closed_even_if_nothing_was_read() -> None:
    file = io.BytesIO(b"x")
    producer: Any = producer_of(file)
    producer.close()
    assert file.closed


def test_iterables_of_both_kinds_are_producers_themselves() -> None:
    async def produced() -> Any:
        yield b""

    generator: Any
    for generator in ((x for x in "ab"), produced(), ["a"]):
        assert producer_of(generator) is generator


@pytest.mark.parametrize("body", [None, 1, object(), {"a": 1}])
def test_what_yields_no_chunks_is_no_body(body: object) -> None:
    assert producer_of(body) is None


@given(st.integers(0, 3 * BLOCK), st.sampled_from([bytes, bytearray, memoryview]))
def test_long_chunks_are_cut_and_nothing_is_lost(size: int, kind: Any) -> None:
    data = (b"0123456789" * (size // 10 + 1))[:size]
    cut = list(slices(kind(data)))
    assert b"".join(cut) == data
    assert all(0 < len(each) <= BLOCK for each in cut)


def test_a_buffer_of_another_shape_is_cut_by_its_bytes() -> None:
    assert b"".join(slices(memoryview(b"abcdef")[::2])) == b"ace"
    assert b"".join(slices(memoryview(b"abcdefgh").cast("I"))) == b"abcdefgh"


def test_text_becomes_bytes_and_other_things_are_no_buffer() -> None:
    assert buffer_of("é", str.encode) == "é".encode()
    assert buffer_of(b"x", str.encode) == b"x"
    assert buffer_of(1, str.encode) is None


class Bracketed:
    def __init__(self, producer: Any) -> None:
        self.producer = producer

    def head(self) -> bytes:
        return b"<"

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def tail(self) -> bytes:
        return b">"


def test_all_of_it_at_once_closes_its_producer() -> None:
    file = io.BytesIO(b"x")
    assert whole(Bracketed(FileBlocks(lambda: file, file))) == b"<x>"
    assert file.closed
    assert whole(Bracketed([b"a", b"b"])) == b"<ab>"


def test_what_is_asynchronous_cannot_be_had_at_once() -> None:
    async def produced() -> Any:
        yield b""

    assert whole(Bracketed(produced())) is None
