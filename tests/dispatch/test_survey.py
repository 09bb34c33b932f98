from typing import Any

import pytest

from millstream.dispatch.controllers import ASGIAppController, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.match import Mount
from millstream.dispatch.survey import actions, mounted
from millstream.dispatch.traversal import Tree


async def app(*_: Any) -> None: ...


class Items(RestController):
    files = ASGIAppController(app)

    @expose()
    def get_one(self, nr: str) -> None: ...


class Vault(TGController):
    files = ASGIAppController(app)

    def _check_security(self) -> bool:
        raise AssertionError("nobody is asked")


class Guarded(ASGIAppController):
    def _check_security(self) -> bool:
        raise AssertionError("nobody is asked")


class Root(TGController):
    files = ASGIAppController(app)
    my_files = ASGIAppController(app)
    items = Items()
    others = Items()
    vault = Vault()
    guarded = Guarded(app)

    @expose()
    def page(self, *rest: str) -> None: ...

    @expose()
    def _default(self, *rest: str) -> None: ...

    def _lookup(self, *_: str) -> object:
        raise AssertionError("nobody is asked")


TREE = Tree(Root(), lambda _: ())


def test_every_action_is_listed_once() -> None:
    assert sorted(action.label for action in actions(TREE)) == [
        "Items.get_one",
        "Root._default",
        "Root.page",
    ]


@pytest.mark.parametrize(
    ("path", "mount_path"),
    [
        ("/files", "/files"),
        ("/files/a/b", "/files"),
        ("//files/a", "//files"),
        ("/my-files/a", "/my-files"),
        ("/items/files/a", "/items/files"),
        ("/items/7/files/a", "/items/7/files"),
    ],
)
def test_a_mounted_application_is_found_as_a_request_would(path: str, mount_path: str) -> None:
    assert mounted(TREE, path) == Mount(app, mount_path, path.removeprefix(mount_path))


@pytest.mark.parametrize("path", ["", "/", "/page/files", "/items/7", "/nothing", "/__class__", "/a" * 2000])
def test_where_none_is_mounted_none_is_found(path: str) -> None:
    assert mounted(TREE, path) is None
    assert mounted(Tree(TGController(), lambda _: ()), path) is None


@pytest.mark.parametrize("path", ["/vault/files/a", "/guarded/a"])
def test_what_security_guards_is_not_found_by_names_alone(path: str) -> None:
    assert mounted(TREE, path) is None
