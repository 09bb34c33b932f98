from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream.durable.runs.remembered import Remembered
from millstream.errors import ControllerError
from millstream.pipeline.restarting import request_again
from millstream.web.request import Request

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/a",
    "query_string": b"n=1",
    "headers": [[b"accept", b"text/csv"], [b"x-tenant", b"a"]],
    "client": ["10.0.0.1", 5],
}


def again(*withheld: str) -> Request:
    return request_again(Remembered(SCOPE, b"body", withheld))


async def test_it_is_the_request_that_was_kept() -> None:
    request = again("authorization")
    assert (request.path_info, request.GET["n"], request.remote_addr) == ("/a", "1", "10.0.0.1")
    assert request.headers["x-tenant"] == "a"
    assert request.headers.get("accept") == "text/csv"
    assert "x-other" not in request.headers
    assert await request.body() == b"body"


@pytest.mark.parametrize(
    "ask",
    [
        lambda request: request.headers["Authorization"],
        lambda request: request.headers.get("authorization"),
        lambda request: request.headers.getlist("authorization"),
        lambda request: "authorization" in request.headers,
        lambda request: request.cookies,
    ],
)
def test_code_that_asks_for_a_header_that_was_not_kept_is_told_so(ask: Callable[[Request], Any]) -> None:
    with pytest.raises(ControllerError, match="was not kept for this run"):
        ask(again("authorization", "cookie"))


def test_a_header_that_nobody_sent_is_just_not_there() -> None:
    assert again("cookie").headers.get("authorization") is None
