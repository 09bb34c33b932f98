from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.ndjson import Ndjson
from millstream.protocol.events import Reason
from millstream.testing.contracts import check_codec


def codec() -> Ndjson:
    return Ndjson(action="Root.rows", charset="utf-8")


def read(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.split(b"\n") if line]


def test_ndjson_keeps_the_contract() -> None:
    check_codec(Ndjson, [{"a": 1}, "two\nlines", 3, None, [4], {"b": "\r\n"}], read=read)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_one_item_is_one_line(items: list[str]) -> None:
    encoder = codec()
    body = b"".join(encoder.item({"text": item}) for item in items)
    assert body.count(b"\n") == len(items)
    assert read(body) == [{"text": item} for item in items]


def test_json_that_came_with_line_ends_is_still_one_line() -> None:
    pretty = msgspec.Raw(b'{\n  "a": [\n 1]\n}')
    line = codec().item({"inner": pretty})
    assert line.index(b"\n") == len(line) - 1
    assert json.loads(line) == {"inner": {"a": [1]}}


def test_the_last_line_of_a_failed_stream_is_the_problem() -> None:
    problem = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "traceback": "a\nb"}
    assert read(codec().item(1) + codec().failed(problem)) == [1, {"error": problem}]


def test_a_goodbye_is_told_apart_from_a_failure() -> None:
    assert read(codec().goodbye(Reason.TIMED_OUT)) == [{"goodbye": {"reason": "timed-out"}}]


def test_ndjson_says_no_charset() -> None:
    assert codec().content_type == "application/x-ndjson"
