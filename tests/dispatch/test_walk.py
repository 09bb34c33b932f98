"""The walk itself: hooks on the way, looking up, turning back, and why nothing answers."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dispatch import test_objects, test_rest

from millstream.dispatch.controllers import ASGIAppController, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.match import Match, Mount
from millstream.dispatch.traversal import Tree
from millstream.errors import ControllerError, HTTPError


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def tree(root: object) -> Tree:
    return Tree(root, lambda exposure: [exposure.engine] if exposure.engine == "json" else [])


async def find(root: object, path: str, method: str = "GET", **params: Any) -> Match:
    match = await tree(root).find(path, method, params, call)
    assert isinstance(match, Match)
    return match


async def refusal(root: object, path: str, method: str = "GET", **params: Any) -> HTTPError:
    with pytest.raises(HTTPError) as refused:
        await tree(root).find(path, method, params, call)
    return refused.value


async def answer(root: object, path: str, **params: Any) -> str:
    try:
        match = await find(root, path, **params)
    except HTTPError as error:
        return str(error.status)
    return f"{match.action.label}({','.join(match.args)})"


async def app(*_: Any) -> None: ...


class Item:
    """What a `_lookup` returns: any object that exposes something."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.parts = Parts()

    @expose("json")
    def index(self) -> str:
        return self.key

    @expose("json")
    def show(self, how: str = "") -> None: ...


class Parts(TGController):
    @expose()
    def index(self) -> None: ...


class Items(TGController):
    @expose()
    def _lookup(self, key: str, *rest: str) -> object:
        return (Item(key), rest) if key != "none" else None


class AsyncItems(TGController):
    async def _lookup(self, key: str, *rest: str) -> object:
        return Item(key), rest


class Twice(TGController):
    def _lookup(self, *rest: str) -> object:
        return Items(), rest


class Self(TGController):
    """Goes on with itself as long as it is told to."""

    @expose()
    def index(self) -> None: ...

    def _lookup(self, first: str, *rest: str) -> object:
        return (Self(), rest) if first in {"a", "b"} else (Item(first), (first, *rest))


class Both(TGController):
    """Its `_default` takes one segment; the `_lookup` gets the rest."""

    @expose()
    def _default(self, only: int, /) -> None: ...

    @expose()
    def _lookup(self, *rest: str) -> object:
        return Item("both"), rest


class Greedy(TGController):
    looked_up = False

    @expose()
    def _default(self, *rest: str) -> None: ...

    def _lookup(self, *rest: str) -> object:
        raise AssertionError("_default is asked before _lookup")


class RestItems(RestController):
    sub = Parts()

    @expose()
    def get(self, key: str) -> None: ...

    def _lookup(self, _: str, *rest: str) -> object:
        return Item("rest"), rest


class Root(TGController):
    items = Items()
    async_items = AsyncItems()
    twice = Twice()
    self = Self()
    both = Both()
    greedy = Greedy()
    rest = RestItems()

    @expose()
    def _default(self, *rest: str) -> None: ...


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/items/7", "Item.index()"),
        ("/items/7/", "Item.index()"),
        ("/items/7/index", "Item.index()"),
        ("/items/7/show", "Item.show()"),
        ("/items/7/show/big", "Item.show(big)"),
        ("/items/7/parts", "Parts.index()"),
        ("/items//7", "Item.index()"),
        ("/items/7//show", "Item.show()"),
        ("/items/7/key", "Root._default(items,7,key)"),
        ("/items/7/__class__", "Root._default(items,7,__class__)"),
        ("/items/7/nothing", "Root._default(items,7,nothing)"),
        ("/items/none", "Root._default(items,none)"),
        ("/items", "Root._default(items)"),  # crank: a TypeError, the lookup needs a segment
        ("/items/7/show.json", "Item.show()"),
        ("/async_items/7/show", "Item.show()"),
        ("/twice/7/show", "Item.show()"),
        ("/twice/7", "Item.index()"),
        ("/self", "Self.index()"),
        ("/self/a", "Self.index()"),
        ("/self/a/b/a", "Self.index()"),
        ("/self/a/b/show", "Item.show()"),
        ("/self/show/a", "Item.show(a)"),
        ("/both/1", "Both._default(1)"),
        ("/both", "Item.index()"),  # the `_default` lacks its segment: the `_lookup` is asked
        ("/greedy/1/2", "Greedy._default(1,2)"),
        ("/rest/25", "RestItems.get(25)"),
        ("/rest/25/show", "Item.show()"),
        ("/rest/sub", "Parts.index()"),
        ("/none/of/these", "Root._default(none,of,these)"),
    ],
)
async def test_the_walk_leads_to(path: str, expected: str) -> None:
    assert await answer(Root(), path) == expected


async def test_a_looked_up_controller_is_the_one_that_answers() -> None:
    match = await find(Root(), "/items/7")

    assert match.target() == "7"
    assert [type(controller) for controller in match.controllers] == [Root, Items, Item]


async def test_who_was_turned_back_from_is_not_among_the_controllers() -> None:
    match = await find(Root(), "/items/7/nothing")

    assert [type(controller) for controller in match.controllers] == [Root]


@pytest.mark.parametrize(
    "answered",
    [
        "abc",
        ["x", ()],
        (Item("1"),),
        (Item("1"), "abc"),
        (Item("1"), None),
        (Item("1"), (1, 2)),
        (Item, ()),
        (1, 2, 3),
    ],
)
async def test_a_lookup_that_returns_nonsense_is_the_author_s_error(answered: object) -> None:
    class Wrong(TGController):
        def _lookup(self, *_: str) -> object:
            return answered

    with pytest.raises(ControllerError, match=r"Wrong\._lookup"):
        await find(Wrong(), "/x")


@pytest.mark.parametrize("controller", [None, 7, "text", object(), {}])
async def test_a_lookup_that_returns_what_exposes_nothing_is_404(controller: object) -> None:
    class Barren(TGController):
        def _lookup(self, *rest: str) -> object:
            return controller, rest[1:]

    assert await answer(Barren(), "/x/real") == "404"


async def test_controllers_that_look_each_other_up_for_ever_are_stopped() -> None:
    class Ring(TGController):
        def _lookup(self, *rest: str) -> object:
            return Ring(), rest

    with pytest.raises(ControllerError, match="goes on for ever"):
        await find(Ring(), "/x")


# Security


class Vault(TGController):
    def __init__(self, verdict: object) -> None:
        self.verdict = verdict
        self.asked = 0
        self.app = ASGIAppController(app)

    def _check_security(self) -> object:
        self.asked += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    @expose()
    def index(self) -> None: ...

    @expose()
    def _default(self, *rest: str) -> None: ...


class House(TGController):
    def __init__(self, verdict: object) -> None:
        self.vault = Vault(verdict)

    @expose()
    def _default(self, *rest: str) -> None: ...


@pytest.mark.parametrize("path", ["/vault", "/vault/anything", "/vault/app/x", "/vault/__class__"])
async def test_security_that_says_false_is_403_for_everything_below(path: str) -> None:
    assert (await refusal(House(verdict=False), path)).status == 403


@pytest.mark.parametrize("verdict", [True, None, 0, ""])
async def test_only_false_itself_is_a_refusal(verdict: object) -> None:
    house = House(verdict)

    assert (await find(house, "/vault")).action.label == "Vault.index"
    assert house.vault.asked == 1


async def test_security_may_raise_what_it_likes() -> None:
    assert (await refusal(House(HTTPError(401)), "/vault")).status == 401


async def test_security_may_be_asynchronous() -> None:
    class Slow(TGController):
        async def _check_security(self) -> bool:
            return False

    assert (await refusal(Slow(), "/")).status == 403


async def test_security_of_others_is_not_asked() -> None:
    house = House(verdict=False)

    assert await answer(house, "/elsewhere") == "House._default(elsewhere)"
    assert house.vault.asked == 0


# Hooks


async def test_hooks_of_all_controllers_on_the_way_are_known_in_the_order_of_calling() -> None:
    class Outer(TGController):
        class Inner(TGController):
            def _before(self) -> str:
                return "inner before"

            def _after(self) -> str:
                return "inner after"

            @expose()
            def index(self) -> None: ...

        inner = Inner()
        quiet = Parts()

        def _before(self) -> str:
            return "outer before"

        def _after(self) -> str:
            return "outer after"

    match = await find(Outer(), "/inner")
    assert [before() for before in match.before] == ["outer before", "inner before"]
    assert [after() for after in match.after] == ["inner after", "outer after"]
    assert len((await find(Outer(), "/quiet")).before) == 1


# Methods


class Restricted(TGController):
    @expose(allowed_methods=["GET"])
    def read(self) -> None: ...

    @expose(allowed_methods=["POST", "PUT"])
    def write(self, needed: str) -> None: ...


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/read", "GET, HEAD, OPTIONS"),
        ("TRACE", "/read", "GET, HEAD, OPTIONS"),
        ("GET", "/write/x", "OPTIONS, POST, PUT"),
        ("HEAD", "/write/x", "OPTIONS, POST, PUT"),
    ],
)
async def test_a_method_that_is_not_allowed_is_405_and_told_what_is(
    method: str, path: str, allow: str
) -> None:
    error = await refusal(Restricted(), path, method)

    assert (error.status, error.headers) == (405, {"Allow": allow})


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/read"), ("get", "/read"), ("put", "/write/x")])
async def test_head_passes_where_get_does_and_case_does_not_matter(method: str, path: str) -> None:
    assert (await find(Restricted(), path, method)).action.name == path.split("/")[1]


async def test_options_finds_what_may_be_asked_without_having_its_fields() -> None:
    assert (await find(Restricted(), "/write", "OPTIONS")).allowed == ("OPTIONS", "POST", "PUT")
    assert (await refusal(Restricted(), "/nothing", "OPTIONS")).status == 404


# Errors


async def test_a_missing_argument_is_named_only_when_nobody_else_answers() -> None:
    error = await refusal(Restricted(), "/write", "POST")

    assert error.status == 422
    assert error.errors == ({"field": "needed", "message": "is missing"},)


async def test_a_path_of_endless_segments_is_refused_before_it_is_walked() -> None:
    assert (await refusal(Root(), "/" * 1001)).status == 414
    assert (await refusal(Root(), "/a" * 100_000)).status == 414
    assert (await answer(Root(), "/a" * 1000)).startswith("Root._default(a,a,")


async def test_a_very_long_segment_is_only_a_name_nobody_has() -> None:
    name = "x" * 1_000_000

    assert await answer(Root(), f"/{name}") == f"Root._default({name})"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["items", "self", "rest", "", ".", "..", "a.json", "\0"]) | st.text()))
async def test_no_path_breaks_the_walk(segments: list[str]) -> None:
    path = "/" + "/".join(segments)

    for method in ("GET", "POST", "DELETE", "OPTIONS", "BREW"):
        assert await call(lambda method=method: answers_or_refuses(path, method))


async def answers_or_refuses(path: str, method: str) -> bool:
    try:
        await tree(Root()).find(path, method, {}, call)
    except HTTPError as error:
        return error.status in {400, 404, 405, 414, 422}
    return True


# Mounts


class Mounting(TGController):
    my_app = ASGIAppController(app)

    def _lookup(self, first: str, *rest: str) -> object:
        return (
            (ASGIAppController(app), rest) if first == "found" else (ASGIAppController(app), ("own", "way"))
        )


@pytest.mark.parametrize(
    ("path", "mount_path", "left"),
    [
        ("/my_app", "/my_app", ""),
        ("/my_app/", "/my_app", "/"),
        ("/my_app/a/b", "/my_app", "/a/b"),
        ("/my_app//a//", "/my_app", "//a//"),
        ("//my_app/a", "//my_app", "/a"),
        ("/my-app/a.json", "/my-app", "/a.json"),
        ("/my_app/__class__", "/my_app", "/__class__"),
        ("/found/a/b/", "/found", "/a/b/"),
        ("/else/a", "/else/a", "/own/way"),
    ],
)
async def test_a_mounted_application_gets_what_is_left(path: str, mount_path: str, left: str) -> None:
    mount = await tree(Mounting()).find(path, "BREW", {}, call)

    assert mount == Mount(app, mount_path, left)


async def test_a_mounted_application_may_be_everything() -> None:
    mount = await tree(ASGIAppController(app)).find("/a/b", "GET", {}, call)

    assert mount == Mount(app, "", "/a/b")


async def test_an_extension_does_not_lead_into_an_application() -> None:
    class OnlyMounting(TGController):
        my_app = ASGIAppController(app)

    assert await answer(OnlyMounting(), "/my_app.json") == "404"


# The body, read late


class Late:
    """A body whose fields are told when they are asked for."""

    def __init__(self, fields: Mapping[str, str], *, is_form: bool) -> None:
        self._fields = fields
        self.is_form = is_form
        self.asked = 0

    async def fields(self, match: Match, /) -> Mapping[str, str]:
        self.asked += 1
        return self._fields


async def ended(
    tree: Tree, method: str, path: str, fields: Mapping[str, str], body: Late | None = None
) -> object:
    """Where a request ends: the call of an action, or an error."""
    try:
        match = await tree.find(path, method, fields, test_rest.call, body)
    except HTTPError as error:
        return error.status, error.headers.get("Allow"), error.errors
    assert isinstance(match, Match)
    return match.action.label, match.args, match.extension


REQUESTS = [
    *((test_rest.Root, *line.split(" ", 1)) for line, _ in test_rest.CASES),
    *((test_rest.Root, "POST", line.split(" ", 1)[1]) for line, _ in test_rest.CASES),
    *(
        (test_objects.Root, method, line)
        for method in ("POST", "PUT", "DELETE")
        for line, _ in test_objects.CASES
    ),
]


@pytest.mark.parametrize("is_form", [True, False])
@pytest.mark.parametrize(("root", "method", "target"), REQUESTS)
async def test_fields_of_a_body_lead_where_those_of_a_query_lead(
    root: type, method: str, target: str, is_form: bool
) -> None:
    path, _, query = target.partition("?")
    fields = dict(parse_qsl(query, keep_blank_values=True))
    if "_method" in fields and not (is_form and method == "POST"):
        return  # such a field of a body means nothing
    body, asked = Late(fields, is_form=is_form), Tree(root(), test_rest.extensions_of)
    early = await ended(Tree(root(), test_rest.extensions_of), method, path, fields)
    assert await ended(asked, method, path, {}, body) == early
    assert body.asked <= 1
    known = asked.known(path, method, {}, body)
    if known is not None and known.needs <= fields.keys():
        assert (known.action.label, known.args, known.extension) == early


class Secured(TGController):
    asked = 0

    def _check_security(self) -> bool:
        type(self).asked += 1
        return True

    @expose()
    def named(self, a: str) -> None: ...

    @expose()
    def _default(self, *rest: str) -> None: ...


@pytest.mark.parametrize(("field", "action"), [("a", "named"), ("b", "_default")])
async def test_the_authors_hooks_are_asked_once_whatever_the_body_brings(field: str, action: str) -> None:
    before = Secured.asked
    body = Late({field: "1"}, is_form=True)
    match = await tree(Secured()).find("/named", "POST", {}, call, body)
    assert isinstance(match, Match)
    assert (match.action.name, match.params, body.asked) == (action, {field: "1"}, 1)
    assert Secured.asked == before + 1


async def test_a_way_that_only_fields_decide_is_remembered_with_those_it_needs() -> None:
    choosing = tree(Choosing())
    body = Late({"a": "1", "q": "1"}, is_form=False)
    await choosing.find("/named", "POST", {"q": "1"}, call, body)
    known = choosing.known("/named", "POST", {"q": "2"}, body)
    assert known is not None
    assert (known.action.name, set(known.needs), dict(known.params)) == ("named", {"a"}, {"q": "2"})


class Choosing(TGController):
    @expose()
    def named(self, a: str, q: str) -> None: ...


class Unasked(TGController):
    @expose(allowed_methods=["GET"])
    def readable(self, a: str) -> None: ...

    @expose()
    def optional(self, a: str = "") -> None: ...

    @expose()
    def collecting(self, **fields: str) -> None: ...

    @expose()
    def _default(self, *rest: str) -> None: ...


@pytest.mark.parametrize("path", ["/optional", "/collecting", "/nowhere"])
async def test_a_body_on_which_nothing_depends_is_left_unread_and_the_way_is_remembered(path: str) -> None:
    body, unasked = Late({"a": "1"}, is_form=True), tree(Unasked())
    match = await unasked.find(path, "POST", {}, call, body)
    assert isinstance(match, Match)
    assert body.asked == 0
    known = unasked.known(path, "POST", {}, body)
    assert known is not None
    assert known.action is match.action
    assert unasked.known(path, "POST", {}, Late({}, is_form=False)) is None
    assert unasked.known(path, "POST", {}) is None


async def test_a_method_that_the_named_action_does_not_take_is_405_before_its_body_is_read() -> None:
    body = Late({"a": "1"}, is_form=True)
    with pytest.raises(HTTPError) as refused:
        await tree(Unasked()).find("/readable", "POST", {}, call, body)
    assert (refused.value.status, body.asked) == (405, 0)
