from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.dispatch.signature import Signature, signature_of
from millstream.errors import ConfigurationError, HTTPError

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # the point: it is not there at run time


def of(function: Callable[..., Any]) -> Signature:
    return signature_of(function, "Root.page")


def mixed(self: Any, a: int, b: str = "b", /, c: int = 3, *rest: int, d: date, e: bool = False) -> None: ...


def lax(self: Any, a: int, **fields: int) -> None: ...


def strict(self: Any, a: int, b: int) -> None: ...


def test_segments_fill_from_the_left_and_fields_by_name() -> None:
    args, kwargs = of(strict).bind(["1"], {"b": "2"})

    assert (args, kwargs) == ((1,), {"b": 2})


def test_what_is_left_over_goes_into_the_star() -> None:
    args, kwargs = of(mixed).bind(["1", "x", "3", "4", "5"], {"d": "2026-01-31", "e": "on"})

    assert args == (1, "x", 3, 4, 5)
    assert kwargs == {"d": date(2026, 1, 31), "e": True}


def test_a_segment_prevails_over_a_field_of_the_same_name() -> None:
    assert of(strict).bind(["1"], {"a": "x", "b": "2"}) == ((1,), {"b": 2})


def test_fields_nobody_asked_for_are_dropped() -> None:
    assert of(strict).bind(["1", "2"], {"c": "3", "self": "4", "ü \0": "5"}) == ((1, 2), {})


def test_double_stars_take_every_field_but_those_already_given() -> None:
    assert of(lax).bind(["1"], {"a": "9", "x": "2", "y": "3"}) == ((1,), {"x": 2, "y": 3})


def test_no_field_can_pose_as_the_controller() -> None:
    @wraps(lax)
    def wrapper(this: Any, *args: Any, **fields: Any) -> None: ...

    signature = of(wrapper)

    wrapper("controller", *signature.bind(["1"], {"x": "2"})[0])
    assert signature.bind(["1"], {"self": "1", "this": "2", "x": "3"})[1] == {"x": 3}


def test_every_bad_argument_is_named_at_once() -> None:
    with pytest.raises(HTTPError) as refused:
        of(mixed).bind(["one", "x", "3", "four"], {"d": "soon"})

    assert refused.value.status == 422
    assert [(e["field"], e["message"]) for e in refused.value.errors] == [
        ("a", "must be a whole number"),
        ("rest", "must be a whole number"),
        ("d", "must be a date such as 2026-12-31"),
    ]


def test_a_bad_field_of_double_stars_is_named_by_the_client_s_name() -> None:
    with pytest.raises(HTTPError) as refused:
        of(lax).bind(["1"], {"height": "tall"})

    assert refused.value.errors == ({"field": "height", "message": "must be a whole number"},)


@pytest.mark.parametrize(
    ("function", "count", "fields", "missing"),
    [
        (strict, 0, "", "a b"),
        (strict, 0, "b", "a"),
        (strict, 1, "a", "b"),
        (strict, 1, "b", ""),
        (strict, 2, "", ""),
        (mixed, 0, "a d", "a"),  # positional only: no field can fill it
        (mixed, 1, "", "d"),
        (mixed, 9, "d", ""),
        (lax, 0, "", "a"),
    ],
)
def test_missing_is_what_neither_segments_nor_fields_fill(
    function: Callable[..., Any], count: int, fields: str, missing: str
) -> None:
    assert of(function).missing(count, dict.fromkeys(fields.split())) == tuple(missing.split())


@pytest.mark.parametrize(("function", "most"), [(strict, 2), (lax, 1)])
def test_more_segments_than_parameters_are_too_many(function: Callable[..., Any], most: int) -> None:
    assert of(function).takes(most)
    assert not of(function).takes(most + 1)
    assert of(mixed).takes(1000)


def test_a_wrapped_method_takes_what_the_wrapped_one_takes() -> None:
    @wraps(strict)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    assert of(wrapper).bind(["1"], {"b": "2"}) == ((1,), {"b": 2})


def test_an_annotation_that_cannot_be_resolved_lets_values_pass_and_spoils_no_other() -> None:
    def page(self: Any, a: Unknown, b: int, c: 1 / 0) -> Unknown: ...  # type: ignore[valid-type]

    assert of(page).bind(["1", "2", "3"], {}) == (("1", 2, "3"), {})


def test_what_has_no_place_for_its_controller_is_no_method() -> None:
    def nothing() -> None: ...

    def keywords(*, a: int) -> None: ...

    for function in (nothing, keywords):
        with pytest.raises(ConfigurationError, match=r"Root\.page is exposed but takes no self"):
            of(function)


def test_the_text_reads_as_the_source_does() -> None:
    assert of(mixed).text == "(a: int, b: str = 'b', c: int = 3, *rest: int, d: date, e: bool = False)"
    assert of(lax).text == "(a: int, **fields: int)"

    def bare(self, a, b=1, *, c): ...  # type: ignore[no-untyped-def]  # what authors write

    assert of(bare).text == "(a, b=1, *, c)"


@given(st.lists(st.text(), max_size=8), st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_whatever_fits_and_binds_can_be_called(args: list[str], params: dict[str, Any]) -> None:
    for function in (mixed, lax, strict):
        signature = of(function)
        if not signature.takes(len(args)) or signature.missing(len(args), params):
            continue
        with suppress(HTTPError):  # what does not convert is the client's affair
            positional, keywords = signature.bind(args, params)
            function(None, *positional, **keywords)


def test_what_it_returns_is_known_where_it_can_be() -> None:
    def rows(self: Any) -> list[int]: ...  # type: ignore[empty-body]  # it is not called

    def unknown(self: Any) -> Unknown: ...

    @wraps(rows)
    def wrapped(*args: Any) -> Any: ...

    assert [of(each).returns for each in (rows, wrapped)] == [list[int], list[int]]
    assert of(unknown).returns is None
    assert of(lambda self: self).returns is None
