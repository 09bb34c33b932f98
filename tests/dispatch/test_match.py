from typing import Any

from millstream.dispatch.controllers import RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.match import Match
from millstream.dispatch.traversal import Tree


class Movies(RestController):
    @expose()
    def get_all(self) -> str:
        return "all"


class Root(TGController):
    movies = Movies()

    @expose()
    def page(self) -> object:
        return self


async def find(root: Root, path: str) -> Match:
    async def call(*_: Any) -> None: ...

    match = await Tree(root, lambda _: ()).find(path, "GET", {}, call)
    assert isinstance(match, Match)
    return match


async def test_the_target_belongs_to_the_innermost_controller() -> None:
    root = Root()
    match = await find(root, "/page")

    assert match.controller is root
    assert match.target() is root
    assert (await find(root, "/movies")).controllers == (root, root.movies)


async def test_what_is_allowed_depends_on_the_kind_of_dispatch() -> None:
    assert "POST" in (await find(Root(), "/page")).allowed
    assert (await find(Root(), "/movies")).allowed == ("GET", "HEAD", "OPTIONS")
