from __future__ import annotations

import pytest

from millstream.errors import Truncated
from millstream.testing.problems import ClientGone, Problems


def raised(error: BaseException, *, wanted: bool = True) -> BaseException | None:
    """What is still to be told of an application that raised this."""
    problems = Problems("GET /", raise_app_errors=wanted)
    problems.app_error = error
    return problems.last()


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def test_an_error_of_the_application_is_told_unless_nobody_wants_it() -> None:
    error = ValueError()
    assert raised(error) is error
    assert raised(error, wanted=False) is None


def test_what_the_kit_itself_provoked_is_no_news() -> None:
    assert raised(ClientGone()) is None
    assert raised(caused(RuntimeError(), ClientGone())) is None
    assert raised(Truncated("Root.index", "failed")) is None


def test_a_group_is_news_when_one_of_its_members_is() -> None:
    news = ExceptionGroup("", [ClientGone(), ExceptionGroup("", [ValueError()])])
    assert raised(news) is news
    assert raised(ExceptionGroup("", [ClientGone(), Truncated("", "")])) is None


def test_a_chain_that_bites_its_tail_is_followed_once() -> None:
    error = ValueError()
    assert raised(caused(error, caused(KeyError(), error))) is error


def test_each_problem_is_told_once_and_the_first_first() -> None:
    problems = Problems("GET /", raise_app_errors=True)
    first, second = ValueError("first"), ValueError("second")
    for problem in (first, second, first, None):
        problems.add(problem)
    with pytest.raises(ValueError, match="first"):
        problems.tell()
    assert problems.last() is second
    problems.add(first)
    assert not problems


def test_what_broke_the_body_off_is_its_cause_and_told_with_it() -> None:
    problems = Problems("GET /", raise_app_errors=True)
    problems.app_error = ValueError("item 3")
    truncated = problems.truncated("it ended early")
    assert str(truncated) == "GET /: the body broke off: it ended early: ValueError: item 3"
    assert truncated.__cause__ is problems.app_error
    assert problems.last() is None
