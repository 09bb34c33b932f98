from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.testing.events import EventReader, ReceivedEvent

PIECES = st.lists(
    st.sampled_from(
        [
            "data: a",
            "data:b",
            "data",
            "event: tick",
            "id: 7",
            "id",
            ": silence",
            "retry: 9",
            "\n",
            "\r",
            "\r\n",
            "é",
        ]
    )
)


def read(text: str) -> list[ReceivedEvent]:
    return EventReader().feed(text.encode())


def test_an_event_is_its_data_its_name_and_its_id() -> None:
    assert read("event: tick\nid: 7\ndata: 1\n\n") == [ReceivedEvent("1", "tick", "7")]


def test_an_event_without_a_name_is_a_message() -> None:
    assert read("data: 1\n\n") == [ReceivedEvent("1", "message", "")]


def test_lines_of_data_are_joined_and_one_space_is_dropped() -> None:
    assert read("data: a\ndata:b\ndata:  c\ndata\n\n") == [ReceivedEvent("a\nb\n c\n")]


def test_a_block_without_data_is_no_event_but_its_id_and_retry_count() -> None:
    reader = EventReader()
    assert reader.feed(b"retry: 1500\nid: 7\nevent: bye\n\n") == []
    assert (reader.retry, reader.last_id) == (1500, "7")
    assert reader.feed(b"data: x\n\n") == [ReceivedEvent("x", "message", "7")]


def test_comments_unknown_fields_and_senseless_values_are_ignored() -> None:
    reader = EventReader()
    assert reader.feed(b": silence\n\nfoo: bar\nid: a\0b\nretry: soon\nretry: -1\n\n") == []
    assert (reader.retry, reader.last_id) == (None, "")


def test_an_event_is_not_there_before_its_blank_line() -> None:
    reader = EventReader()
    assert reader.feed(b"data: x\n") == []
    assert reader.feed(b"\n") == [ReceivedEvent("x")]


def test_a_byte_order_mark_is_dropped() -> None:
    assert EventReader().feed(b"\xef\xbb\xbfdata: x\n\n") == [ReceivedEvent("x")]


@given(PIECES)
def test_it_does_not_matter_where_chunks_are_cut(pieces: list[str]) -> None:
    whole, cut = EventReader(), EventReader()
    body = "".join(pieces).encode()
    events = [event for byte in body for event in cut.feed(bytes([byte]))]
    assert events == whole.feed(body)
    assert (cut.last_id, cut.retry) == (whole.last_id, whole.retry)
