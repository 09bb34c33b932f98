from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from millstream.testing.bodies import encode, pairs, unfinished
from millstream.testing.failures import Misused


def whole(**options: Any) -> tuple[bytes, dict[str, str]]:
    body, headers = encode(options)  # type: ignore[arg-type]  # the options are the case
    assert isinstance(body, bytes)
    return body, headers


def test_no_body_has_no_headers() -> None:
    assert whole() == (b"", {})


def test_bytes_stay_as_they_are_and_have_a_length() -> None:
    assert whole(content=b"abc") == (b"abc", {"content-length": "3"})


def test_text_is_sent_as_utf_8() -> None:
    body, headers = whole(content="é")
    assert body == "é".encode()
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_json_may_be_null() -> None:
    body, headers = whole(json=None)
    assert (body, headers["content-type"]) == (b"null", "application/json")


def test_a_form_keeps_order_and_repetition() -> None:
    body, headers = whole(data={"a": ["1", "ü&="], "b": 2})
    assert parse_qsl(body.decode()) == [("a", "1"), ("a", "ü&="), ("b", "2")]
    assert headers["content-type"] == "application/x-www-form-urlencoded"


def test_names_in_a_multipart_form_cannot_forge_headers() -> None:
    body, _ = whole(files={'a"\r\nx: y': ('f"\r\n', b"1")})
    assert b'name="a%22%0D%0Ax: y"; filename="f%22%0D%0A"' in body


async def test_chunks_are_sent_one_by_one() -> None:
    body, headers = encode({"content": iter([b"a", b"b"])})
    assert isinstance(body, AsyncIterable)
    assert [chunk async for chunk in body] == [b"a", b"b"]
    assert headers == {"transfer-encoding": "chunked"}


def test_a_request_has_one_body() -> None:
    with pytest.raises(Misused, match="give only one of content, data/files"):
        encode({"content": b"", "files": {}})


async def test_an_unfinished_body_begins() -> None:
    body = unfinished(b"half")
    assert await anext(body) == b"half"
    await body.aclose()  # type: ignore[attr-defined]  # it is a generator


def test_pairs_may_repeat_a_name() -> None:
    assert pairs({"a": [1, 2]}) == pairs([("a", 1), ("a", 2)]) == [("a", 1), ("a", 2)]
