from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from millstream.testing.failures import ProtocolViolation
from millstream.testing.rules import Piece, ResponseRules, Start

TEXT = (b"content-type", b"text/plain")


def start(*headers: Any, status: Any = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def body(data: Any = b"", *, more: Any = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def take(*messages: Mapping[str, Any], method: str = "GET") -> list[Start | Piece]:
    rules = ResponseRules(f"{method} /", method)
    return [rules.take(message) for message in messages]


def test_a_head_and_its_body_become_facts() -> None:
    head, first, last = take(start(TEXT), body(b"a", more=True), body(b"b"))
    assert isinstance(head, Start)
    assert head.headers["Content-Type"] == "text/plain"
    assert (first, last) == (Piece(b"a", last=False), Piece(b"b", last=True))


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([body(b"x")], "'http.response.body' before the head"),
        ([start(), start()], "'http.response.start' after the head"),
        ([start(), body(), body()], "'http.response.body' after the end"),
        ([{"type": "http.response.push"}], "'http.response.push' before the head"),
        ([{}], "None before the head"),
    ],
)
def test_messages_out_of_order_are_violations(messages: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(ProtocolViolation, match=complaint):
        take(*messages)


@pytest.mark.parametrize("status", ["200", 100, 600, True, None, 200.0])
def test_a_status_is_a_whole_number_of_a_final_response(status: object) -> None:
    with pytest.raises(ProtocolViolation, match="no whole number from 200 to 599"):
        take(start(status=status))


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (("content-type", "text/plain"), "no pair of bytes"),
        ((b"x",), "no pair of bytes"),
        ((b"Content-Type", b"text/plain"), "no lower-case token"),
        ((b"x y", b""), "no lower-case token"),
        ((b"", b""), "no lower-case token"),
        ((b"x", b"a\r\nset-cookie: b"), "line break"),
        ((b"x", b"\0"), "line break or a NUL"),
    ],
)
def test_a_header_that_no_wire_can_carry_is_a_violation(header: object, complaint: str) -> None:
    with pytest.raises(ProtocolViolation, match=complaint):
        take(start(header))


@pytest.mark.parametrize(
    ("data", "kind"), [("text", "str"), (bytearray(b"x"), "bytearray"), (memoryview(b"x"), "memoryview")]
)
def test_a_piece_of_a_body_is_bytes_and_nothing_else(data: object, kind: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"is {kind}, it must be bytes"):
        take(start(TEXT), body(data))


def test_more_body_is_true_or_false() -> None:
    with pytest.raises(ProtocolViolation, match="more_body is 1"):
        take(start(TEXT), body(b"x", more=1))


def test_a_body_without_a_content_type_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="no content-type"):
        take(start(), body(b"x"))


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    with pytest.raises(ProtocolViolation, match=f"a {status} has no body"):
        take(start(TEXT, status=status), body(b"x"))


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [([b"12345"], "at least 1 bytes longer"), ([b"12", b"3"], "1 bytes shorter")],
)
def test_a_body_is_as_long_as_it_says(pieces: list[bytes], complaint: str) -> None:
    messages = [body(piece, more=piece is not pieces[-1]) for piece in pieces]
    with pytest.raises(ProtocolViolation, match=complaint):
        take(start(TEXT, (b"content-length", b"4")), *messages)


@pytest.mark.parametrize("lengths", [[b"-1"], [b"four"], [b"4", b"4"]])
def test_a_content_length_is_one_whole_number(lengths: list[bytes]) -> None:
    with pytest.raises(ProtocolViolation, match="no single whole number"):
        take(start(*((b"content-length", length) for length in lengths)))


def test_a_reply_to_head_may_name_a_length_and_its_body_is_dropped() -> None:
    _, piece = take(start((b"content-length", b"4")), body(b"data"), method="HEAD")
    assert piece == Piece(b"", last=True)
