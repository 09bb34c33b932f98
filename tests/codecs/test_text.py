from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.text import Text
from millstream.errors import WrongItem
from millstream.testing.contracts import check_codec

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


def write(items: list[Any], charset: str = "utf-8") -> bytes:
    codec = Text(action="Root.log", charset=charset)
    return codec.head() + b"".join(map(codec.item, items)) + codec.tail()


def read(body: bytes) -> list[str]:
    return body.decode().split("\n")[:-1]


def test_text_keeps_the_contract() -> None:
    check_codec(Text, ["one", "", "drei größer"], read=read)


@given(st.lists(LINE), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_every_item_is_read_back_as_one_line(lines: list[str], charset: str) -> None:
    assert write(lines, charset).decode(charset).split("\n") == [*lines, ""]


def test_the_line_end_of_an_item_is_not_doubled() -> None:
    assert write(["a", "b\n", "c\r\n", "\n"]) == b"a\nb\nc\n\n"


@pytest.mark.parametrize("item", ["a\nb", "a\rb", "a\n\n", "\r\r\n", "a\n\r"])
def test_an_item_cannot_pass_for_two_lines(item: str) -> None:
    with pytest.raises(WrongItem, match=r"Root\.log .* a line end inside"):
        write([item])


@pytest.mark.parametrize("item", [b"bytes", 1, None, ["a"], {"a": 1}])
def test_only_text_is_a_line(item: Any) -> None:
    with pytest.raises(WrongItem, match="takes str, one line each"):
        write([item])


def test_a_line_beyond_the_charset_is_refused() -> None:
    with pytest.raises(WrongItem, match="ascii"):
        write(["€"], "ascii")


def test_text_says_its_charset() -> None:
    assert Text(action="x", charset="latin-1").content_type == "text/plain; charset=latin-1"
