from __future__ import annotations

import json
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from millstream.errors import HTTPError, WrongResult
from millstream.web.problems import Problem, problem_of

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
PHRASE = HTTPStatus.UNPROCESSABLE_ENTITY.phrase  # which Python 3.13 has renamed, as RFC 9110 has
ERRORS = [{"field": "since", "message": "must be a date"}]


def raised(error: BaseException) -> BaseException:
    """The error, with a traceback."""
    try:
        raise error  # noqa: TRY301  to be raised is how it gets its traceback
    except BaseException as caught:  # noqa: BLE001  it is what was asked for
        return caught


def told(problem: Problem, accept: str | None = None) -> dict[str, Any]:
    kind, body = problem.render(accept)
    assert kind.endswith("json")
    document: dict[str, Any] = json.loads(body)
    return document


def page(problem: Problem) -> str:
    kind, body = problem.render(HTML)
    assert kind == "text/html; charset=utf-8"
    return body.decode()


def test_the_house_and_authors_errors_are_told_as_they_are() -> None:
    problem = problem_of(HTTPError(422, "some arguments are wrong", errors=ERRORS), debug=False)
    assert told(problem) == {
        "type": "about:blank",
        "title": PHRASE,
        "status": 422,
        "detail": "some arguments are wrong",
        "errors": ERRORS,
    }


def test_a_problem_without_details_has_only_what_rfc_9457_asks() -> None:
    assert told(problem_of(HTTPError(404), debug=True)) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
    }


@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("secret"), KeyboardInterrupt("secret")])
def test_the_text_of_an_exception_never_leaves_outside_debug(error: BaseException) -> None:
    problem = problem_of(raised(error), debug=False)
    assert problem.error.status == 500
    assert "secret" not in page(problem) + json.dumps(told(problem))


def test_an_authors_mistake_is_a_500_without_its_text() -> None:
    problem = problem_of(WrongResult(action="Root.secret", result=1), debug=False)
    assert told(problem) == {"type": "about:blank", "title": "Internal Server Error", "status": 500}


@pytest.mark.parametrize("error", [ValueError("what <went> wrong"), KeyboardInterrupt("what <went> wrong")])
def test_debug_tells_where_it_happened_in_both_forms(error: BaseException) -> None:
    problem = problem_of(raised(error), debug=True)
    traceback = "".join(told(problem)["traceback"])
    assert type(error).__name__ in traceback
    assert "in raised" in traceback
    assert "what &lt;went&gt; wrong" in page(problem)


def test_debug_tells_no_more_of_an_error_that_is_the_clients() -> None:
    assert "traceback" not in told(problem_of(raised(HTTPError(404)), debug=True))


def test_starlettes_exceptions_are_understood() -> None:
    problem = problem_of(HTTPException(418, "short and stout", {"x-pot": "tea"}), debug=False)
    assert (problem.error.status, problem.error.detail, problem.error.headers) == (
        418,
        "short and stout",
        {"x-pot": "tea"},
    )


@pytest.mark.parametrize("kind", [HTTPError, HTTPException])
@pytest.mark.parametrize("status", [101, 199, 200, 204, 600, 999])
def test_a_status_that_no_error_has_is_a_defect_that_is_logged(
    kind: type[HTTPError | HTTPException], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert problem_of(kind(status, ""), debug=False).error.status == 500
    assert f"it has the status {status}, which must be one from 300 to 599" in caplog.text


def test_a_detail_of_another_type_is_told_as_text() -> None:
    exception = HTTPException(400)
    exception.detail = {"a": 1}  # type: ignore[assignment]  # FastAPI's own take any
    problem = problem_of(exception, debug=False)
    assert told(problem)["detail"] == "{'a': 1}"
    assert "{&#x27;a&#x27;: 1}" in page(problem)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/json"),
        ("application/problem+json", "application/problem+json"),
        (HTML, "text/html; charset=utf-8"),
        ("text/html;q=0.1, application/json", "application/json"),
        ("image/png", "application/problem+json"),
        ("\xff", "application/problem+json"),
    ],
)
def test_the_client_chooses_the_form_and_always_gets_one(accept: str | None, kind: str) -> None:
    assert Problem(HTTPError(404)).render(accept)[0] == kind


def test_a_page_says_all_that_the_document_says() -> None:
    said = page(Problem(HTTPError(422, "some arguments are wrong", errors=[*ERRORS, {}])))
    for text in (f"422 {PHRASE}", "some arguments are wrong", "since", "must be a date"):
        assert text in said


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    problem = Problem(HTTPError(400, f"<script>{text}", errors=[{"field": "<b>", "message": "<i>"}]))
    said = problem.render(HTML)[1]
    assert b"<script>" not in said
    assert b"<b>" not in said
    assert b"<i>" not in said


@given(st.text(st.characters(codec=None)))
def test_whatever_a_client_sent_can_come_back_in_a_text(text: str) -> None:
    problem = Problem(HTTPError(400, text))
    problem.render(HTML)
    assert told(problem).get("detail", "") == text


def test_the_fields_of_an_error_may_be_any_mapping() -> None:
    fields = MappingProxyType({"field": "x"})
    assert told(Problem(HTTPError(422, errors=[fields])))["errors"] == [{"field": "x"}]
