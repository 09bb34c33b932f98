from __future__ import annotations

import inspect
import pickle
import re
from fractions import Fraction
from http import HTTPStatus

import pytest

from millstream import errors
from millstream.errors import (
    ConfigurationError,
    ControllerError,
    HeadAlreadySent,
    HTTPError,
    HTTPRedirect,
    LifecycleError,
    MillstreamError,
    OutsideRequest,
    Overloaded,
    StreamInterrupted,
    Truncated,
    UnreadableValue,
    WrongItem,
    WrongLength,
    WrongResult,
)

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, BaseException) and cls.__module__ == errors.__name__
}
DRAWN = re.compile(r"^ {4}(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:$| {2}| \()", re.MULTILINE)


def drawn_parents() -> dict[str, str]:
    """Who stands under whom in the drawing; a root under itself."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in DRAWN.finditer(inspect.getdoc(errors) or ""):
        depth = len(line["branch"]) // 4
        del above[depth:]
        parents[line["name"]] = above[-1] if above else line["name"]
        above.append(line["name"])
    return parents


def test_the_tree_is_as_it_is_drawn() -> None:
    parents = drawn_parents()
    assert parents.keys() == CLASSES.keys()
    for name, parent in parents.items():
        assert CLASSES[name].__bases__[0] is (CLASSES[parent] if parent != name else CLASSES[name].__base__)


def test_only_an_interruption_is_no_error_of_ours() -> None:
    assert [name for name, cls in CLASSES.items() if not issubclass(cls, MillstreamError)] == [
        "StreamInterrupted"
    ]


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (WrongItem, TypeError),
        (WrongResult, TypeError),
        (UnreadableValue, ValueError),
        (UnreadableValue, LookupError),
        (OutsideRequest, RuntimeError),
        (StreamInterrupted, GeneratorExit),
    ],
)
def test_whoever_knows_python_catches_it_as_what_it_is(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            WrongItem(action="Root.feed", codec="raw", item=3, expected="str or bytes"),
            "Root.feed yielded int, but its codec 'raw' takes str or bytes",
        ),
        (
            WrongItem(action="Root.feed", codec="raw", item=Fraction(1), expected="str"),
            "Root.feed yielded fractions.Fraction, but its codec 'raw' takes str",
        ),
        (
            WrongResult(action="Root.index", result=7),
            (
                "Root.index returned int, which is no response: return None, str, bytes, a dict, "
                "a generator, any iterable, or a Starlette Response, "
                "or say what it is with Millstream(adapters=...)"
            ),
        ),
        (
            WrongLength(action="Root.dump", declared=50, by="Content-Length", size=60),
            (
                "Root.dump declares a body of 50 bytes by Content-Length, but at least 60 bytes came: "
                "declare the exact length, or none"
            ),
        ),
        (
            WrongLength(action="Root.dump", declared=50, by="Content-Length", size=40),
            (
                "Root.dump declares a body of 50 bytes by Content-Length, but only 40 bytes came: "
                "declare the exact length, or none"
            ),
        ),
        (
            HeadAlreadySent("the status"),
            "the status cannot be changed: the head of this response was sent with its first item",
        ),
        (
            UnreadableValue(column="due", value="", why="a reason", row=8500),
            "the column 'due' of row 8,500 holds '', which is no value of its type: a reason",
        ),
        (
            UnreadableValue(column="due", value="", why="no date"),
            "the column 'due' holds '', which is no value of its type: no date",
        ),
        (HTTPError(404), "404 Not Found"),
        (HTTPError(404, "no such order"), "404 Not Found: no such order"),
        (HTTPError(599), "599 Error"),
        (HTTPRedirect("/login"), "302 Found"),
        (Overloaded("too many"), "503 Service Unavailable: too many"),
        (
            OutsideRequest("stream"),
            "stream was used outside a request: it has a value only while an action or its stream runs",
        ),
        (LifecycleError("DELIVERED", "ITEM"), "a stream that is DELIVERED cannot be told ITEM"),
        (
            Truncated("Root.feed", "failed"),
            "the body of Root.feed was broken off on purpose: failed",
        ),
        (ConfigurationError("the setting x is wrong"), "the setting x is wrong"),
    ],
)
def test_the_text_says_what_happened_to_whom(error: Exception, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("status", [status.value for status in HTTPStatus if status >= 300])
def test_the_title_is_the_registered_phrase(status: int) -> None:
    assert HTTPError(status).title == HTTPStatus(status).phrase


def test_an_http_error_keeps_its_own_copy_of_what_it_was_given() -> None:
    headers, fields = {"Allow": "GET"}, [{"field": "x"}]
    error = HTTPError(405, headers=headers, errors=fields)
    headers.clear()
    fields.clear()
    assert (error.headers, error.errors) == ({"Allow": "GET"}, ({"field": "x"},))


def test_an_overload_says_when_to_come_back() -> None:
    assert Overloaded("busy", status=429, retry_after=7).headers == {"Retry-After": "7"}


def test_a_redirect_says_where_to() -> None:
    redirect = HTTPRedirect("/there", status=303)
    assert (redirect.status, redirect.location, redirect.headers) == (303, "/there", {"Location": "/there"})


def test_an_item_error_does_not_keep_the_item() -> None:
    error = WrongItem(action="a", codec="raw", item=bytearray(10), expected="str")
    assert not any(isinstance(value, bytearray) for value in (*error.args, *vars(error).values()))


def test_an_error_about_the_author_can_be_told_from_one_about_the_client() -> None:
    assert not issubclass(ControllerError, HTTPError)
    assert not issubclass(HTTPError, ControllerError)


def test_an_interruption_passes_whoever_catches_exceptions() -> None:
    assert not issubclass(StreamInterrupted, Exception)


def test_a_configuration_error_crosses_a_process_as_it_is() -> None:
    assert str(pickle.loads(pickle.dumps(ConfigurationError("wrong")))) == "wrong"  # noqa: S301  our own bytes
