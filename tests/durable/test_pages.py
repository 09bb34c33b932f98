from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.appending import placed
from millstream.durable.pages import Page, Stretch, cut, stretches, token_before
from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import Piece, Record, State, Stored

A, B, C, D = "a" * 16, "b" * 16, "c" * 16, "d" * 16
TEXT = State("s", C, "text/plain", tail=30, lineage=(Piece(A, 10), Piece(B, 20)))
DATA = st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9)


def test_a_fork_is_read_from_whoever_holds_it() -> None:
    assert list(stretches(TEXT, 0)) == [Stretch(A, 0, 10), Stretch(B, 10, 20), Stretch(C, 20, 30)]
    assert list(stretches(TEXT, 15)) == [Stretch(B, 15, 20), Stretch(C, 20, 30)]
    assert list(stretches(TEXT, 30)) == []
    assert list(stretches(TEXT.but(lineage=(Piece(A, 10), Piece(B, 10))), 0))[1] == Stretch(C, 10, 30)


@given(DATA, st.data())
def test_any_stretch_of_bytes_is_cut_out_exactly(records: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(records)
    kept, tail = placed(records, 0)
    after = data.draw(st.integers(0, tail - 1))
    upto = data.draw(st.integers(after + 1, tail))
    most = data.draw(st.integers(1, tail))
    needed = [record for record in kept if record.end > after]
    found = b"".join(cut(TEXT.but(tail=tail), Stretch(C, after, upto), needed, most))
    assert whole[after : min(upto, after + most)].startswith(found)
    assert found


@given(DATA, st.integers(1, 20))
def test_json_messages_are_whole_and_a_page_has_one_at_least(records: list[bytes], most: int) -> None:
    state = TEXT.but(content_type="application/json", lineage=())
    kept, tail = placed(records, 0)
    found = cut(state.but(tail=tail), Stretch(C, 0, tail), kept, most)
    assert records[: len(found)] == found
    assert len(found) == 1 or sum(map(len, found)) <= most


def test_a_json_message_has_no_inside() -> None:
    with pytest.raises(BadOffset, match="middle of a message"):
        cut(TEXT.but(content_type="application/json"), Stretch(C, 1, 5), placed([b"12345"], 0)[0], 99)


def test_missing_records_are_noticed_and_never_skipped() -> None:
    kept, _ = placed([b"aa", b"bb", b"cc"], 0)
    with pytest.raises(OffsetGone):
        cut(TEXT, Stretch(C, 0, 6), kept[1:], 99)
    with pytest.raises(OffsetGone):
        cut(TEXT, Stretch(C, 0, 6), [], 99)
    assert cut(TEXT, Stretch(C, 0, 6), [kept[0], kept[2]], 99) == [b"aa"]


def test_a_page_says_where_it_ends_and_whether_that_is_the_end() -> None:
    assert Page(TEXT, 0, 20, []).up_to_date is False
    assert Page(TEXT, 0, 30, []).up_to_date
    assert Page(TEXT.but(closed=True), 0, 30, []).closed
    assert not Page(TEXT.but(closed=True), 0, 20, []).closed
    assert Page(TEXT, 0, 20, []).next_offset == f"{20:016d}_{B}"
    assert Page(TEXT, 0, 30, []).next_offset == f"{30:016d}_{C}"


def test_an_offset_names_the_append_of_the_byte_before_it() -> None:
    page = Page(TEXT.but(token=7), 20, 28, [], [(20, B), (22, C), (25, D), (28, C)])
    ends = [*zip(range(20, 29), (B, C, C, D, D, D, C, C, C), strict=True), (30, f"{7:016x}")]
    assert [page.offset_at(end) for end, _ in ends] == [f"{end:016d}_{token}" for end, token in ends]


def test_the_token_before_a_position_is_that_of_the_record_around_it_or_before_it() -> None:
    records = [Record(7, b"aaa", 2), Record(9, b"bb", 3)]
    assert [token_before(position, Stored(1, records)) for position in (4, 5, 6)] == [1, 2, 2]
    assert token_before(4, Stored(None, records)) is None
