import gc
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import Exposure, expose
from millstream.dispatch.match import Match
from millstream.dispatch.traversal import Tree
from millstream.errors import ConfigurationError


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def find(tree: Tree, path: str) -> Match:
    match = await tree.find(path, "GET", {}, call)
    assert isinstance(match, Match)
    return match


class Leaf(TGController):
    parent: Any = None

    @expose("csv")
    def index(self) -> None: ...


class Root(TGController):
    leaf = Leaf()

    @expose()
    def page(self) -> None: ...

    def _lookup(self, *rest: str) -> object:
        return Leaf(), rest[1:]


def test_the_root_may_be_a_class() -> None:
    assert isinstance(Tree(Root, lambda _: ()).root.controller, Root)


def test_every_exposure_is_asked_for_its_extensions_once_at_start_up() -> None:
    asked: list[Exposure] = []

    def extensions_of(exposure: Exposure) -> list[str]:
        asked.append(exposure)
        return []

    Tree(Root(), extensions_of)

    assert sorted(exposure.engine for exposure in asked) == ["", "csv"]


async def test_a_class_a_lookup_returns_is_compiled_once() -> None:
    asked: list[Exposure] = []

    class Hidden(TGController):
        @expose("csv")
        def index(self) -> None: ...

    class Finder(TGController):
        def _lookup(self, *rest: str) -> object:
            return Hidden(), rest[1:]

    def extensions_of(exposure: Exposure) -> list[str]:
        asked.append(exposure)
        return []

    tree = Tree(Finder(), extensions_of)
    first, second = await find(tree, "/x"), await find(tree, "/y")

    assert first.action is second.action
    assert first.controller is not second.controller
    assert len(asked) == 1


async def test_controllers_that_hold_each_other_are_compiled_all_the_same() -> None:
    root = Root()
    root.leaf.parent = root
    tree = Tree(root, lambda _: ())

    assert (await find(tree, "/leaf/parent/leaf/parent/page")).controller is root


async def test_a_looked_up_controller_is_not_kept() -> None:
    tree = Tree(Root(), lambda _: ())
    passing = weakref.ref((await find(tree, "/x")).controller)
    gc.collect()

    assert passing() is None


def test_what_cannot_be_an_action_is_told_at_start_up_wherever_it_stands() -> None:
    class Deep(TGController):
        @expose()
        def page() -> None: ...  # type: ignore[misc]  # the mistake this test is about

    class Middle(TGController):
        deep = Deep()

    class Top(TGController):
        middle = Middle()

    with pytest.raises(ConfigurationError, match=r"Deep\.page"):
        Tree(Top(), lambda _: ())


def test_a_tree_knows_whether_anything_is_mounted() -> None:
    assert not Tree(Root(), lambda _: ()).has_mounts


class Guarded(TGController):
    allowed = True

    async def _check_security(self) -> bool:
        return self.allowed

    @expose()
    def index(self) -> None: ...


class Known(TGController):
    guarded = Guarded()

    @expose()
    def page(self, name: str = "") -> None: ...

    @expose()
    def needs(self, name: str) -> None: ...


@pytest.mark.parametrize("names", [("a", "b"), ()], ids=["fields", "none"])
async def test_a_request_like_one_before_is_known_and_keeps_its_own_fields(names: tuple[str, ...]) -> None:
    tree = Tree(Known(), lambda _: ())
    for fields in [{"name": name} for name in names] or [{}, {}]:
        match = tree.known("/page", "GET", fields) or await tree.find("/page", "GET", fields, call)
        assert isinstance(match, Match)
        assert match.params == fields
        assert match.action.name == "page"
    assert tree.known("/page", "GET", fields) is not None


async def test_what_a_request_lacks_is_missed_though_one_before_had_it() -> None:
    tree = Tree(Known(), lambda _: ())
    await tree.find("/needs", "GET", {"name": "a"}, call)
    assert tree.known("/needs", "GET", {}) is None


async def test_another_method_is_another_request() -> None:
    tree = Tree(Known(), lambda _: ())
    await tree.find("/page", "GET", {}, call)
    assert tree.known("/page", "POST", {}) is None


async def test_who_guards_a_controller_is_asked_by_every_request() -> None:
    tree = Tree(Known(), lambda _: ())
    await find(tree, "/guarded")
    assert tree.known("/guarded", "GET", {}) is None


async def test_a_lookup_is_asked_by_every_request() -> None:
    tree = Tree(Root(), lambda _: ())
    await find(tree, "/elsewhere")
    assert tree.known("/elsewhere", "GET", {}) is None


async def test_however_many_paths_clients_think_of_few_are_remembered() -> None:
    tree = Tree(Known(), lambda _: ())
    for number in range(3000):
        await find(tree, f"/page/{number}")
    await find(tree, "/page/" + "x" * 1000)
    assert len(tree._known) <= 1024
    assert all(sum(len(text) for text in key if isinstance(text, str)) <= 256 for key in tree._known)
