from collections.abc import Mapping
from typing import Any

import pytest

from millstream.dispatch.binding import bind
from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.match import Match
from millstream.dispatch.traversal import Tree
from millstream.errors import HTTPError


class Root(TGController):
    @expose()
    def days(self, year: int, month: int = 1, *, week: list[int] | None = None) -> tuple[Any, ...]:
        return year, month, week

    @expose()
    def _default(self, first: int, second: str = "none") -> tuple[Any, ...]:
        return first, second


async def called(path: str, params: Mapping[str, Any]) -> Any:
    async def call(*_: Any) -> None: ...

    match = await Tree(Root, lambda _: ()).find(path, "GET", params, call)
    assert isinstance(match, Match)
    args, kwargs = bind(match)
    return match.target(*args, **kwargs)


async def test_a_match_becomes_a_call() -> None:
    assert await called("/days/2026", {"month": "2", "week": "5"}) == (2026, 2, [5])
    assert await called("/days", {"year": "2026", "week": ["5", "6"]}) == (2026, 1, [5, 6])


async def test_what_does_not_fit_is_422_with_its_field() -> None:
    with pytest.raises(HTTPError) as refused:
        await called("/days/MMXXVI", {"week": ""})

    assert refused.value.status == 422
    assert [error["field"] for error in refused.value.errors] == ["year"]


async def test_a_default_is_called_with_no_more_than_it_takes() -> None:
    assert await called("/1/two/three/four", {}) == (1, "two")
    assert await called("/1", {"second": "2"}) == (1, "2")
