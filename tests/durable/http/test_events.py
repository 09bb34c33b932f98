from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.http.events import Frame, lines, unfinished
from millstream.durable.pages import Page
from millstream.durable.state import State
from millstream.testing import EventReader, ReceivedEvent

I = "f" * 16  # noqa: E741  an incarnation


def framed(content_type: str, *messages: bytes, cursor: int = 5, **state: bool) -> list[ReceivedEvent]:
    size = sum(map(len, messages))
    known = State("s", I, content_type, tail=size).but(**state)
    return EventReader().feed(Frame(Page(known, 0, size, messages), cursor).event)


@given(st.text())
def test_any_text_arrives_as_it_is_and_forges_nothing(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    events = framed("text/plain", data, closed=True)
    assert [event.event for event in events] == (["data", "control"] if data else ["control"])
    if data:
        assert events[0].data == re.sub("\r\n|\r", "\n", text)


@given(st.binary(min_size=1))
def test_any_bytes_arrive_as_base64(data: bytes) -> None:
    event, _ = framed("application/octet-stream", data)
    assert base64.b64decode(event.data, validate=True) == data


def test_json_arrives_as_an_array() -> None:
    event, _ = framed("application/json", b'{"a":\n1}', b"2")
    assert json.loads(event.data) == [{"a": 1}, 2]


def test_the_id_of_the_data_is_where_to_go_on() -> None:
    event, control = framed("text/plain", b"abc")
    assert event.id == f"{3:016d}_{I}"
    assert json.loads(control.data) == {"streamNextOffset": event.id, "streamCursor": "5", "upToDate": True}


def test_the_last_control_event_says_so_and_has_no_cursor() -> None:
    [control] = framed("text/plain", closed=True)
    said = {"streamNextOffset": f"{0:016d}_{I}", "upToDate": True, "streamClosed": True}
    assert json.loads(control.data) == said
    [control] = framed("text/plain", closed=True, failed=True)
    assert json.loads(control.data) == {**said, "streamFailed": True}


def test_a_page_that_is_not_the_last_does_not_say_it_is() -> None:
    state = State("s", I, "text/plain", tail=10, closed=True)
    frame = Frame(Page(state, 0, 3, [b"abc"]), 5)
    assert json.loads(EventReader().feed(frame.event)[1].data) == {
        "streamNextOffset": f"{3:016d}_{I}",
        "streamCursor": "5",
    }


def test_a_reader_may_have_a_cursor_of_its_own() -> None:
    frame = Frame(Page(State("s", I, "text/plain", tail=1), 0, 1, [b"x"]), 5)
    assert frame.event_for(5) is frame.event
    assert b'"streamCursor":"9"' in frame.event_for(9)


@pytest.mark.parametrize(
    ("data", "expected"), [(b" a", b"  a"), (b"a\n b", b"a\ndata:  b"), (b"a\r\r\nb", b"a\ndata:\ndata:b")]
)
def test_lines_keep_their_blanks_and_lose_their_kind_of_end(data: bytes, expected: bytes) -> None:
    assert lines(data) == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_a_text_cut_anywhere_is_held_back_to_its_last_whole_character(text: str, data: st.DataObject) -> None:
    whole = text.encode()
    part = whole[: data.draw(st.integers(0, len(whole)))]
    held = unfinished(part)
    assert part[: len(part) - held].decode() == text[: len(part[: len(part) - held].decode())]


@given(st.binary())
def test_no_more_than_one_character_is_ever_held_back(data: bytes) -> None:
    assert 0 <= unfinished(data) <= 3


def test_half_a_character_waits_for_the_rest_of_it_unless_there_is_none() -> None:
    half = "é".encode()[:1]
    open_ = State("s", I, "text/plain", tail=2)
    assert Frame(Page(open_, 0, 2, [b"a", half]), 5).end == 1
    assert Frame(Page(open_.but(closed=True), 0, 2, [b"a", half]), 5).end == 2
    assert Frame(Page(open_.but(content_type="image/png"), 0, 2, [b"a", half]), 5).end == 2
