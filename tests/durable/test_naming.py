"""The decisions about names; what they come to over an engine is `check_log`'s."""

from __future__ import annotations

import pytest

from millstream.durable.naming import (
    Config,
    Create,
    Created,
    IncompleteFamily,
    create,
    delete,
    expire,
    fork,
    living,
    trim,
)
from millstream.durable.refusals import BadOffset, NameTaken, NoSuchStream, StreamGone
from millstream.durable.state import Piece, State, Tenure

A, B, C = "a" * 16, "b" * 16, "c" * 16
ROOT = State("root", A, "text/plain", tail=10, forks=1)
LEAF = State("leaf", B, "text/plain", tail=6, lineage=(Piece(A, 4),), parent="root")


def test_a_stream_that_is_not_there_and_one_that_expired_are_the_same() -> None:
    for state in (None, ROOT.but(forks=0, expires=5.0)):
        with pytest.raises(NoSuchStream):
            living({"root": state}, "root", 5.0)
    assert living({"root": ROOT.but(expires=5.0)}, "root", 4.9).name == "root"


def test_a_stream_that_only_its_forks_need_is_gone() -> None:
    for state in (ROOT.but(deleted=True), ROOT.but(expires=5.0)):
        with pytest.raises(StreamGone):
            living({"root": state}, "root", 5.0)


def test_time_does_not_end_a_stream_that_is_produced() -> None:
    produced = ROOT.but(expires=5.0, tenure=Tenure("t", 0, 1.0))
    assert living({"root": produced}, "root", 99.0) is produced


def test_what_expired_makes_room_and_goes_in_the_same_commit() -> None:
    old = LEAF.but(expires=5.0)
    request = Create(name="leaf", config=Config(), records=[b"new"])
    change = create({"leaf": old, "root": ROOT}, request, C, 5.0)
    assert change.removed == (old,)
    assert [state.name for state in change.states] == ["leaf", "root"]
    assert (change.states[0].incarnation, change.states[1].forks) == (C, 0)


def test_a_fork_that_replaces_an_expired_one_of_the_same_source_counts_once() -> None:
    request = Create(name="leaf", config=Config(), source="root", position=4)
    change = fork({"leaf": LEAF.but(expires=5.0), "root": ROOT}, request, C, 5.0)
    assert {state.name: state.forks for state in change.states} == {"leaf": 0, "root": 1}


def test_a_claim_is_told_of_any_stream_that_is_there() -> None:
    request = Create(name="root", config=Config(content_type="image/png"), tenure=Tenure("t", 0, 1.0))
    assert create({"root": ROOT.but(closed=True)}, request, C, 0.0).answer.fresh is False


def test_a_failure_makes_room_only_for_who_came_after_it_and_never_for_its_forks() -> None:
    def fresh(held: State, before: float | None) -> bool:
        request = Create(name="run", config=Config(ttl=10), tenure=Tenure("t", 0, 1.0), failed_before=before)
        answer: Created = create({"run": held}, request, C, 50.0).answer
        return answer.fresh

    failed = State("run", A, "text/plain", closed=True, failed=True, ttl=100, expires=140.0)
    assert [fresh(failed, before) for before in (None, 39.9, 40.0, 40.1)] == [False, False, False, True]
    assert not fresh(failed.but(forks=1), 41.0)
    assert not fresh(failed.but(failed=False), 41.0)


@pytest.mark.parametrize(
    ("held", "request_", "what"),
    [
        (ROOT, Create(name="root", config=Config()), "content type"),
        (ROOT, Create(name="root", config=Config(content_type="text/plain", ttl=1)), "another time"),
        (ROOT, Create(name="root", config=Config(content_type="text/plain"), closed=True), "open"),
        (ROOT.but(closed=True), Create(name="root", config=Config(content_type="text/plain")), "closed"),
        (LEAF.but(name="root"), Create(name="root", config=Config(content_type="text/plain")), "fork"),
        (ROOT.but(deleted=True), Create(name="root", config=Config()), "deleted"),
    ],
)
def test_another_stream_of_that_name_is_described(held: State, request_: Create, what: str) -> None:
    with pytest.raises(NameTaken, match=what):
        create({"root": held}, request_, C, 0.0)


def test_a_forks_lineage_says_who_holds_what_and_whose_offsets_are_valid() -> None:
    states = {"leaf": LEAF, "root": ROOT}
    for position, lineage in ((5, (Piece(A, 4), Piece(B, 5))), (3, (Piece(A, 3), Piece(B, 3)))):
        request = Create(name="twig", config=Config(), source="leaf", position=position)
        twig = fork({**states, "twig": None}, request, C, 0.0).answer.state
        assert (twig.lineage, twig.tail, twig.own_start) == (lineage, position, position)


@pytest.mark.parametrize(
    ("source", "config", "ttl", "expires"),
    [
        (ROOT, Config(), None, None),
        (ROOT, Config(ttl=7), 7, 107.0),
        (ROOT, Config(expires_at=500.0), None, 500.0),
        (ROOT.but(ttl=9, expires=109.0), Config(), 9, 109.0),
        (ROOT.but(ttl=9, expires=109.0), Config(ttl=7), 7, 107.0),
        (ROOT.but(ttl=9, expires=109.0), Config(expires_at=500.0), None, 500.0),
        (ROOT.but(expires=300.0), Config(), None, 300.0),
        (ROOT.but(expires=300.0), Config(ttl=7), 7, 107.0),
        (ROOT.but(expires=300.0), Config(expires_at=500.0), None, 500.0),
    ],
)
def test_a_fork_lives_as_long_as_it_says_or_as_its_source(
    source: State, config: Config, ttl: int | None, expires: float | None
) -> None:
    request = Create(name="leaf", config=config, source="root", position=4)
    made = fork({"leaf": None, "root": source}, request, C, 100.0).answer.state
    assert (made.ttl, made.expires) == (ttl, expires)


def test_a_fork_cannot_begin_where_its_source_is_not() -> None:
    for position in (-1, 11, 2):
        request = Create(name="leaf", config=Config(), source="root", position=position)
        with pytest.raises(BadOffset):
            fork({"leaf": None, "root": ROOT.but(start=3)}, request, C, 0.0)


def test_the_last_fork_takes_its_deleted_ancestors_along() -> None:
    middle = LEAF.but(name="middle", forks=1, deleted=True)
    last = State("last", C, "text/plain", parent="middle")
    states = {"last": last, "middle": middle, "root": ROOT.but(deleted=True)}
    change = delete(states, "last", 0.0)
    assert [state.name for state in change.removed] == ["last", "middle", "root"]
    assert change.states == ()


def test_an_ancestor_that_lives_or_has_other_forks_stays() -> None:
    for root in (ROOT, ROOT.but(forks=2, deleted=True)):
        change = delete({"leaf": LEAF, "root": root}, "leaf", 0.0)
        assert [state.name for state in change.removed] == ["leaf"]
        assert change.states == (root.but(forks=root.forks - 1),)


def test_a_decision_asks_for_the_relatives_it_needs() -> None:
    with pytest.raises(IncompleteFamily) as missing:
        delete({"leaf": LEAF}, "leaf", 0.0)
    assert missing.value.name == "root"


def test_a_deleted_stream_with_forks_ends_its_lease() -> None:
    [after] = delete({"root": ROOT.but(tenure=Tenure("t", 0, 1.0))}, "root", 0.0).states
    assert (after.deleted, after.tenure) == (True, None)


def test_only_what_has_expired_is_swept() -> None:
    assert expire({"root": None}, "root", 9.0).answer is False
    assert expire({"root": ROOT.but(expires=10.0)}, "root", 9.0).empty
    assert expire({"root": ROOT.but(expires=9.0)}, "root", 9.0).states[0].deleted


def test_what_forks_need_is_trimmed_from_sight_only() -> None:
    assert trim(ROOT, 5).states[0].start == 5
    assert (trim(ROOT, 5).trim, trim(ROOT.but(forks=0), 5).trim) == (False, True)
    assert trim(ROOT.but(start=5), 5).empty


@pytest.mark.parametrize("content_type", ["text/plain\r\nx: y", "a\0b", "", "text/\u20ac"])
def test_a_content_type_that_no_header_can_carry_is_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header"):
        Config(content_type=content_type)
