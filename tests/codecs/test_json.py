from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.json import Json
from millstream.protocol.events import Reason
from millstream.testing.contracts import check_codec

ITEMS: list[Any] = [{"a": 1, "b": "]"}, "text]", 3, None, [], {"c": [1, {"d": None}]}]


def codec() -> Json:
    return Json(action="Root.rows", charset="latin-1")


def test_json_keeps_the_contract() -> None:
    check_codec(Json, ITEMS, read=json.loads)
    check_codec(
        Json, [(1, 2), [3, 4]], options={"fields": ["a", "b"]}, read=json.loads,
        expected=[{"a": 1, "b": 2}, {"a": 3, "b": 4}],
    )  # fmt: skip


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.booleans()))
def test_any_items_are_one_array(items: list[Any]) -> None:
    encoder = codec()
    body = encoder.head() + b"".join(map(encoder.item, items)) + encoder.tail()
    assert json.loads(body) == items


def test_an_empty_stream_is_an_empty_array() -> None:
    assert codec().head() + codec().tail() == b"[]"


@pytest.mark.parametrize("count", range(3))
def test_a_failed_array_is_left_broken(count: int) -> None:
    encoder = codec()
    body = encoder.head() + b"".join(map(encoder.item, ITEMS[:count]))
    for last_words in (encoder.failed({"status": 500}), encoder.goodbye(Reason.SHUTDOWN)):
        with pytest.raises(json.JSONDecodeError):
            json.loads(body + last_words)


def test_an_item_leaves_whole_before_the_next_exists() -> None:
    encoder = codec()
    assert json.loads(encoder.head() + encoder.item({"a": 1}) + b"]") == [{"a": 1}]


def test_a_document_is_no_array() -> None:
    assert json.loads(codec().document({"a": 1})) == {"a": 1}


def test_json_is_utf_8_and_says_no_charset() -> None:
    assert codec().content_type == "application/json"
    assert codec().item("é") == '"é"'.encode()
