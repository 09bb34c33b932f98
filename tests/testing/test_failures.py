from __future__ import annotations

import pytest

from millstream import testing
from millstream.errors import MillstreamError
from millstream.testing.failures import (
    BodyTruncated,
    CheckFailed,
    Leaked,
    LifespanFailed,
    Misused,
    ProtocolViolation,
    ServerFailed,
    StillRunning,
    TimedOut,
    raise_or_note,
)

TEXTS = [
    (BodyTruncated("GET /", "no end"), "GET /: the body broke off: no end"),
    (Leaked(["a", "b"]), "left over: a; b"),
    (LifespanFailed("start-up", "no"), "the application's start-up failed: no"),
    (ProtocolViolation("GET /", "a rule"), "GET /: a rule"),
    (ServerFailed("it did not"), "it did not"),
    (ServerFailed("it did not", log="a line"), "it did not; its log:\na line"),
    (
        StillRunning("GET /", since="its end", seconds=2.0, stands_at="f"),
        "GET /: the application's call still ran 2 s after its end; it stood at f and was cancelled",
    ),
    (TimedOut("GET /", what="x", seconds=0.5), "GET /: waited 0.5 s for x"),
    (TimedOut("GET /", what="x", seconds=0.5, meanwhile="y"), "GET /: waited 0.5 s for x; y"),
]


@pytest.mark.parametrize(("failure", "text"), TEXTS)
def test_a_failed_check_is_one_sentence_and_both_an_assertion_and_of_the_house(
    failure: CheckFailed, text: str
) -> None:
    assert str(failure) == text
    assert isinstance(failure, MillstreamError)
    assert isinstance(failure, AssertionError)


def test_a_misuse_is_no_failed_check() -> None:
    assert not issubclass(Misused, AssertionError)
    assert issubclass(Misused, MillstreamError)


def test_a_problem_is_raised_or_noted_on_the_earlier_one() -> None:
    problem, earlier = ValueError("late"), KeyError("early")
    raise_or_note(None, earlier)
    raise_or_note(earlier, earlier)
    raise_or_note(problem, earlier)
    assert earlier.__notes__ == ["While closing: ValueError: late"]
    with pytest.raises(ValueError, match="late"):
        raise_or_note(problem, None)


def test_the_public_names_are_sorted_and_there() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)
