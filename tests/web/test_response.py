from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest

from millstream.errors import HeadAlreadySent
from millstream.web.response import Response

FORGED = ["a\r\nX-Forged: 1", "a\nb", "a\rb", "a\0b"]


def test_a_response_nobody_touched_is_a_200_with_no_headers() -> None:
    response = Response()
    assert (response.status, response.raw_headers, response.content_type) == (200, [], None)


@pytest.mark.parametrize("value", [201, "201", "201 Created", HTTPStatus.CREATED])
def test_a_status_is_understood_as_number_and_as_webob_spells_it(value: int | str) -> None:
    response = Response()
    response.status = value
    assert response.status == response.status_int == response.status_code == 201


@pytest.mark.parametrize("name", ["status", "status_int", "status_code"])
def test_a_status_is_set_by_each_of_its_names(name: str) -> None:
    response = Response()
    setattr(response, name, 404)
    assert response.status == 404


@pytest.mark.parametrize("value", [0, 99, 100, 199, 600, 1000, -200, "", "Created", "²00", True, "2000"])
def test_what_is_no_status_of_a_response_is_refused_where_it_is_set(value: int | str) -> None:
    response = Response()
    with pytest.raises(ValueError, match="it must be a number from 200 to 599"):
        response.status = value
    assert response.status == 200


def test_the_content_type_is_one_of_the_headers() -> None:
    response = Response()
    response.content_type = "text/csv"
    assert response.headers["Content-Type"] == response.content_type == "text/csv"


def test_a_cookie_is_a_header_and_two_are_two() -> None:
    response = Response()
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    names = [name for name, _ in response.cookies_and_headers()]
    assert names == [b"set-cookie", b"set-cookie"]
    assert response.headers.getlist("set-cookie")[1].startswith("b=2; HttpOnly")


def test_a_cookie_can_be_taken_back() -> None:
    response = Response()
    response.delete_cookie("a")
    assert "Max-Age=0" in response.headers["set-cookie"]


def test_what_the_author_set_does_not_change_with_what_is_set_later() -> None:
    response = Response()
    response.headers["a"] = "1"
    told = response.cookies_and_headers()
    response.headers["b"] = "2"
    assert list(told) == [(b"a", b"1")]


def test_the_current_object_of_a_response_is_itself() -> None:
    response = Response()
    assert response._current_obj() is response


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize(
    "change",
    [
        lambda response, text: response.headers.__setitem__("x", text),
        lambda response, text: response.headers.__setitem__(text, "x"),
        lambda response, text: response.headers.setdefault("x", text),
        lambda response, text: response.headers.setdefault(text, "x"),
        lambda response, text: response.headers.append("x", text),
        lambda response, text: response.headers.append(text, "x"),
        lambda response, text: response.headers.update({"x": text}),
        lambda response, text: response.set_cookie("x", path=text),
        lambda response, text: response.set_cookie("x", domain=text),
        lambda response, text: setattr(response, "content_type", text),
    ],
)
def test_a_header_that_would_forge_another_is_refused(
    change: Callable[[Response, str], Any], text: str
) -> None:
    response = Response()
    with pytest.raises(ValueError, match=r"line break|Control characters"):
        change(response, text)
    assert response.raw_headers == []


@pytest.mark.parametrize("text", FORGED)
def test_a_cookies_value_may_hold_anything_and_forges_nothing(text: str) -> None:
    response = Response()
    try:
        response.set_cookie("x", text)
    except Exception as refused:  # noqa: BLE001  newer Pythons refuse what older ones escape
        assert type(refused).__name__ == "CookieError"
    else:
        assert not {"\r", "\n", "\0"} & set(response.headers["set-cookie"])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda response: setattr(response, "status", 404), "the status"),
        (lambda response: setattr(response, "status_code", 404), "the status"),
        (lambda response: setattr(response, "content_type", "text/csv"), "the header content-type"),
        (lambda response: response.headers.__setitem__("x", "2"), "the header x"),
        (lambda response: response.headers.__delitem__("x"), "the header x"),
        (lambda response: response.headers.setdefault("y", "2"), "the header y"),
        (lambda response: response.headers.append("x", "2"), "the header x"),
        (lambda response: response.headers.update({"x": "2"}), "the header x"),
        (lambda response: response.headers.add_vary_header("x"), "the header vary"),
        (lambda response: response.set_cookie("a", "1"), "a cookie"),
        (lambda response: response.delete_cookie("a"), "a cookie"),
    ],
)
def test_nothing_can_be_changed_after_the_head_has_left(change: Callable[[Response], Any], what: str) -> None:
    response = Response()
    response.headers["x"] = "1"
    response.sent()
    with pytest.raises(HeadAlreadySent, match=f"^{what} cannot be changed"):
        change(response)
    assert (response.status, list(response.raw_headers)) == (200, [(b"x", b"1")])


def test_headers_can_be_taken_back_until_the_head_leaves() -> None:
    response = Response()
    response.headers["x"] = "1"
    del response.headers["x"]
    assert "x" not in response.headers


def test_what_was_set_can_be_read_after_the_head_has_left() -> None:
    response = Response()
    response.headers["x"] = "1"
    response.sent()
    assert (response.headers["X"], response.status) == ("1", 200)


@pytest.mark.parametrize("text", ["/; Domain=evil.example", "/\x0b", "/;", "é"])
@pytest.mark.parametrize("attribute", ["path", "domain", "expires", "max_age"])
def test_a_cookies_attribute_cannot_add_another_attribute(attribute: str, text: str) -> None:
    response = Response()
    with pytest.raises(ValueError, match=f"'a' was given the {attribute}"):
        response.set_cookie("a", "b", **{attribute: text})  # type: ignore[arg-type]  # as a request may have it
    with pytest.raises(ValueError, match="'a' was given the path"):
        response.delete_cookie("a", path="/; Secure")
    assert response.raw_headers == []


@pytest.mark.parametrize("samesite", ["strict; Domain=evil.example", "LAX;", "never"])
def test_a_cookies_samesite_is_one_of_three(samesite: Any) -> None:
    with pytest.raises(ValueError, match="samesite"):
        Response().set_cookie("a", "b", samesite=samesite)


@pytest.mark.parametrize("name", ["Content-Length", "content-type"])
def test_a_header_that_can_be_said_once_is_not_appended_to(name: str) -> None:
    response = Response()
    response.headers.append(name, "1")
    with pytest.raises(ValueError, match="was set already"):
        response.headers.append(name, "2")
    assert len(response.raw_headers) == 1


@pytest.mark.parametrize(
    ("attribute", "instead"),
    [
        ("etag", r"use response.headers\['ETag'\]"),
        ("location", r"use response.headers\['Location'\]"),
        ("content_disposition", r"use response.headers\['Content-Disposition'\]"),
        ("last_modified", r"use response.headers\['Last-Modified'\]"),
        ("cache_control", r"use response.headers\['Cache-Control'\]"),
        ("www_authenticate", r"use response.headers\['WWW-Authenticate'\]"),
        ("charset", "response.content_type"),
        ("body", "return the body"),
        ("app_iter", "return the body"),
        ("background", "stream.on_end"),
        ("headerlist", "response.headers"),
        ("cache_expires", "Cache-Control"),
        ("signed_cookie", "SessionMiddleware"),
        ("contenttype", "did you mean 'content_type'"),
        ("stauts", "did you mean 'status'"),
        ("cookie", "did you mean 'set_cookie'"),
        ("zzz", "set a header with response.headers"),
    ],
)
def test_an_attribute_that_means_nothing_is_refused_with_the_way_out(attribute: str, instead: str) -> None:
    response = Response()
    with pytest.raises(AttributeError, match=f"^response has no attribute '{attribute}': .*{instead}"):
        setattr(response, attribute, "x")
    if not hasattr(Response, attribute):
        with pytest.raises(AttributeError, match=instead):
            getattr(response, attribute)
    assert response.raw_headers == []


def test_a_method_of_webobs_headers_is_refused_with_the_way_out() -> None:
    with pytest.raises(AttributeError, match=r"response.headers.append"):
        Response().headers.add("a", "b")  # type: ignore[attr-defined]  # that is the mistake
