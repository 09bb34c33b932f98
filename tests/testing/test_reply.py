from __future__ import annotations

import json

import pytest
from starlette.datastructures import Headers

from millstream.testing.reply import Reply


def reply(body: bytes, content_type: str = "") -> Reply:
    return Reply(200, Headers({"Content-Type": content_type} if content_type else {}), body)


def test_text_is_decoded_with_its_charset_or_utf_8() -> None:
    assert reply("é".encode("latin-1"), "text/plain; charset=ISO-8859-1").text == "é"
    assert reply("é".encode(), "text/plain").text == "é"
    assert reply("é".encode()).text == "é"
    with pytest.raises(UnicodeDecodeError):
        _ = reply(b"\xff").text


def test_the_content_type_has_no_parameters_and_may_be_absent() -> None:
    assert reply(b"", "Text/HTML; charset=utf-8").content_type == "text/html"
    assert reply(b"").content_type == ""


def test_json_is_read_or_refused() -> None:
    assert reply(b'{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(json.JSONDecodeError):
        reply(b"[1,").json()
