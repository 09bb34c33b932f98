from __future__ import annotations

from dataclasses import replace

import pytest

from millstream.durable.leasing import Lease, covered, own_token, reap, renew, stop, take_over
from millstream.durable.refusals import LeaseLost
from millstream.durable.state import Producer, Record, State, Tenure

TENURE = Tenure("t", 0, 30.0, will=b"died")
RUN = State("s", "1" * 16, "text/plain", tail=5, tenure=TENURE)
LEASE = Lease(RUN, TENURE)
OTHER_LIFE = RUN.but(incarnation="2" * 16)


def test_a_renewal_is_a_beat_and_nothing_else() -> None:
    change = renew(RUN, LEASE)
    assert change.answer == RUN.but(tenure=Tenure("t", 0, 30.0, 1, b"died"))
    assert change.records == ()


@pytest.mark.parametrize(
    "state", [None, RUN.but(tenure=None), OTHER_LIFE, RUN.but(tenure=Tenure("t", 1, 30.0))]
)
def test_a_lease_that_is_lost_is_not_renewed(state: State | None) -> None:
    with pytest.raises(LeaseLost):
        renew(state, LEASE)


def test_who_takes_over_fences_off_whoever_it_was_before() -> None:
    change = take_over(RUN, RUN, 7)
    assert change.producer == Producer("t", 1, -1)
    assert change.answer.claim(0) == Producer("t", 1, 0)
    assert change.answer.tenure.beat == 1


def test_a_reaped_run_ends_with_its_will_and_has_failed() -> None:
    change = reap(RUN.but(ttl=60, expires=1.0), RUN, 1000.0, 7)
    after = change.answer
    assert (after.closed, after.failed, after.tenure, after.expires) == (True, True, None, 1060.0)
    assert change.records == [Record(9, b"died")]
    assert change.producer == Producer("t", 1, -1)


def test_a_run_without_a_will_is_closed_all_the_same() -> None:
    silent = RUN.but(tenure=Tenure("t", 0, 30.0))
    change = reap(silent, silent, 0.0, 7)
    assert (change.records, change.answer.closed) == ([], True)


@pytest.mark.parametrize(
    "state", [None, RUN.but(tenure=None), OTHER_LIFE, RUN.but(tenure=Tenure("t", 0, 30.0, 1, b"died"))]
)
def test_nobody_is_buried_who_gave_a_sign_of_life(state: State | None) -> None:
    with pytest.raises(LeaseLost):
        reap(state, RUN, 0.0, 7)
    with pytest.raises(LeaseLost):
        take_over(state, RUN, 7)


def test_an_append_between_two_looks_is_no_beat() -> None:
    assert reap(RUN.but(tail=50), RUN, 0.0, 7).answer.closed


def test_to_stop_twice_changes_nothing_the_second_time() -> None:
    assert stop(RUN).answer.stopping
    assert stop(RUN.but(stopping=True)).empty
    assert stop(RUN.but(closed=True)).empty


def test_claims_are_counted_in_each_lease() -> None:
    assert replace(LEASE, tenure=Tenure("t", 4, 1.0)).claim(2) == Producer("t", 4, 2)
    assert LEASE.name == "s"


def test_what_one_producer_wrote_has_one_token_and_its_successors_have_their_own() -> None:
    second = take_over(RUN, RUN, 7).answer
    assert (own_token(RUN), own_token(second.state)) == ("1" * 16, f"{7:016x}")
    assert [second.offset_at(place) for place in (4, 5)] == [LEASE.offset_at(place) for place in (4, 5)]
    assert second.offset_at(6) == f"{6:016d}_{7:016x}"
    assert second.state.next_offset == RUN.next_offset
    third = take_over(second.state.but(tail=9, token=7), second.state, 8).answer
    assert [third.offset_at(place)[17:] for place in (5, 6, 9, 10)] == [
        "1" * 16,
        f"{7:016x}",
        f"{7:016x}",
        f"{8:016x}",
    ]


def test_a_run_is_what_it_was_up_to_where_it_was_taken_over() -> None:
    second = take_over(RUN, RUN, 7).answer.state.but(tail=9, token=7)
    assert covered(RUN, own_token(RUN)) == 5
    assert covered(second, own_token(RUN)) == 5
    assert covered(second, own_token(second)) == 9
    assert covered(second, "2" * 16) == -1
    ended = reap(second, second, 0.0, 8).answer
    assert [covered(ended, token) for token in (own_token(RUN), own_token(second), own_token(ended))] == [
        5,
        9,
        13,
    ]
