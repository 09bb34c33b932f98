from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from millstream.errors import LifecycleError
from millstream.protocol.lifecycle import COMMITTED, FINAL, TRANSITIONS, Event, State, told

LATE = {Event.CLIENT_GONE, Event.CLIENT_DETACHED, Event.HALTED}
FLOWS = {State.WAITING, State.FLOWING}  # a client is there and the producer runs
PRODUCES = {*FLOWS, State.UNWATCHED}
SETTLES = {State.SETTLING, State.SETTLING_UNWATCHED}
ROWS = [(state, event, after) for state, row in TRANSITIONS.items() for event, after in row.items()]
PAIRS = list(product(State, Event))

Path = tuple[tuple[State, Event, State], ...]


def paths(state: State = State.WAITING, walked: Path = ()) -> Iterator[Path]:
    """Every way through the table that comes to no state twice: all but waiting about."""
    onward = [row for row in ROWS if row[0] is state and row[2] not in {state, *(step[0] for step in walked)}]
    if not onward:
        yield walked
    for row in onward:
        yield from paths(row[2], (*walked, row))


PATHS = list(paths())


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{s.value}+{e.value}" for s, e in PAIRS])
def test_every_state_takes_the_events_of_its_row_and_refuses_the_others(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert told(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(LifecycleError, match=f"is {state.name} cannot be told {event.name}"):
            told(state, event)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_is_reached() -> None:
    assert {State.WAITING, *(after for path in PATHS for _, _, after in path)} == set(State)


def test_every_row_lies_on_a_path_stays_where_it_is_or_starts_over() -> None:
    walked = {step for path in PATHS for step in path}
    assert {row for row in ROWS if row not in walked} == {
        row for row in ROWS if row[0] is row[2] or row[1] is Event.REPEATED
    }


def test_an_answer_starts_over_at_the_beginning_and_never_after_its_commit_or_without_its_client() -> None:
    repeated = [(state, after) for state, event, after in ROWS if event is Event.REPEATED]
    assert {after for _, after in repeated} == {State.WAITING}
    assert {state for state, _ in repeated} == {State.WAITING, State.SETTLING}


def test_every_event_is_known_somewhere() -> None:
    assert {event for _, event, _ in ROWS} == set(Event)


def test_every_path_ends_in_a_final_state_and_only_there() -> None:
    assert {path[-1][2] for path in PATHS} == FINAL
    assert not FINAL & {state for path in PATHS for state, _, _ in path}


@pytest.mark.parametrize("state", [state for state in State if state in FINAL])
def test_a_final_state_absorbs_what_comes_late_and_nothing_else(state: State) -> None:
    assert TRANSITIONS[state] == dict.fromkeys(LATE, state)


@pytest.mark.parametrize("state", State)
def test_whoever_leaves_or_halts_may_do_so_at_any_time(state: State) -> None:
    assert set(TRANSITIONS[state]) >= LATE


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_anything_may_break_before_the_end(state: State) -> None:
    assert TRANSITIONS[state][Event.BROKE] in FINAL


def test_nothing_is_delivered_that_was_not_committed() -> None:
    delivered = [path for path in PATHS if path[-1][2] is State.DELIVERED]
    assert delivered
    for path in delivered:
        events = [event for _, event, _ in path]
        assert events.index(Event.EXHAUSTED) < events.index(Event.COMMITTED) < events.index(Event.END_SENT)


def test_the_end_of_a_body_is_sent_from_one_state_which_only_a_commit_leads_to() -> None:
    assert {state for state, event, _ in ROWS if event is Event.END_SENT} == {State.ENDING}
    assert {event for _, event, after in ROWS if after is State.ENDING} == {Event.COMMITTED}


def test_whatever_ends_committed_was_committed_and_nothing_else_was() -> None:
    for path in PATHS:
        committed = any(event is Event.COMMITTED for _, event, _ in path)
        assert committed == (path[-1][2] in COMMITTED)


def test_nothing_is_undone_after_its_commit() -> None:
    assert all(after in COMMITTED for state, _, after in ROWS if state in COMMITTED)


def test_a_commit_happens_once_and_only_after_the_last_item() -> None:
    assert {state for state, event, _ in ROWS if event is Event.COMMITTED} == SETTLES
    assert {event for state, event, after in ROWS if after in SETTLES and state not in SETTLES} == {
        Event.EXHAUSTED
    }


def test_the_head_leaves_once_and_never_after_the_client() -> None:
    assert [(state, after) for state, event, after in ROWS if event is Event.HEAD_SENT] == [
        (State.WAITING, State.FLOWING)
    ]


def test_once_settling_began_nothing_from_outside_stops_it() -> None:
    for state, event in product(SETTLES, LATE):
        assert TRANSITIONS[state][event] in SETTLES


def test_a_client_that_leaves_while_we_settle_makes_the_end_unseen() -> None:
    state = told(State.SETTLING, Event.CLIENT_GONE)
    assert told(state, Event.COMMITTED) is State.UNSEEN


def test_a_halt_while_we_settle_leaves_the_end_to_be_seen() -> None:
    assert told(told(State.SETTLING, Event.HALTED), Event.COMMITTED) is State.ENDING


def test_a_vote_that_fails_is_a_failure_whoever_watches() -> None:
    assert {told(state, Event.BROKE) for state in SETTLES} == {State.FAILED}


def test_an_interrupted_producer_is_abandoned_wherever_it_stands() -> None:
    assert {told(state, event) for state, event in product(PRODUCES, [Event.CLIENT_GONE, Event.HALTED])} == {
        State.ABANDONED
    }


def test_nothing_is_sent_to_a_client_that_was_allowed_to_leave() -> None:
    sends = {Event.HEAD_SENT, Event.END_SENT}
    for path in PATHS:
        events = [event for _, event, _ in path]
        if Event.CLIENT_DETACHED in events:
            assert not sends & set(events[events.index(Event.CLIENT_DETACHED) :])


def test_a_producer_without_a_client_still_commits() -> None:
    state = told(State.FLOWING, Event.CLIENT_DETACHED)
    for event, after in [(Event.EXHAUSTED, State.SETTLING_UNWATCHED), (Event.COMMITTED, State.UNSEEN)]:
        assert (state := told(state, event)) is after
