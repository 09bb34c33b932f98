from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.raw import Raw
from millstream.errors import WrongItem
from millstream.testing.contracts import check_codec


def raw(charset: str = "utf-8") -> Raw:
    return Raw(action="Root.page", charset=charset)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-8-sig"])
def test_raw_keeps_the_contract(charset: str) -> None:
    check_codec(Raw, ["a", "é", "€"], charset=charset)
    check_codec(Raw, [b"\xff", b"", b"\n"])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-32", "utf-8-sig", "gb18030", "utf-7"])
def test_text_is_read_back_in_its_charset(charset: str, items: list[str]) -> None:
    codec = raw(charset)
    body = b"".join(map(codec.item, items)) + codec.tail()
    assert body.decode(charset) == "".join(items)


def test_bytes_are_not_touched() -> None:
    item = b"\xff\x00"
    assert raw().item(item) is item


def test_a_buffer_is_copied_because_it_may_be_filled_anew() -> None:
    buffer = bytearray(b"one")
    codec = raw()
    sent = [codec.item(buffer), codec.item(memoryview(buffer)[1:])]
    buffer[:] = b"two"
    assert sent == [b"one", b"ne"]


def test_what_is_more_than_text_or_bytes_is_sent_as_such() -> None:
    class Markup(str):
        __slots__ = ()

    class Blob(bytes):
        pass

    sent = [raw().item(Markup("a")), raw().item(Blob(b"b"))]
    assert sent == [b"a", b"b"]
    assert {type(each) for each in sent} == {bytes}


@pytest.mark.parametrize("item", [1, None, {"a": 1}, ["a"], object()])
def test_other_items_are_refused(item: Any) -> None:
    with pytest.raises(WrongItem, match=r"Root\.page yielded .* codec 'raw' takes str, bytes"):
        raw().item(item)


@pytest.mark.parametrize(("charset", "item"), [("ascii", "é"), ("latin-1", "€"), ("utf-8", "\ud800")])
def test_a_character_beyond_the_charset_is_named(charset: str, item: str) -> None:
    with pytest.raises(WrongItem, match=r"can't encode character '\\"):
        raw(charset).item(item)


def test_a_released_buffer_is_refused() -> None:
    view = memoryview(b"a")
    view.release()
    with pytest.raises(WrongItem, match="released"):
        raw().item(view)


def test_it_claims_nothing_about_what_the_author_writes() -> None:
    assert raw("latin1").content_type == "application/octet-stream"
