from __future__ import annotations

from typing import Any

import pytest

from millstream.codecs.catalogue import DEFAULT
from millstream.config import Settings
from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.match import Match
from millstream.dispatch.traversal import Tree
from millstream.errors import HTTPError
from millstream.pipeline.choosing import Chosen, chosen
from millstream.pipeline.plans import Planner
from millstream.web.request import Request
from millstream.web.templates import Templates


class Root(TGController):
    @expose("json")
    @expose("csv")
    def several(self, **fields: str) -> None: ...

    @expose("json")
    @expose("csv")
    def own(self, format: str = "") -> None: ...  # noqa: A002  the name is the point

    @expose("json")
    def single(self, **fields: str) -> None: ...


PLANNER = Planner(DEFAULT, Templates(None, reload=False), Settings())
TREE = Tree(Root(), PLANNER.extensions_of)


async def call(function: Any, *args: Any) -> Any:
    return function(*args)


async def choose(path: str, query: str = "", accept: str = "") -> Chosen:
    headers = [(b"accept", accept.encode())] if accept else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
    }
    request = Request(scope)
    match = await TREE.find(path, "GET", request.params.mixed(), call)
    assert isinstance(match, Match)
    return chosen(match, PLANNER.plan(match.action), request)


@pytest.mark.parametrize(
    ("path", "query", "accept", "media_type", "negotiated"),
    [
        ("/several", "", "", "application/json", True),
        ("/several", "", "text/csv", "text/csv", True),
        ("/several", "format=csv", "application/json", "text/csv", False),
        ("/several", "format=", "text/csv", "text/csv", True),
        ("/several.json", "format=csv", "text/csv", "application/json", False),
        ("/own", "format=csv", "", "application/json", True),
        ("/single", "format=csv", "text/csv", "application/json", False),
    ],
)
async def test_the_first_that_says_something_decides(
    path: str, query: str, accept: str, media_type: str, *, negotiated: bool
) -> None:
    decided = await choose(path, query, accept)
    assert (decided.offer.media_type, decided.negotiated) == (media_type, negotiated)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/several", {"a": "1"}),
        ("/own", {"format": "csv", "a": "1"}),
        ("/single", {"format": "csv", "a": "1"}),
    ],
)
async def test_the_field_is_taken_where_it_is_understood(path: str, left: dict[str, str]) -> None:
    assert (await choose(path, "format=csv&a=1")).match.params == left


async def test_a_format_there_is_not_is_a_406() -> None:
    with pytest.raises(HTTPError) as told:
        await choose("/several", "format=xls")
    assert (told.value.status, told.value.detail) == (406, "this can be had in the formats json, csv")
