from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.runs.names import (
    Place,
    etag_of,
    event_id,
    fresh,
    keyed,
    place_of,
    run_of_etag,
    tag_in,
    tag_of,
)

TAG = tag_of("shop", "Root.orders", "text/csv")


def test_no_two_fresh_ids_are_alike_and_each_has_its_tag() -> None:
    runs = {fresh(TAG) for _ in range(1000)}
    assert len(runs) == 1000
    assert {tag_in(run) for run in runs} == {TAG}


def test_a_tag_tells_actions_and_formats_apart_but_not_processes() -> None:
    tags = {tag_of("shop", "Root.orders", "text/csv"), tag_of("shop", "Root.orders", "text/html")}
    assert len(tags | {tag_of("shop", "Root.order", "stext/csv")}) == 3
    assert tag_of("shop", "Root.orders", "text/csv") == TAG


def test_a_key_names_one_run_under_one_secret() -> None:
    assert keyed(b"a" * 32, TAG, ["x"]) == keyed(b"a" * 32, TAG, ["x"])
    assert keyed(b"a" * 32, TAG, ["x"]) != keyed(b"b" * 32, TAG, ["x"])
    assert tag_in(keyed(b"a" * 32, TAG, ["x"])) == TAG


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_no_value_can_be_chosen_that_looks_like_two_others(one: list[str], other: list[str]) -> None:
    assert (keyed(b"s" * 32, TAG, one) == keyed(b"s" * 32, TAG, other)) == (one == other)


def test_half_a_surrogate_pair_is_a_key_like_any() -> None:
    assert tag_in(keyed(b"s" * 32, TAG, ["\udcff"])) == TAG


def test_an_events_id_names_its_place() -> None:
    run = fresh(TAG)
    assert place_of(event_id(run, "0000_ab").decode()) == Place(run, "0000_ab")


@pytest.mark.parametrize(
    "text", ["", "7", "x" * 29, "x" * 31, "x" * 29 + "\u00e9", "x" * 29 + " ", "x" * 29 + "/"]
)
def test_anything_else_is_no_id_of_ours(text: str) -> None:
    assert place_of(f"{text}:0000_ab") is None
    assert tag_in(text) == ""
    assert run_of_etag(text) == ""


def test_an_entity_tag_names_the_run_however_weak_it_became() -> None:
    run = fresh(TAG)
    assert run_of_etag(etag_of(run, "ab")) == run
    assert run_of_etag(f"W/{etag_of(run, 'ab')}") == run
