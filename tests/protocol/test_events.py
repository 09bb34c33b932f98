from __future__ import annotations

import dataclasses

import pytest

from millstream.protocol.events import Progress, Reason, Statistics
from millstream.protocol.lifecycle import State

STATISTICS = Statistics(
    id="s1",
    route="Root.feed",
    client="127.0.0.1",
    state=State.FLOWING,
    reason=None,
    items=3,
    bytes=30,
    first_byte=0.1,
    duration=1.5,
    progress=None,
)


@pytest.mark.parametrize("fact", [STATISTICS, Progress(1)])
def test_a_fact_is_frozen(fact: Progress | Statistics) -> None:
    first = dataclasses.fields(fact)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fact, first, None)


def test_a_reason_reads_as_it_is_spelled_on_the_wire() -> None:
    assert f"{Reason.CLIENT_GONE}" == "client-gone"
    assert {str(reason) for reason in Reason} == {reason.value for reason in Reason}


def test_the_reasons_are_those_promised() -> None:
    assert [reason.value for reason in Reason] == [
        "completed", "failed", "client-gone", "stopped", "timed-out", "stalled", "shutdown", "revoked",
    ]  # fmt: skip


@pytest.mark.parametrize("state", State)
def test_only_a_stream_whose_end_was_seen_is_delivered(state: State) -> None:
    assert dataclasses.replace(STATISTICS, state=state).delivered == (state is State.DELIVERED)


def test_progress_needs_no_total() -> None:
    assert Progress(2) == Progress(done=2, total=None, note="")
