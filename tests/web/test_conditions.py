from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import MutableHeaders

from millstream.errors import HTTPError
from millstream.protocol.ports import Head
from millstream.web.conditions import NOTHING, part_head, part_wanted

DAY = 86_400
MODIFIED = formatdate(time.time() - DAY, usegmt=True)
BEFORE = formatdate(time.time() - 2 * DAY, usegmt=True)
NOW = formatdate(time.time(), usegmt=True)
TAG = '"one"'


Asked = dict[str, str]
"""Headers, by names that Python can spell."""


def spelled(headers: Asked) -> Asked:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def head(method: str = "GET", status: int = 200, **headers: str) -> Head:
    named = {"etag": TAG, "last-modified": MODIFIED, **spelled(headers)}
    return Head(status, MutableHeaders(headers=named), method)


WHOLE = head()


def wanted(of: Head = WHOLE, /, **asked: str) -> slice | None:
    return part_wanted(of, spelled(asked), 100)


def refused(of: Head = WHOLE, /, **asked: str) -> int:
    with pytest.raises(HTTPError) as told:
        wanted(of, **asked)
    return told.value.status


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-", slice(0, 100)),
        ("bytes=99-", slice(99, 100)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=90-1000", slice(90, 100)),
        ("bytes=0-99999999999999999999999999", slice(0, 100)),
        ("bytes=0000000000000000000000005-5", slice(5, 6)),
        ("bytes=-1", slice(99, 100)),
        ("bytes=-1000", slice(0, 100)),
        ("BYTES = 1-2 ", slice(1, 3)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=1-2,4-5", None),
        ("bytes=a-b", None),
        ("bytes=1-2-3", None),
        ("bytes=-1-", None),
        ("lines=1-2", None),
        ("", None),
    ],
)
def test_a_range_is_what_rfc_9110_says(asked: str, part: slice | None) -> None:
    assert wanted(range=asked) == part


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=99999999999999999999999999-"])
def test_bytes_that_are_not_there_are_a_416(asked: str) -> None:
    assert refused(range=asked) == 416


def test_an_empty_body_has_no_ranges() -> None:
    assert part_wanted(WHOLE, {"range": "bytes=-5"}, 0) is None
    with pytest.raises(HTTPError):
        part_wanted(WHOLE, {"range": "bytes=0-"}, 0)


@given(st.text())
def test_a_garbled_range_is_an_answer_or_a_416(asked: str) -> None:
    try:
        part = wanted(range=asked)
    except HTTPError as told:
        assert told.status == 416
    else:
        assert part is None or 0 <= part.start < part.stop <= 100


@pytest.mark.parametrize("of", [head("HEAD"), head("POST"), head(status=201)])
def test_only_a_get_of_the_whole_has_parts(of: Head) -> None:
    assert wanted(of, range="bytes=0-1") is None


def test_a_body_whose_size_is_not_known_has_no_parts() -> None:
    assert part_wanted(WHOLE, {"range": "bytes=0-1"}, None) is None


@pytest.mark.parametrize(
    ("validator", "is_part"),
    [
        (TAG, True),
        (MODIFIED, True),
        ('"two"', False),
        (f"W/{TAG}", False),
        (BEFORE, False),
        (NOW, False),
        ("nonsense", False),
        ("", False),
    ],
    ids=["tag", "then", "other tag", "weak tag", "before", "now", "nonsense", "nothing"],
)
def test_a_part_is_sent_if_the_body_is_still_the_same(validator: str, *, is_part: bool) -> None:
    assert (wanted(range="bytes=0-1", if_range=validator) is not None) == is_part


def test_a_weak_tag_or_a_time_of_this_second_proves_nothing() -> None:
    now = formatdate(time.time() + 1, usegmt=True)
    assert wanted(head(etag=f"W/{TAG}"), range="bytes=0-1", if_range=f"W/{TAG}") is None
    assert wanted(head(last_modified=now), range="bytes=0-1", if_range=now) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "asked",
    [
        {"if_none_match": TAG},
        {"if_none_match": f'"two", W/{TAG}'},
        {"if_none_match": "*"},
        {"if_modified_since": MODIFIED},
        {"if_modified_since": NOW},
        {"if_match": TAG, "if_none_match": TAG},
    ],
)
def test_a_client_that_has_the_body_gets_nothing(asked: Asked, method: str) -> None:
    assert wanted(head(method), **asked) == NOTHING


@pytest.mark.parametrize(
    "asked",
    [
        {"if_none_match": '"two"'},
        {"if_none_match": "nonsense"},
        {"if_none_match": '"two"', "if_modified_since": NOW},
        {"if_modified_since": BEFORE},
        {"if_modified_since": "nonsense"},
        {"if_modified_since": "Mon, 99 Foo 99999 00:00:00 GMT"},
        {"if_match": f'"two", {TAG}'},
        {"if_match": "*"},
        {"if_unmodified_since": NOW},
        {"if_unmodified_since": "nonsense"},
        {"if_match": TAG, "if_unmodified_since": BEFORE},
    ],
)
def test_what_does_not_stand_against_it_gets_the_whole(asked: Asked) -> None:
    assert wanted(**asked) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"if_match": '"two"'},
        {"if_match": f"W/{TAG}"},
        {"if_match": "nonsense"},
        {"if_unmodified_since": BEFORE},
        {"if_match": '"two"', "if_none_match": TAG},
    ],
)
def test_a_client_that_takes_it_for_another_is_refused(asked: Asked) -> None:
    assert refused(**asked) == 412


def test_a_method_that_changes_something_is_refused_where_get_would_have_it_already() -> None:
    assert refused(head("PUT"), if_none_match="*") == 412
    assert wanted(head("PUT"), if_modified_since=NOW) is None


def test_conditions_are_about_a_success() -> None:
    assert wanted(head(status=404), if_match='"two"', if_none_match=TAG) is None


@given(st.text(), st.text())
def test_garbled_conditions_never_fail(tags: str, date: str) -> None:
    asked = {"if-none-match": tags, "if-modified-since": date, "if-unmodified-since": date, "if-range": tags}
    assert part_wanted(WHOLE, asked, 100) in (None, NOTHING)


def test_the_head_of_a_part_tells_which_it_is() -> None:
    part = part_head(head(content_type="text/csv", content_length="100"), slice(10, 20), 100)
    assert part.status == 206
    assert part.headers["content-range"] == "bytes 10-19/100"
    assert part.headers["content-length"] == "10"
    assert part.headers["content-type"] == "text/csv"


def test_the_head_of_nothing_describes_no_body() -> None:
    of = head(
        content_type="a/b", content_length="1", content_location="/x", vary="Accept", content_disposition="x"
    )
    assert dict(part_head(of, NOTHING, 100).headers) == {
        "etag": TAG,
        "last-modified": MODIFIED,
        "content-location": "/x",
        "vary": "Accept",
    }
