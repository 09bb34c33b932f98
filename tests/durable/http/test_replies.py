from __future__ import annotations

import json

import pytest

from millstream.durable.http.replies import STATUS, described, etag_of, matches, place, refusal
from millstream.durable.pages import Page
from millstream.durable.refusals import LogRefused, SequenceGap, StaleEpoch, StreamClosed
from millstream.durable.state import State
from millstream.errors import HTTPError

STATE = State("s", "f" * 16, "text/plain", tail=9)


def test_every_refusal_has_its_status() -> None:
    assert set(STATUS) == set(LogRefused.__subclasses__())


def test_a_refusal_is_a_problem_document_with_what_it_has_to_tell() -> None:
    status, headers, body = refusal(SequenceGap(3, 5))
    assert status == 409
    assert (b"producer-expected-seq", b"3") in headers
    assert (b"producer-received-seq", b"5") in headers
    assert json.loads(body) == {"title": "Conflict", "status": 409, "detail": str(SequenceGap(3, 5))}
    assert (b"producer-epoch", b"4") in refusal(StaleEpoch(4))[1]
    assert (b"stream-closed", b"true") in refusal(StreamClosed(STATE.but(closed=True)))[1]
    assert (b"retry-after", b"1") in refusal(HTTPError(503, headers={"Retry-After": "1"}))[1]


def test_a_streams_end_is_described_as_it_was_asked_for() -> None:
    assert (b"stream-ttl", b"60") in described(STATE.but(ttl=60, expires=99.0))
    assert (b"stream-expires-at", b"2026-01-31T12:00:00.000Z") in described(STATE.but(expires=1769860800.0))
    assert [name for name, _ in described(STATE)] == [b"content-type", b"stream-next-offset"]


def test_only_the_last_page_says_that_it_is() -> None:
    closed = STATE.but(closed=True, failed=True)
    assert dict(place(Page(closed, 0, 9, []), "o")) == {
        b"stream-next-offset": b"o",
        b"stream-up-to-date": b"true",
        b"stream-closed": b"true",
        b"stream-failed": b"true",
    }
    assert dict(place(Page(closed, 0, 5, []), "o")) == {b"stream-next-offset": b"o"}


def test_a_validator_changes_with_all_that_can_change() -> None:
    pages = [
        Page(STATE, 0, 9, []),
        Page(STATE.but(closed=True), 0, 9, []),
        Page(STATE, 0, 8, []),
        Page(STATE, 1, 9, []),
        Page(STATE.but(incarnation="e" * 16), 0, 9, []),
    ]
    assert len({etag_of(page) for page in pages}) == len(pages)


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (b'"a"', True),
        (b'W/"a"', True),
        (b'"b", "a"', True),
        (b" * ", True),
        (b'"b"', False),
        (b"a", False),
        (b"", False),
    ],
)
def test_a_condition_names_one_of_several_validators(condition: bytes, held: bool) -> None:
    assert matches(condition, b'"a"') is held
