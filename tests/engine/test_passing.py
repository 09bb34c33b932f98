from __future__ import annotations

from typing import Any

from tests.engine.conftest import raw_head

from millstream.engine.passing import hooked, passing_for
from millstream.protocol.ports import ChunkTransform, Head, Transform


class Late:
    """Holds back the last byte of each chunk, and marks what it has seen."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.held = b""

    def chunk(self, data: bytes, /) -> bytes:
        data, self.held = (self.held + data)[:-1], (self.held + data)[-1:]
        return data and self.mark + data

    def end(self) -> bytes:
        return self.mark + self.held


def late(mark: bytes) -> Transform:
    def make(_head: Head) -> ChunkTransform:
        return Late(mark)

    return make


def untouched(_head: Head) -> None:
    return None


def test_a_body_nobody_wants_to_see_passes_by_nobody() -> None:
    assert passing_for(raw_head(), ()) is None
    assert passing_for(raw_head(), (untouched, untouched)) is None


def test_one_transform_is_asked_directly() -> None:
    assert isinstance(passing_for(raw_head(), (untouched, late(b"1"))), Late)


def test_several_see_the_body_one_after_the_other() -> None:
    passing = passing_for(raw_head(), (late(b"1"), late(b"2")))
    assert passing is not None
    assert passing.chunk(b"abc") == b"21a"
    assert passing.chunk(b"d") == b"2b1"


def test_what_one_held_back_passes_those_behind_it_in_the_end() -> None:
    passing = passing_for(raw_head(), (late(b"1"), late(b"2"), late(b"3")))
    assert passing is not None
    said = passing.chunk(b"abc") + passing.end()
    assert bytes(byte for byte in said if byte in b"abc") == b"abc"
    assert said.endswith(b"c")


def test_each_transform_sees_the_head_and_may_change_it() -> None:
    def make(head: Head) -> None:
        head.headers["x-seen"] = "yes"

    head = raw_head()
    passing_for(head, (make,))
    assert head.headers["x-seen"] == "yes"


def test_without_hooks_the_codec_is_asked_directly() -> None:
    assert hooked(str.encode, ()) is str.encode


def test_hooks_see_each_item_in_order_before_the_codec() -> None:
    def double(item: Any) -> Any:
        return item * 2

    def with_dot(item: Any) -> Any:
        return item + "."

    assert hooked(str.encode, (double, with_dot))("a") == b"aa."
