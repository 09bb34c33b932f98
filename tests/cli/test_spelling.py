"""What was probably meant."""

from __future__ import annotations

from millstream.cli.spelling import meant


def test_the_nearest_known_name_is_asked_for() -> None:
    assert meant("prot", ["host", "port"]) == "did you mean port?"


def test_where_none_is_near_all_are_listed_in_order() -> None:
    assert meant("zzz", ["port", "host"]) == "known are host, port"
