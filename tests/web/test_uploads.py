from __future__ import annotations

import asyncio
import codecs
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from millstream.errors import ControllerError, HTTPError
from millstream.web import uploads
from millstream.web.uploads import Lines, Upload, cannot_wait


def at_once(reading: Coroutine[Any, Any, bytes]) -> bytes:
    """Wait for what never suspends."""
    try:
        reading.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError


def upload(*pieces: bytes, most: int | None = None, ends: bool = True) -> Upload:
    last = len(pieces) - 1
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < last or not ends}
        for number, piece in enumerate(pieces)
    ] or [{"type": "http.request"}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return Upload(receive, at_once, most=most)


def lines(*pieces: bytes, charset: str = "utf-8") -> list[str]:
    return list(Lines(upload(*pieces), charset))


async def test_a_body_is_read_piece_by_piece_in_both_kinds_of_code() -> None:
    assert list(upload(b"a", b"", b"bc", b"")) == [b"a", b"bc"]
    assert [piece async for piece in upload(b"a", b"", b"bc", b"")] == [b"a", b"bc"]


async def test_an_empty_body_has_no_pieces() -> None:
    empty = upload()
    assert list(empty) == []
    assert empty.ended
    assert await empty.read() == b""


async def test_a_reader_that_stopped_may_go_on() -> None:
    reading = upload(b"a", b"b", b"c")
    assert await anext(reading) == b"a"
    await reading.aclose()
    assert [piece async for piece in reading] == [b"b", b"c"]
    assert reading.arrived == 3


async def test_a_client_that_left_is_told_by_every_read() -> None:
    reading = upload(b"a", ends=False)
    assert await reading.read() == b"a"
    for _ in range(2):
        with pytest.raises(ClientDisconnect):
            await reading.read()


def test_what_arrives_is_counted_against_the_limit() -> None:
    reading = upload(b"12", b"3", most=2)
    assert next(reading) == b"12"
    with pytest.raises(HTTPError) as told:
        next(reading)
    assert told.value.status == 413


async def test_a_request_without_a_thread_cannot_wait() -> None:
    with pytest.raises(ControllerError, match="async for"):
        cannot_wait(upload(b"a").read())


# Lines


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\n"], ["a\n", "b\n"]),
        ([b"a\nb"], ["a\n", "b"]),
        ([b"a", b"b\nc", b"\n"], ["ab\n", "c\n"]),
        ([b"a\r\n\r\nb"], ["a\r\n", "\r\n", "b"]),
        (["ü".encode()[:1], "ü".encode()[1:]], ["ü"]),
        ([codecs.BOM_UTF8 + b"a\n"], ["a\n"]),
        (["a\u2028b\x0bc\n".encode()], ["a\u2028b\x0bc\n"]),
        ([b""], []),
        ([b"\n"], ["\n"]),
    ],
)
def test_lines_end_where_their_line_feed_is(pieces: list[bytes], expected: list[str]) -> None:
    assert lines(*pieces) == expected


@given(st.text(), st.lists(st.integers(0, 200)), st.sampled_from(["utf-8", "utf-16", "latin-1", "gb18030"]))
def test_pieces_may_be_cut_anywhere(text: str, cuts: list[int], charset: str) -> None:
    body = text.encode(charset, "ignore")
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(edges)]
    whole = body.decode("utf-8-sig" if charset == "utf-8" else charset)
    assert "".join(lines(*pieces, charset=charset)) == whole


async def test_lines_are_read_in_asynchronous_code_as_well() -> None:
    assert [line async for line in Lines(upload(b"a\nb", b"c"), "utf-8")] == ["a\n", "bc"]


@pytest.mark.parametrize(
    ("pieces", "charset", "told"),
    [
        ([b"ab", b"\xff"], "utf-8", "the body is not in utf-8: byte 2 is 0xff"),
        ([b"a\xc3", b"("], "utf-8", "the body is not in utf-8: byte 1 is 0xc3"),
        ([b"a\xe2\x82"], "utf-8", "the body is not in utf-8: byte 1 is 0xe2"),
        ([b"\xe4"], "us-ascii", "the body is not in ascii: byte 0 is 0xe4"),
    ],
)
def test_a_byte_that_is_no_text_is_named(pieces: list[bytes], charset: str, told: str) -> None:
    with pytest.raises(HTTPError) as refused:
        lines(*pieces, charset=charset)
    assert (refused.value.status, refused.value.detail) == (400, told)


@pytest.mark.parametrize("charset", ["nonsense", "rot13", "a\0b", ""])
def test_a_charset_nobody_knows_is_a_415(charset: str) -> None:
    with pytest.raises(HTTPError) as refused:
        lines(b"a", charset=charset)
    assert refused.value.status == 415


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LONGEST_LINE", 5)
    assert lines(b"12345\n", b"1234", b"5\n") == ["12345\n", "12345\n"]
    with pytest.raises(HTTPError) as refused:
        lines(b"123", b"456")
    assert refused.value.status == 413


def test_waiting_is_left_to_whoever_knows_how() -> None:
    def wait(reading: Coroutine[Any, Any, bytes]) -> bytes:
        return asyncio.run(reading)

    reading = upload(b"a", b"b")
    assert list(Upload(reading._receive, wait, most=None)) == [b"a", b"b"]
