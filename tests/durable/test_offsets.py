from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.offsets import NOW, START, At, Place, place_of, position_of
from millstream.durable.refusals import BadOffset, OffsetGone
from millstream.durable.state import Piece, State, offset_at

A, B, C = "a" * 16, "b" * 16, "c" * 16
STATE = State("s", B, "text/plain", tail=100, start=10, lineage=(Piece(A, 40),))
POSITIONS = st.integers(0, 10**16 - 1)


@given(POSITIONS, POSITIONS)
def test_offsets_sort_as_their_positions(one: int, other: int) -> None:
    assert (offset_at(one, A) < offset_at(other, A)) == (one < other)


@given(POSITIONS)
def test_an_offset_can_stand_in_a_query_as_it_is(position: int) -> None:
    offset = offset_at(position, A)
    assert len(offset) < 256
    assert not set(offset) & set(",&=?/ ")
    assert offset not in {START, NOW}


@given(st.integers(10, 100))
def test_an_offset_leads_back_to_its_position(position: int) -> None:
    assert position_of(offset_at(position, B), STATE) == position


def test_the_start_and_the_tail_have_names() -> None:
    assert (position_of(START, STATE), position_of(NOW, STATE)) == (10, 100)
    assert position_of(f"{'0' * 16}_{'0' * 16}", STATE) == 10


def test_where_a_fork_begins_its_source_is_believed_and_beyond_the_records_are_asked() -> None:
    assert place_of(offset_at(40, A), STATE) == Place(40)
    assert place_of(offset_at(39, A), STATE) == Place(39, A)
    assert place_of(offset_at(41, A), STATE) == Place(41, A)
    with pytest.raises(OffsetGone):
        place_of(offset_at(40, C), STATE)


def test_a_tail_has_one_token() -> None:
    later = STATE.but(token=7)
    assert later.next_offset == f"{100:016d}_{7:016x}"
    assert place_of(later.next_offset, later) == Place(100)
    for token in (A, B, C):
        with pytest.raises(OffsetGone):
            place_of(offset_at(100, token), later)


def test_where_a_run_was_taken_over_it_has_the_token_of_the_one_before() -> None:
    run = State("s", B, "text/plain", tail=9, token=7, lineage=(Piece(B, 4), Piece(B, 6, "0" * 15 + "5")))
    assert place_of(offset_at(4, B), run) == Place(4)
    assert place_of(offset_at(6, f"{5:016x}"), run) == Place(6)
    for lost in (offset_at(6, B), offset_at(9, B), offset_at(4, f"{5:016x}")):
        with pytest.raises(OffsetGone):
            place_of(lost, run)


@pytest.mark.parametrize("offset", [offset_at(9, B), offset_at(101, B), offset_at(0, C)])
def test_what_was_trimmed_or_lost_or_is_another_streams_is_gone(offset: str) -> None:
    with pytest.raises(OffsetGone):
        position_of(offset, STATE)


def test_a_position_alone_is_believed_within_its_stream() -> None:
    assert place_of(At(41, B), STATE) == Place(41)
    for wrong in (At(101, B), At(9, B), At(41, C)):
        with pytest.raises(OffsetGone):
            place_of(wrong, STATE)


@given(st.text())
def test_any_other_text_is_no_offset(text: str) -> None:
    try:
        position_of(text, STATE)
    except (BadOffset, OffsetGone):
        return
    assert text in {START, NOW}


@pytest.mark.parametrize(
    "offset", ["", "-2", "now ", "1_a", f"{'1' * 16}_{'A' * 16}", f"{'1' * 16}_{A}\n", "\u0661" * 33]
)
def test_a_text_that_was_never_given_out_is_bad(offset: str) -> None:
    with pytest.raises(BadOffset):
        position_of(offset, STATE)
