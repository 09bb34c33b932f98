from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import MutableHeaders
from tests.engine.conftest import raw_head

from millstream.engine.passing import DeclaredLength, declared_length, hooked, passing_for
from millstream.errors import WrongLength
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


@pytest.mark.parametrize(("transforms", "declares"), [((untouched,), True), ((late(b"1"),), False)])
def test_a_head_declares_no_length_of_a_body_that_passes_a_transform(
    transforms: tuple[Transform, ...], *, declares: bool
) -> None:
    head = raw_head()
    head.headers["content-length"] = "5"
    passing_for(head, transforms)
    assert ("content-length" in head.headers) is declares


def length(declared: int) -> DeclaredLength:
    head = Head(200, MutableHeaders({"content-length": str(declared)}), "GET")
    found = declared_length(head, "Root.feed")
    assert found is not None
    return found


@given(st.lists(st.binary(max_size=5)), st.integers(-3, 3))
def test_the_last_declared_byte_leaves_at_the_end_of_a_body_of_that_length_and_of_no_other(
    pieces: list[bytes], difference: int
) -> None:
    body = b"".join(pieces)
    declared = max(0, len(body) + difference)
    passing, sent = length(declared), b""
    try:
        for piece in pieces:
            sent += passing.chunk(piece)
            assert not declared or len(sent) < declared
        passing.require_met(0)
    except WrongLength as wrong:
        assert declared != len(body)
        assert (wrong.declared, wrong.action) == (declared, "Root.feed")
        assert str(declared) in str(wrong)
        assert str(wrong.size) in str(wrong)
    else:
        assert declared == len(body)
        assert sent + passing.end() == body


def test_bytes_that_are_still_to_come_count() -> None:
    passing = length(5)
    passing.chunk(b"abc")
    passing.require_room(2)
    passing.require_met(2)
    with pytest.raises(WrongLength, match="at least 6"):
        passing.require_room(3)
    with pytest.raises(WrongLength, match="only 4"):
        passing.require_met(1)


def test_without_a_length_the_end_of_a_body_says_how_long_it_is() -> None:
    assert declared_length(raw_head(), "Root.feed") is None


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_that_has_no_body_declares_so(status: int) -> None:
    found = declared_length(Head(status, MutableHeaders(), "GET"), "Root.feed")
    assert found is not None
    assert (found.is_nothing, found.is_of_body) == (True, False)
    with pytest.raises(WrongLength, match=f"0 bytes by the status {status}, but at least 1 "):
        found.chunk(b"x")


def test_without_hooks_the_codec_is_asked_directly() -> None:
    assert hooked(str.encode, ()) is str.encode


def test_hooks_see_each_item_in_order_before_the_codec() -> None:
    def double(item: Any) -> Any:
        return item * 2

    def with_dot(item: Any) -> Any:
        return item + "."

    assert hooked(str.encode, (double, with_dot))("a") == b"aa."
