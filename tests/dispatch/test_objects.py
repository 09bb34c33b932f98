"""Object dispatch, as TurboGears users know it; what is different on purpose says so in its name."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import Exposure, expose
from millstream.dispatch.match import Match
from millstream.dispatch.traversal import Tree
from millstream.errors import HTTPError


def extensions_of(exposure: Exposure) -> set[str]:
    return {exposure.engine} if exposure.engine in {"json", "csv", "txt"} else set()


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def answer(tree: Tree, path: str, method: str = "GET", **params: Any) -> str:
    """`Class.method(args).extension`, or the status of the error."""
    try:
        match = await tree.find(path, method, params, call)
    except HTTPError as error:
        return str(error.status)
    assert isinstance(match, Match)
    extension = f".{match.extension}" if match.extension else ""
    return f"{match.action.label}({','.join(match.args)}){extension}"


class Plain:
    """No controller by descent: it exposes something, that is enough."""

    @expose()
    def index(self) -> None: ...

    @expose()
    def page(self, name: str) -> None: ...


class Empty(TGController):
    pass


class NoIndex(TGController):
    @expose()
    def only(self) -> None: ...


class Greedy(TGController):
    @expose()
    def _default(self, *args: str, **kw: str) -> None: ...

    @expose()
    def known(self, a: str) -> None: ...


class DefaultWithArguments(TGController):
    @expose()
    def _default(self, a: str, b: str | None = None, **kw: str) -> None: ...


class DefaultWithoutArguments(TGController):
    @expose()
    def _default(self) -> None: ...


class IndexWithArguments(TGController):
    @expose()
    def index(self, *args: str, **kw: str) -> None: ...


class IndexThatNeeds(TGController):
    @expose()
    def index(self, q: str) -> None: ...


class Deep(TGController):
    class Middle(TGController):
        inner = NoIndex()
        greedy = Greedy()

    middle = Middle()

    @expose()
    def _default(self, *args: str) -> None: ...


class Root(TGController):
    plain = Plain()
    empty = Empty()
    no_index = NoIndex()
    greedy = Greedy()
    with_arguments = DefaultWithArguments()
    without_arguments = DefaultWithoutArguments()
    index_args = IndexWithArguments()
    index_needs = IndexThatNeeds()
    deep = Deep()

    def __init__(self) -> None:
        self.own = NoIndex()
        self.number = 7
        self._hidden = NoIndex()

    @expose()
    def index(self, **kw: str) -> None: ...

    @expose()
    def no_args(self) -> None: ...

    @expose()
    def two(self, a: str, b: str) -> None: ...

    @expose()
    def optional(self, name: str, one: str | None = None, two: int = 2) -> None: ...

    @expose()
    def anything(self, *args: str) -> None: ...

    @expose()
    def first_and(self, first: str, *others: str) -> None: ...

    @expose()
    def keyword(self, *, since: str | None = None) -> None: ...

    @expose()
    def needs_keyword(self, *, since: str) -> None: ...

    @expose()
    def positional(self, a: str, /) -> None: ...

    @expose("json")
    @expose("csv")
    def data(self, name: str | None = None) -> None: ...

    @expose()
    def robots_txt(self) -> None: ...

    @expose()
    def über(self) -> None: ...  # noqa: PLC2401  a URL may be written in any script

    @expose()
    async def soon(self) -> None: ...

    @expose()
    def stream(self) -> Iterator[str]:
        yield "x"

    @expose()
    def _private(self) -> None: ...

    def undecorated(self) -> None: ...

    @property
    def evil(self) -> None:
        raise AssertionError("a property was evaluated")


CASES = [
    # index
    ("/", "Root.index()"),
    ("", "Root.index()"),
    ("//", "Root.index()"),
    ("/index", "Root.index()"),
    ("/index/", "Root.index()"),
    ("/index/surplus", "404"),
    ("/plain", "Plain.index()"),
    ("/plain/", "Plain.index()"),
    ("/plain/index", "Plain.index()"),
    ("/index_args", "IndexWithArguments.index()"),
    ("/index_args/index/a/b", "IndexWithArguments.index(a,b)"),
    ("/index_args/a", "404"),  # TurboGears has switched crank's fallback to index off
    ("/index_needs?q=1", "IndexThatNeeds.index()"),
    ("/index_needs", "422"),
    ("/no_index", "404"),
    ("/empty", "404"),
    ("/empty/x", "404"),
    # methods and their arguments
    ("/no_args", "Root.no_args()"),
    ("/no_args/", "Root.no_args()"),
    ("/no_args///", "Root.no_args()"),
    ("//no_args", "Root.no_args()"),
    ("/no_args/surplus", "404"),
    ("/no_args?unknown=1", "Root.no_args()"),
    ("/two/a/b", "Root.two(a,b)"),
    ("/two/a/b/", "Root.two(a,b)"),
    ("/two/a/b/c", "404"),
    ("/two//a/b", "404"),
    ("/two//b", "Root.two(,b)"),
    ("/two/a?b=1", "Root.two(a)"),
    ("/two?a=1&b=2", "Root.two()"),
    ("/two/a?a=1", "422"),
    ("/two/a", "422"),
    ("/two", "422"),
    ("/optional", "422"),
    ("/optional/n", "Root.optional(n)"),
    ("/optional/n/1", "Root.optional(n,1)"),
    ("/optional/n/1/2", "Root.optional(n,1,2)"),
    ("/optional/n/1/2/3", "404"),
    ("/anything", "Root.anything()"),
    ("/anything/a/b/c", "Root.anything(a,b,c)"),
    ("/anything/a//c", "Root.anything(a,,c)"),
    ("/first_and/a", "Root.first_and(a)"),
    ("/first_and/a/b", "Root.first_and(a,b)"),
    ("/first_and", "422"),
    ("/keyword", "Root.keyword()"),
    ("/keyword/x", "404"),
    ("/needs_keyword?since=1", "Root.needs_keyword()"),
    ("/needs_keyword", "422"),
    ("/positional/a", "Root.positional(a)"),
    ("/positional?a=1", "404"),  # no field can fill it
    ("/soon", "Root.soon()"),
    ("/stream", "Root.stream()"),
    # sub-controllers
    ("/plain/page/x", "Plain.page(x)"),
    ("/own/only", "NoIndex.only()"),
    ("/deep/middle/inner/only", "NoIndex.only()"),
    ("/deep//middle///inner/only", "NoIndex.only()"),
    # the way back up
    ("/greedy", "Greedy._default()"),
    ("/greedy/a/b", "Greedy._default(a,b)"),
    ("/greedy/known/a", "Greedy.known(a)"),
    ("/greedy/known", "Greedy._default(known)"),
    ("/greedy/known/a/b", "Greedy._default(known,a,b)"),
    ("/deep", "Deep._default()"),
    ("/deep/middle", "Deep._default(middle)"),
    ("/deep/middle/inner", "Deep._default(middle,inner)"),
    ("/deep/middle/inner/none", "Deep._default(middle,inner,none)"),
    ("/deep/middle/greedy/x", "Greedy._default(x)"),
    ("/with_arguments/a", "DefaultWithArguments._default(a)"),
    ("/with_arguments/a/b", "DefaultWithArguments._default(a,b)"),
    ("/with_arguments/a/b/c", "DefaultWithArguments._default(a,b)"),  # the surplus is dropped
    ("/with_arguments?a=1", "DefaultWithArguments._default()"),
    ("/with_arguments", "404"),  # crank: a TypeError
    ("/without_arguments/x", "DefaultWithoutArguments._default()"),
    ("/nothing/here", "404"),
    # names a URL writes otherwise
    ("/no-args", "Root.no_args()"),
    ("/no.args", "Root.no_args()"),
    ("/no-index/only", "NoIndex.only()"),
    ("/no~args", "404"),  # TurboGears translates every punctuation character
    ("/robots.txt", "Root.robots_txt()"),
    ("/über", "Root.über()"),
    ("/%C3%BCber", "404"),  # the server has decoded the path already
    # extensions
    ("/data.json", "Root.data().json"),
    ("/data.JSON", "Root.data().json"),
    ("/data.xml", "404"),
    ("/data/report.csv", "Root.data(report).csv"),
    ("/data/report.pdf", "Root.data(report.pdf)"),
    ("/data/.csv", "Root.data(.csv)"),
    ("/data/a.b.csv", "Root.data(a.b).csv"),
    ("/data.csv/report", "404"),
    ("/no_args.json", "404"),
    ("/greedy/x.json", "Greedy._default(x.json)"),
    # what is never reached
    ("/__class__", "404"),
    ("/__init__", "404"),
    ("/plain/__class__/__mro__", "404"),
    ("/_private", "404"),
    ("/-private", "404"),
    ("/.private", "404"),
    ("/_default", "404"),
    ("/_hidden/only", "404"),
    ("/greedy/_default", "Greedy._default(_default)"),
    ("/undecorated", "404"),
    ("/evil", "404"),
    ("/number", "404"),
    ("/number/real", "404"),
    ("/two/__code__", "422"),
    ("/..", "404"),
    ("/greedy/../x", "Greedy._default(..,x)"),
    ("/\0", "404"),
    ("/anything/\0/\udc80/\n", "Root.anything(\0,\udc80,\n)"),
    ("*", "404"),
]


@pytest.mark.parametrize(("request_line", "expected"), CASES)
async def test_object_dispatch_finds(request_line: str, expected: str) -> None:
    path, _, query = request_line.partition("?")
    params = dict(pair.split("=") for pair in query.split("&")) if query else {}

    assert await answer(Tree(Root(), extensions_of), path, **params) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_an_action_that_restricts_nothing_takes_every_usual_method(method: str) -> None:
    assert await answer(Tree(Root(), extensions_of), "/no_args", method) == "Root.no_args()"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", ""])
async def test_unlike_turbogears_it_takes_no_unusual_one(method: str) -> None:
    assert await answer(Tree(Root(), extensions_of), "/no_args", method) == "405"


async def test_what_an_override_does_not_expose_again_is_hidden() -> None:
    class Heir(Root):
        def no_args(self) -> None: ...

    assert await answer(Tree(Heir(), extensions_of), "/no_args") == "404"


async def test_inherited_methods_answer_under_the_name_of_their_heir() -> None:
    class Heir(Root):
        pass

    assert await answer(Tree(Heir(), extensions_of), "/no_args") == "Heir.no_args()"


async def test_an_instance_attribute_hides_what_the_class_has_under_its_name() -> None:
    root = Root()
    root.no_args = None  # type: ignore[method-assign, assignment]  # what authors do to switch a page off
    root.plain = NoIndex()  # type: ignore[assignment]  # another controller in its place

    tree = Tree(root, extensions_of)
    assert await answer(tree, "/no_args") == "404"
    assert await answer(tree, "/plain/only") == "NoIndex.only()"


async def test_a_class_that_hangs_on_a_controller_is_no_controller() -> None:
    assert (
        await answer(Tree(Deep(), extensions_of), "/Middle/inner/only") == "Deep._default(Middle,inner,only)"
    )
