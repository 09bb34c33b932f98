from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.compression.choice import chosen
from millstream.compression.codings import Coding


def _never() -> None:
    raise AssertionError("choosing starts nothing")


OFFERED = [Coding(name, _never) for name in ("zstd", "gzip", "br")]  # type: ignore[arg-type]  # not called


def name_for(header: str | None) -> str | None:
    coding = chosen(header, OFFERED).coding
    return coding.name if coding is not None else None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate", "gzip"),
        ("br", "br"),
        ("br, gzip;q=0.9", "br"),
        ("GZIP;Q=0.5, br;q=0.4", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "zstd"),
        ("*, zstd;q=0", "gzip"),
        ("*;q=0.2, br;q=0.3", "br"),
        ("deflate, compress", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip, identity", "gzip"),
        ("gzip;q=0.5, identity;q=0.4", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0.5, *;q=0", "gzip"),
        ("gzip;q=0, gzip;q=0.3", "gzip"),
        (",;=, gzip;q=oops", "gzip"),
    ],
)
def test_the_highest_weight_wins_and_of_equals_our_order(header: str | None, expected: str | None) -> None:
    assert name_for(header) == expected


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ("gzip", False),
        ("gzip, identity;q=0.1", False),
        ("gzip, identity;q=0", True),
        ("gzip, *;q=0", True),
        ("gzip, *;q=0, identity;q=0.1", False),
    ],
)
def test_a_client_may_refuse_the_plain_body(header: str, refused: bool) -> None:
    assert chosen(header, OFFERED).refuses_identity is refused


@pytest.mark.parametrize("header", ["identity;q=0", "*;q=0", "identity;q=0, deflate"])
def test_a_client_that_takes_nothing_we_have_gets_the_plain_body(header: str) -> None:
    assert chosen(header, OFFERED).coding is None


def test_with_nothing_on_offer_the_body_is_plain() -> None:
    assert chosen("gzip", []).coding is None


@given(st.text(st.sampled_from('gzipbrstd*;,=q0.15 "identy\\\x00é')))
def test_no_header_is_too_odd(header: str) -> None:
    assert name_for(header) in {None, "zstd", "gzip", "br"}
