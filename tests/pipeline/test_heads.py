from __future__ import annotations

from http import HTTPStatus

import pytest

from millstream.errors import HeadAlreadySent, HTTPError
from millstream.pipeline.heads import Described, file_head, problem_head, stream_head, whole_head
from millstream.protocol.ports import Head
from millstream.web.response import Response

CSV = Described("text/csv")


def said(status: int = 200, **headers: str) -> Response:
    response = Response()
    response.status = status
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def whole(response: Response, status: int | None = None, content_type: str | None = "text/html") -> Head:
    return whole_head(response, Described(content_type), 5, "GET", status=status)


def test_a_stream_tells_proxies_to_let_it_pass() -> None:
    head = stream_head(said(), CSV, "GET")
    assert dict(head.headers) == {
        "content-type": "text/csv",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store, no-transform",
        "x-accel-buffering": "no",
    }


def test_what_the_author_says_goes_before_what_the_house_adds() -> None:
    author = said(201, content_type="text/tab-separated-values", cache_control="max-age=60", x_mine="1")
    head = stream_head(author, CSV, "GET")
    assert head.status == 201
    assert head.headers["content-type"] == "text/tab-separated-values"
    assert head.headers["cache-control"] == "max-age=60"
    assert head.headers["x-mine"] == "1"


def test_every_cookie_of_the_author_leaves() -> None:
    author = said()
    author.set_cookie("a", "1")
    author.set_cookie("b", "2")
    assert len(stream_head(author, CSV, "GET").headers.getlist("set-cookie")) == 2


@pytest.mark.parametrize("make", ["stream", "whole"])
def test_an_answer_that_was_negotiated_says_by_what(make: str) -> None:
    author, described = said(vary="Cookie"), Described("text/csv", negotiated=True)
    head = (
        stream_head(author, described, "GET") if make == "stream" else whole_head(author, described, 5, "GET")
    )
    assert head.headers["vary"] == "Cookie, Accept"


@pytest.mark.parametrize("make", ["stream", "whole"])
def test_once_there_is_a_head_the_author_cannot_change_it(make: str) -> None:
    author = said()
    head = stream_head(author, CSV, "GET") if make == "stream" else whole(author)
    head.headers["x-house"] = "1"
    with pytest.raises(HeadAlreadySent):
        author.status = 404
    assert "x-house" not in author.headers


def test_a_whole_body_tells_its_length_and_may_be_cached() -> None:
    assert dict(whole(said()).headers) == {
        "content-type": "text/html",
        "content-length": "5",
        "x-content-type-options": "nosniff",
    }


def test_a_length_the_author_told_gives_way_to_the_true_one() -> None:
    assert whole(said(content_length="99")).headers["content-length"] == "5"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_tells_no_length(status: int) -> None:
    assert dict(whole(said(), status, None).headers) == {}
    author = said(status, content_length="5")
    heads = [
        whole(author),
        stream_head(author, CSV, "GET"),
        file_head(author, CSV, {"content-length": "5"}, "GET"),
        problem_head(HTTPError(status, headers={"Content-Length": "5"}), "text/plain", 5, "GET"),
    ]
    assert [head for head in heads if "content-length" in head.headers] == []


@pytest.mark.parametrize(
    ("authors", "results", "sent"),
    [
        (200, None, 200),
        (200, 204, 204),
        (202, None, 202),
        (202, 204, 202),
        (200, 303, 303),
        (201, 303, 303),
        (404, 304, 304),
    ],
)
def test_the_author_says_the_status_unless_it_leads_elsewhere(
    authors: int, results: int | None, sent: int
) -> None:
    assert whole(said(authors), results).status == sent


def test_a_problem_tells_what_its_error_does_and_that_accept_chose_its_form() -> None:
    error = HTTPError(405, headers={"Allow": "GET", "Content-Type": "text/csv"})
    head = problem_head(error, "application/problem+json", 7, "POST")
    assert head.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert dict(head.headers) == {
        "allow": "GET",
        "content-type": "application/problem+json",
        "content-length": "7",
        "x-content-type-options": "nosniff",
        "vary": "Accept",
    }


def test_a_problem_without_a_body_describes_none() -> None:
    assert dict(problem_head(HTTPError(304), "text/html", 7, "GET").headers) == {"vary": "Accept"}


def test_a_file_is_described_by_its_facts_and_may_be_kept() -> None:
    facts = {"etag": '"1"', "content-length": "7", "accept-ranges": "bytes"}
    head = file_head(said(etag='"own"'), CSV, facts, "GET")
    described = {"content-type": "text/csv", "x-content-type-options": "nosniff"}
    assert dict(head.headers) == {**facts, **described, "etag": '"own"'}


NAMED = Described("text/csv", disposition='attachment; filename="a.csv"')


@pytest.mark.parametrize("status", [200, 201, 303])
def test_what_is_to_be_saved_is_named_where_it_is_sent(status: int) -> None:
    head = whole_head(said(), NAMED, 5, "GET", status=status)
    assert head.headers.get("content-disposition") == (NAMED.disposition if status < 300 else None)


def test_an_author_may_say_the_disposition() -> None:
    head = stream_head(said(content_disposition="inline"), NAMED, "GET")
    assert head.headers["content-disposition"] == "inline"
