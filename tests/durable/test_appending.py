from __future__ import annotations

import pytest

from millstream.durable.appending import Append, append, check_type, is_duplicate
from millstream.durable.refusals import (
    ContentTypeDiffers,
    EpochBeginsAtZero,
    LogRefused,
    SequenceGap,
    SequenceRegressed,
    StaleEpoch,
    StreamClosed,
)
from millstream.durable.state import Producer, Record, State, Tenure

OPEN = State("s", "1" * 16, "text/plain", tail=10)
CLOSER = Producer("p", 3, 7)
CLOSED = OPEN.but(closed=True, closer=CLOSER)


@pytest.mark.parametrize(
    ("known", "claim", "answer"),
    [
        (None, (0, 0), False),
        (None, (5, 0), False),
        (None, (0, 1), SequenceGap),
        ((3, 7), (3, 8), False),
        ((3, 7), (3, 7), True),
        ((3, 7), (3, 0), True),
        ((3, 7), (3, 9), SequenceGap),
        ((3, 7), (4, 0), False),
        ((3, 7), (9, 0), False),
        ((3, 7), (4, 1), EpochBeginsAtZero),
        ((3, 7), (2, 0), StaleEpoch),
        ((3, 7), (2, 8), StaleEpoch),
        ((3, -1), (3, 0), False),
    ],
)
def test_a_claim_is_new_or_known_or_refused(
    known: tuple[int, int] | None, claim: tuple[int, int], answer: bool | type[LogRefused]
) -> None:
    last = None if known is None else Producer("p", *known)
    if isinstance(answer, bool):
        assert is_duplicate(last, Producer("p", *claim)) is answer
    else:
        with pytest.raises(answer):
            is_duplicate(last, Producer("p", *claim))


@pytest.mark.parametrize(
    ("known", "request_", "answer"),
    [
        (CLOSER, Append(producer=CLOSER, close=True), "duplicate"),
        (CLOSER, Append(records=[b"other"], producer=CLOSER, close=True), "duplicate"),
        (None, Append(close=True), "duplicate"),
        (CLOSER, Append(producer=Producer("p", 2, 9), close=True), StaleEpoch),
        (CLOSER, Append(producer=Producer("p", 3, 8), records=[b"x"]), StreamClosed),
        (CLOSER, Append(producer=Producer("p", 3, 6), records=[b"x"]), StreamClosed),
        (None, Append(producer=Producer("q", 0, 0), close=True), StreamClosed),
        (None, Append(records=[b"x"], close=True), StreamClosed),
        (None, Append(records=[b"x"], content_type="application/json"), StreamClosed),
    ],
)
def test_a_closed_stream_knows_who_closed_it_and_nobody_else(
    known: Producer | None, request_: Append, answer: str | type[LogRefused]
) -> None:
    if isinstance(answer, str):
        change = append(CLOSED, known, request_, 0.0, 7)
        assert (change.answer.duplicate, change.empty) == (True, True)
    else:
        with pytest.raises(answer):
            append(CLOSED, known, request_, 0.0, 7)


def test_an_accepted_append_changes_everything_at_once() -> None:
    claim = Producer("p", 0, 0)
    request = Append(records=[b"ab", b"c"], producer=claim, seq="7", close=True)
    change = append(OPEN.but(ttl=60, tenure=Tenure("p", 0, 1.0)), None, request, 1000.0, 7)
    [after] = change.states
    assert (after.tail, after.closed, after.closer, after.seq) == (13, True, claim, "7")
    assert (after.expires, after.tenure) == (1060.0, None)
    assert change.records == [Record(12, b"ab"), Record(13, b"c")]
    assert (change.producer, change.answer.producer) == (claim, claim)


def test_a_failed_producer_leaves_a_failed_stream() -> None:
    change = append(OPEN, None, Append(records=[b"{}"], close=True, failed=True), 0.0, 7)
    assert (change.states[0].failed, change.states[0].closed) == (True, True)


def test_the_content_type_is_asked_before_the_producer_and_the_sequence_after_it() -> None:
    known = Producer("p", 0, 4)
    wrong = Append(records=[b"x"], content_type="text/html", producer=Producer("p", 0, 9))
    with pytest.raises(ContentTypeDiffers):
        append(OPEN, known, wrong, 0.0, 7)
    again = Append(records=[b"x"], producer=Producer("p", 0, 4), seq="0")
    assert append(OPEN.but(seq="5"), known, again, 0.0, 7).answer.duplicate


@pytest.mark.parametrize(("last", "found"), [("2", "10"), ("b", "B"), ("a", "a"), ("é", "z")])
def test_sequences_are_compared_byte_by_byte(last: str, found: str) -> None:
    with pytest.raises(SequenceRegressed):
        append(OPEN.but(seq=last), None, Append(records=[b"x"], seq=found), 0.0, 7)
    if last != found:
        append(OPEN.but(seq=found), None, Append(records=[b"x"], seq=last), 0.0, 7)


def test_a_content_type_is_the_same_whatever_its_capitals_and_parameters() -> None:
    check_type(OPEN, "Text/PLAIN; charset=utf-8")
    with pytest.raises(ContentTypeDiffers, match="text/plain, not text/html"):
        check_type(OPEN, "text/html")


def test_to_close_with_nothing_to_append_needs_no_content_type() -> None:
    change = append(OPEN, None, Append(close=True, content_type="image/png"), 0.0, 7)
    assert (change.states[0].closed, change.states[0].tail) == (True, 10)
