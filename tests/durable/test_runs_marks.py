from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.runs.marks import THE_END, Marks, last
from millstream.durable.runs.names import Place, place_of
from millstream.durable.state import offset_at
from millstream.testing import EventReader

RUN = "t" * 8 + "r" * 22
LIFE = partial(offset_at, token="0123456789abcdef")  # noqa: S106  no password


def place(event: str) -> int:
    found = place_of(event)
    assert found is not None
    return int(found.offset.partition("_")[0])


def test_an_event_is_given_the_place_after_it() -> None:
    data = Marks(RUN, LIFE).marked(b"data: 1\n\ndata: 2\n\n")
    first, second = EventReader().feed(data)
    assert data[place(first.id) :].startswith(b"data: 2")
    assert place(second.id) == len(data)


def test_an_authors_own_id_gives_way() -> None:
    (event,) = EventReader().feed(Marks(RUN, LIFE).marked(b"id: 7\ndata: 1\n\n"))
    assert place_of(event.id) is not None


def test_a_comment_is_written_at_once_and_has_no_id() -> None:
    marks = Marks(RUN, LIFE)
    assert marks.marked(b": open\n") == b": open\n"
    assert marks.marked(b": quiet\ndata: 1") == b": quiet\n"
    data = marks.marked(b"\n\ndata: 2\n\n")
    first, second = EventReader().feed(data)
    length = len(b": open\n: quiet\n")
    assert (place(first.id), place(second.id)) == (length + data.index(b"data: 2"), length + len(data))


@pytest.mark.parametrize("block", [b": open\n\n", b"retry: 5\n\n", b"event: x\n\n", b"\n\n"])
def test_what_carries_no_data_is_given_no_id(block: bytes) -> None:
    data = Marks(RUN, LIFE).marked(block + b"data: 1\n\n")
    assert data.startswith(block)
    (event,) = EventReader().feed(data)
    assert place(event.id) == len(data)


def test_an_authors_id_by_itself_gives_way_too() -> None:
    reader = EventReader()
    assert reader.feed(Marks(RUN, LIFE).marked(b"id: 7\n\n")) == []
    assert place_of(reader.last_id) is not None


def test_what_never_came_to_an_end_is_not_lost() -> None:
    marks = Marks(RUN, LIFE)
    assert marks.marked(b"retry: 1") == b""
    assert marks.rest() == b"retry: 1"
    assert marks.rest() == b""


def test_the_last_event_needs_no_empty_line_to_be_one() -> None:
    marks = Marks(RUN, LIFE)
    data = marks.marked(b"data: 1\n\ndata: [DONE]\n") + marks.rest()
    one, done = EventReader().feed(data)
    assert (one.data, done.data, place(done.id)) == ("1", "[DONE]", len(data))


def test_last_words_lead_to_the_end_of_the_run_wherever_that_is() -> None:
    (event,) = EventReader().feed(last(RUN, b"event: error\ndata: {}\n\n"))
    assert (event.event, event.data, place_of(event.id)) == ("error", "{}", Place(RUN, THE_END))
    assert last(RUN, b"") == b""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(size=st.integers(1, 9))
def test_every_line_end_of_the_standard_ends_a_line(end: str, size: int) -> None:
    written = f": hi{end}data: 1{end}data: 2{end}{end}event: x{end}data: 3{end}{end}".encode()
    marks = Marks(RUN, LIFE)
    data = b"".join(marks.marked(written[at : at + size]) for at in range(0, len(written), size))
    one, two = EventReader().feed(data)
    assert (one.data, two.event, two.data, place(two.id)) == ("1\n2", "x", "3", len(data))


@given(st.lists(st.text("abc\u00e9 "), min_size=1, max_size=8), st.data())
def test_however_it_is_cut_every_mark_leads_to_the_next_event(texts: list[str], data: st.DataObject) -> None:
    written = b"".join(f"data: {text}\n\n".encode() for text in texts)
    marks, marked, rest = Marks(RUN, LIFE), b"", written
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        marked, rest = marked + marks.marked(rest[:size]), rest[size:]
    events = EventReader().feed(marked)
    assert [event.data for event in events] == texts
    for number, event in enumerate(events):
        after = EventReader().feed(marked[place(event.id) :])
        assert [later.data for later in after] == texts[number + 1 :]
