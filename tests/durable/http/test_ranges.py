from __future__ import annotations

import pytest

from millstream.durable.http.ranges import Wanted, wanted
from millstream.errors import HTTPError


@pytest.mark.parametrize(
    ("header", "first", "upto"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=40-", 40, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=90-500", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-500", 0, 100),
        ("bytes= 5-6 ", 5, 7),
    ],
)
def test_one_range_is_understood(header: str, first: int, upto: int) -> None:
    assert wanted(header, 100) == Wanted(first, upto)


@pytest.mark.parametrize(
    "header", ["", "bytes=-", "bytes=1-2,4-5", "items=0-", "bytes=5-4", "bytes=a-", "bytes=-1-"]
)
def test_any_other_range_is_ignored(header: str) -> None:
    assert wanted(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_bytes_that_are_not_there_are_a_416(header: str) -> None:
    with pytest.raises(HTTPError) as refused:
        wanted(header, 100)
    assert (refused.value.status, refused.value.headers) == (416, {"Content-Range": "bytes */100"})
