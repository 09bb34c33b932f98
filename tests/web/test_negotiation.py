from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.web.negotiation import MOST_ELEMENTS, best, weighted

JSON, CSV, HTML, SSE = "application/json", "text/csv", "text/html", "text/event-stream"
OFFERS = [JSON, CSV, HTML]
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def chosen(accept: str | None, offers: list[str] = OFFERS) -> str | None:
    index = best(accept, offers)
    return None if index is None else offers[index]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/*", CSV),
        ("*/*", JSON),
        ("*", JSON),
        (CHROMIUM, HTML),
        ("text/csv;q=0.5, text/html;q=0.7", HTML),
        ("text/csv;q=0.7, text/html;q=0.7", CSV),
        ("text/html, application/json", JSON),
        ("*/*;q=0.1, text/*;q=0.2, text/html;q=0.3", HTML),
        ("text/*, text/csv;q=0.5", HTML),
        ("*/*, application/json;q=0", CSV),
        ("text/*;q=0, */*", JSON),
        ("text/*;q=0, text/html", HTML),
        ("text/html;level=1;q=0.4, text/html;level=2;q=0.9, text/csv;q=0.5", HTML),
        ('application/json;x="a,text/csv;q=1\\"";q=0.1, text/csv;q=0.2', CSV),
        ("text/csv ; Q=1 , application/json ; q=0.9", CSV),
        ("text/csv;q=.5,application/json;q=0.4", CSV),
        ("text/csv;q=1;q=0, application/json;q=0.5", CSV),
    ],
)
def test_the_client_s_wish_counts(accept: str, expected: str) -> None:
    assert chosen(accept) == expected


@pytest.mark.parametrize(
    "accept", ["image/png", "image/*", "text/csv;q=0", "*/*;q=0", "*/*;q=0.000", "text/plain, image/*"]
)
def test_nothing_fits(accept: str) -> None:
    assert chosen(accept) is None


@pytest.mark.parametrize(
    "accept", [None, "", " ", ",", ";", "json", "*/json", "text/", "/csv", '"', "\0", "; q=0"]
)
def test_a_header_that_says_nothing_leaves_the_choice_to_us(accept: str | None) -> None:
    assert chosen(accept) == JSON


@pytest.mark.parametrize(
    "weight", ["q=high", "q=", "q", "q=-1", "q=nan", "q=inf", "q=1e9", "q=7", "q=0x0", "q=1.0.0"]
)
def test_a_weight_that_is_none_counts_as_one(weight: str) -> None:
    assert chosen(f"text/csv;{weight}, application/json;q=0.9") == CSV


def test_garbage_between_does_no_harm() -> None:
    assert chosen("???, text/csv;;;q=0.5;, ,=;, a/b/c") == CSV


def test_parameters_of_an_offer_are_not_compared() -> None:
    assert best("text/csv", ["application/json", "text/csv; charset=utf-8"]) == 1


def test_an_event_source_gets_events() -> None:
    assert chosen("text/event-stream", [JSON, SSE]) == SSE


def test_without_offers_nothing_fits() -> None:
    assert best(None, []) is best("*/*", []) is None


HEADER = st.text() | st.text('text/csv,;q=*"\\ 01.') | st.lists(
    st.sampled_from(["text/csv", "text/*", "*/*", ";q=", "0.5", "0", ",", '"', " ", "\\", "application/json"])
).map("".join)  # fmt: skip


@given(HEADER, st.lists(st.text() | st.sampled_from(OFFERS), max_size=4))
def test_whatever_a_client_sends_is_answered(accept: str, offers: list[str]) -> None:
    index = best(accept, offers)
    assert index is None or 0 <= index < len(offers)


@given(
    st.permutations(["*/*", "text/*;q=0.3", f"{JSON};q=0.9", f"{HTML};q=0.2", f"{CSV};q=0", "text/csvx;q=1"])
)
def test_what_a_client_excludes_it_never_gets(ranges: list[str]) -> None:
    assert chosen(", ".join(ranges), [CSV]) is None
    assert chosen(", ".join(ranges), [CSV, HTML]) == HTML


def test_a_hostile_header_costs_no_more_than_its_length() -> None:
    assert chosen('text/csv, "' + '\\"' * 500_000 + "\\") == CSV
    assert chosen("a/b," * MOST_ELEMENTS + "text/csv") is None


def test_lists_of_other_headers_are_read_as_well() -> None:
    assert list(weighted("gzip;q=0.5, BR, identity; q=0, *;q=0")) == [
        ("gzip", 0.5),
        ("br", 1.0),
        ("identity", 0.0),
        ("*", 0.0),
    ]
