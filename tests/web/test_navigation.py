from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import HTTPError, HTTPRedirect, OutsideRequest
from millstream.web.navigation import abort, redirect, url
from millstream.web.proxies import Binding
from millstream.web.request import Request


@contextmanager
def answering(path: str = "/here/now", root_path: str = "", host: str = "mill.example") -> Iterator[None]:
    """As within a request."""
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "https",
        "server": ("127.0.0.1", 443),
        "path": root_path + path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", host.encode())],
    }
    nothing: Any = None  # an address depends on the request alone
    binding = Binding.bind(Request(scope), nothing, nothing)
    try:
        yield
    finally:
        binding.release()


@pytest.mark.parametrize(
    ("base", "params", "expected"),
    [
        ("/", None, "/"),
        ("/a/b", {}, "/a/b"),
        ("a/b", None, "a/b"),
        ("/a", {"x": 1, "y": "ü &"}, "/a?x=1&y=%C3%BC+%26"),
        ("/a", {"x": [1, 2], "y": (3,)}, "/a?x=1&x=2&y=3"),
        ("/a", {"x": None, "y": [None, 1], "z": []}, "/a?y=1"),
        ("/a?b=1", {"x": 2}, "/a?b=1&x=2"),
        ("/a#top", {"x": 2}, "/a?x=2#top"),
        (["/users", "a/b", "ü?"], None, "/users/a%2Fb/%C3%BC%3F"),
        (["/users/", 7], None, "/users/7"),
        (["/", "x"], None, "/x"),
        (["/sub2", "list"], None, "/sub2/list"),
        (["100%"], None, "100%"),
        (["/p", "100%"], None, "/p/100%25"),
        ("/ü b", None, "/%C3%BC%20b"),
        ("/a%20b", None, "/a%20b"),
        ("https://other.example/x?y=1", {"z": 2}, "https://other.example/x?y=1&z=2"),
        ("/\\evil.example", None, "/%5Cevil.example"),
        ("/a\r\nSet-Cookie: x=1", None, "/a%0D%0ASet-Cookie:%20x=1"),
        ("/a", {"x": "\r\n\0"}, "/a?x=%0D%0A%00"),
    ],
)
def test_a_url_says_where(base: Any, params: Any, expected: str) -> None:
    assert url(base, params) == expected


@pytest.mark.parametrize("segment", [".", ".."])
def test_a_segment_that_a_browser_would_resolve_is_refused(segment: str) -> None:
    with pytest.raises(ValueError, match="a browser would resolve"):
        url(["/files", segment])


def test_only_absolute_paths_get_the_mount_in_front() -> None:
    with answering(root_path="/app"):
        assert url("/a") == "/app/a"
        assert url() == "/app/"
        assert url("a") == "a"
        assert url(["/a", "b"]) == "/app/a/b"
        assert url("https://other.example/") == "https://other.example/"
        assert url("//other.example/") == "//other.example/"


def test_a_qualified_url_has_scheme_and_host() -> None:
    with answering(root_path="/app"):
        assert url("/a", {"x": 1}, qualified=True) == "https://mill.example/app/a?x=1"
        assert url("next", qualified=True) == "https://mill.example/app/here/next"
        assert url("../up", qualified=True) == "https://mill.example/app/up"
        assert url("//other.example/", qualified=True) == "https://other.example/"
        assert url("http://other.example/", qualified=True) == "http://other.example/"


def test_without_a_request_there_is_no_host_to_qualify_with() -> None:
    with pytest.raises(OutsideRequest):
        url("/a", qualified=True)


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_a_url_never_holds_what_could_forge_a_header(base: str, params: dict[str, str]) -> None:
    assert all("\x20" < character < "\x7f" for character in url(base, params))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(min_size=1)))
def test_params_arrive_as_they_were_given(params: dict[str, str]) -> None:
    fields = parse_qs(urlsplit(url("/a", params)).query, keep_blank_values=True)

    assert fields == {name: [value] for name, value in params.items()}


def test_a_surrogate_in_a_param_is_replaced() -> None:
    assert url("/a", {"x": "\udc80"}) == "/a?x=%3F"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_to_the_url(status: int) -> None:
    with answering(root_path="/app"), pytest.raises(HTTPRedirect) as raised:
        redirect("/login", {"came_from": "/x"}, status=status)

    assert raised.value.status == status
    assert raised.value.headers == {"Location": "/app/login?came_from=%2Fx"}


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_a_redirect_needs_a_status_that_redirects(status: int) -> None:
    with pytest.raises(ValueError, match="301, 302, 303, 307 or 308"):
        redirect("/", status=status)


ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "//evil.example/https://mill.example/",
    "https://evil.example",
    "HTTPS://evil.example/",
    "http://mill.example/",  # another scheme is another origin
    "https://mill.example.evil.example/",
    "https://mill.example@evil.example/",
    "https://mill.example:444/",
    "https:/evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    ["/", "", "evil.example"],
    ["//evil.example", "x"],
]


@pytest.mark.parametrize("base", ELSEWHERE, ids=str)
def test_a_redirect_stays_at_its_origin_unless_it_is_asked_to_leave(base: Any) -> None:
    with answering(), pytest.raises(ValueError, match=r"other_origin=True"):
        redirect(base)
    with answering(), pytest.raises(HTTPRedirect):
        redirect(base, other_origin=True)


@pytest.mark.parametrize(
    "base",
    [
        "https://mill.example",
        "https://mill.example/x",
        "https://mill.example?x",
        "/\\evil.example",
        "\\\\evil",
        "a",
    ],
)
def test_a_redirect_within_its_origin_needs_no_word(base: str) -> None:
    with answering(), pytest.raises(HTTPRedirect):
        redirect(base)


def test_a_redirect_outside_a_request_has_no_origin_to_stay_at() -> None:
    with pytest.raises(ValueError, match="leads to another origin"):
        redirect("https://mill.example/")


def test_a_redirect_cannot_forge_a_header() -> None:
    with pytest.raises(HTTPRedirect) as raised:
        redirect("/a\r\nSet-Cookie: x=1")

    assert raised.value.location == "/a%0D%0ASet-Cookie:%20x=1"


def test_abort_raises_what_it_was_told() -> None:
    with pytest.raises(HTTPError) as raised:
        abort(HTTPStatus.NOT_FOUND, "no such flight", headers={"X-Reason": "gone"})

    assert (raised.value.status, raised.value.detail) == (404, "no such flight")
    assert raised.value.headers == {"X-Reason": "gone"}


@pytest.mark.parametrize("status", [0, 99, 200, 299, 600, -404])
def test_abort_needs_a_status_that_is_not_a_success(status: int) -> None:
    with pytest.raises(ValueError, match="from 300 to 599"):
        abort(status)


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A\n": "1"}, {"X-A": "\0"}])
def test_abort_cannot_forge_a_header(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        abort(404, headers=headers)
