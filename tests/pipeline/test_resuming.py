from __future__ import annotations

import pytest

from millstream.durable.runs.names import etag_of, event_id, fresh, tag_of
from millstream.pipeline.resuming import Wanted, is_plain, run_path, wanted_by
from millstream.web.request import Request

RUN = fresh(tag_of("Root.orders"))
PLACE = "0000000000000007_0123456789abcdef"


def asked(path: str = "/", query: str = "", method: str = "GET", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    return Request(scope)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (asked(), Wanted()),
        (asked(last_event_id=event_id(RUN, PLACE).decode()), Wanted(RUN, PLACE)),
        (asked(last_event_id="7"), Wanted()),
        (asked(query="stream=abc", last_event_id=event_id(RUN, PLACE).decode()), Wanted(RUN, PLACE)),
        (asked(query="stream=abc&offset=5"), Wanted("abc", "5")),
        (asked(stream_id="abc"), Wanted("abc")),
        (asked(query="offset=5"), Wanted("", "5")),
        (asked(range="bytes=5-", if_range=etag_of(RUN, "ab")), Wanted(RUN, must_be=False)),
        (asked(range="bytes=5-", if_range='"another"'), Wanted()),
        (asked(if_range=etag_of(RUN, "ab")), Wanted()),
    ],
)
def test_a_client_that_comes_back_says_so_in_one_of_four_ways(request_: Request, wanted: Wanted) -> None:
    assert wanted_by(request_, ()) == wanted


def test_a_field_that_is_the_actions_own_says_nothing_of_a_run() -> None:
    assert wanted_by(asked(query="stream=abc&offset=5"), {"stream", "offset"}) == Wanted()
    assert wanted_by(asked(query="stream=abc&offset=5"), {"offset"}) == Wanted("abc")


@pytest.mark.parametrize(
    ("path", "found"),
    [("/_streams/abc", "abc"), ("/_streams/abc/stop", "abc/stop"), ("/_streams", ""), ("/", "")],
)
def test_runs_have_a_place_of_their_own(path: str, found: str) -> None:
    assert run_path(asked(path)) == found


def test_who_speaks_the_protocol_is_known_by_it() -> None:
    assert is_plain(asked())
    assert is_plain(asked(method="HEAD", query="x=1"))
    assert not is_plain(asked(query="offset=-1"))
    assert not is_plain(asked(query="live=sse"))
    assert not is_plain(asked(method="POST"))
