from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE

from millstream.web.fields import checked_field, require_sendable


@pytest.mark.parametrize(
    ("value", "sent"), [("a", "a"), ("", ""), ("a\tb", "a\tb"), (" a ", "a"), ("é\xff", "é\xff")]
)
def test_a_value_is_sent_without_the_blanks_around_it(value: str, sent: str) -> None:
    assert checked_field("X-A", value) == ("X-A", sent)


@pytest.mark.parametrize("code", [*(set(range(0x20)) - {9}), 0x7F, 0x100, 0x20AC, 0x1F600, 0xDC80])
def test_a_value_with_a_character_that_no_server_sends_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="'X-A' cannot be sent with the character"):
        checked_field("X-A", f"a{chr(code)}b")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "ü", "a\0", " a", "a\t", "(a)", '"a"', "a/b"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a header"):
        checked_field(name, "1")


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "trailer", "TE", "Upgrade", "keep-alive", "Proxy-Connection"]
)
def test_a_field_that_only_the_server_may_send_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the server decides"):
        checked_field(name, "chunked")


@pytest.mark.parametrize("value", ["-1", "1.0", "0x10", "", "1, 1", "+1", "\xb2", "1 0", "1" * 19])
def test_a_length_that_is_no_number_of_bytes_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes"):
        checked_field("Content-Length", value)


def test_an_action_may_ask_for_a_connection_to_be_closed_and_for_nothing_else() -> None:
    assert checked_field("Connection", "close") == ("Connection", "close")
    with pytest.raises(ValueError, match="may only ask for 'close'"):
        checked_field("Connection", "keep-alive, X-Secret")


@pytest.mark.parametrize(
    ("name", "value"), [("X-A", 5), ("X-A", b"1"), ("X-A", None), (b"X-A", "1"), (1, "1")]
)
def test_a_field_that_is_no_text_is_refused_with_name_and_value(name: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="as text"):
        checked_field(name, value)


def test_a_body_has_one_length() -> None:
    require_sendable([(b"content-length", b"5")])
    with pytest.raises(ValueError, match="set twice"):
        require_sendable([(b"content-length", b"5"), (b"Content-Length", b"5")])


@given(st.text(), st.text())
def test_whatever_passes_is_taken_by_a_strict_server(name: str, value: str) -> None:
    try:
        name, value = checked_field(name, value)
    except ValueError:
        return
    assert not HEADER_RE.search(name.encode("latin-1"))
    assert not HEADER_VALUE_RE.search(value.encode("latin-1"))
    require_sendable([(name.encode("latin-1"), value.encode("latin-1"))])
