from __future__ import annotations

from millstream.durable.state import (
    Change,
    Piece,
    Producer,
    Record,
    State,
    Tenure,
    decode_state,
    media_type,
)

FULL = State(
    name="näme/1",
    incarnation="f" * 16,
    content_type="application/json; x=1",
    tail=7,
    start=2,
    closed=True,
    failed=True,
    ttl=5,
    expires=9.5,
    seq="é",
    closer=Producer("p", 1, 2),
    lineage=(Piece("0" * 15 + "1", 3),),
    parent="x",
    forks=2,
    deleted=True,
    tenure=Tenure("t", 1, 2.0, 3, b"\0will"),
    stopping=True,
)


def test_a_state_survives_being_stored() -> None:
    assert decode_state(FULL.encode()) == FULL


def test_a_state_that_was_stored_before_a_field_was_added_can_be_read() -> None:
    assert decode_state(b"\x93\xa1s\xa1i\xa1t") == State("s", "i", "t")


def test_json_is_told_by_its_media_type() -> None:
    assert FULL.json
    assert not FULL.but(content_type="application/ndjson").json
    assert media_type(" Text/HTML ; charset=x") == "text/html"


def test_what_is_produced_or_deleted_is_never_due() -> None:
    free = FULL.but(tenure=None, deleted=False)
    assert (free.due, FULL.due, free.but(deleted=True).due) == (9.5, None, None)
    assert free.expired(9.5)
    assert not free.expired(9.4)


def test_a_record_knows_both_its_ends() -> None:
    assert Record(10, b"abc").start == 7
    assert FULL.own_start == 3
    assert FULL.next_offset == f"{7:016d}_{'f' * 16}"


def test_a_change_of_nothing_is_empty() -> None:
    assert Change(answer=1).empty
    assert not Change(removed=(FULL,)).empty
