"""REST dispatch, as TurboGears users know it; what is different on purpose says so in its name."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from millstream.dispatch.controllers import RestController, TGController
from millstream.dispatch.expose import Exposure, expose
from millstream.dispatch.match import Match
from millstream.dispatch.rest import verb_of
from millstream.dispatch.traversal import Tree
from millstream.errors import HTTPError


def extensions_of(exposure: Exposure) -> set[str]:
    return {exposure.engine} if exposure.engine in {"json", "csv"} else set()


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def find(tree: Tree, request: str) -> Match:
    """The match of `METHOD /path?field=value`."""
    method, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    params = dict(pair.split("=") for pair in query.split("&")) if query else {}
    match = await tree.find(path, method, params, call)
    assert isinstance(match, Match)
    return match


async def answer(tree: Tree, request: str) -> str:
    """`Class.method(args).extension`, or the status of the error with its Allow header."""
    try:
        match = await find(tree, request)
    except HTTPError as error:
        return " ".join([str(error.status), error.headers.get("Allow", "")]).strip()
    extension = f".{match.extension}" if match.extension else ""
    return f"{match.action.label}({','.join(match.args)}){extension}"


class Actors(RestController):
    @expose("json")
    def get_all(self) -> None: ...

    @expose("json")
    def get_one(self, nr: str) -> None: ...

    @expose()
    def new(self) -> None: ...

    @expose()
    def edit(self, nr: str) -> None: ...

    @expose()
    def post(self) -> None: ...

    @expose()
    def put(self, nr: str) -> None: ...

    @expose()
    def patch(self, nr: str) -> None: ...

    @expose()
    def get_delete(self, nr: str) -> None: ...

    @expose()
    def post_delete(self, nr: str) -> None: ...

    @expose()
    def fxn(self) -> None: ...


class Optional(RestController):
    @expose()
    def get_one(self, nr: str | None = None) -> None: ...

    @expose()
    def put(self, nr: str | None = None) -> None: ...

    @expose()
    def post(self, nr: str | None = None) -> None: ...

    @expose()
    def edit(self, nr: str | None = None) -> None: ...

    @expose()
    def new(self, nr: str | None = None) -> None: ...

    @expose()
    def get_delete(self, nr: str | None = None) -> None: ...

    @expose()
    def post_delete(self, nr: str | None = None) -> None: ...


class Required(RestController):
    @expose()
    def get_one(self, nr: str) -> None: ...

    @expose()
    def post(self, nr: str) -> None: ...

    @expose()
    def put(self, nr: str) -> None: ...


class Variable(RestController):
    actors = Actors()

    @expose()
    def get_all(self) -> None: ...

    @expose()
    def get_one(self, *nrs: str) -> None: ...

    @expose()
    def edit(self, *nrs: str) -> None: ...

    @expose()
    def put(self, *nrs: str) -> None: ...

    @expose()
    def get_delete(self, *nrs: str) -> None: ...

    @expose()
    def post_delete(self, *nrs: str) -> None: ...


class Pages(TGController):
    @expose("json")
    def index(self) -> None: ...

    @expose()
    def page(self, name: str) -> None: ...


class Movies(RestController):
    pages = Pages()
    actors = Actors()
    optional = Optional()
    required = Required()

    @expose("json")
    @expose("csv")
    def get_all(self) -> None: ...

    @expose("json")
    def get_one(self, nr: str) -> None: ...

    @expose()
    def get_delete(self, nr: str) -> None: ...

    @expose()
    def post_delete(self, nr: str) -> None: ...

    @expose()
    def get_archive(self) -> None: ...

    @expose()
    def post_archive(self) -> None: ...

    @expose("csv")
    def get_cast(self, nr: str) -> None: ...


class Simple(RestController):
    """One method for everything, as small sites write it."""

    @expose()
    def get(self) -> None: ...

    @expose()
    def post(self) -> None: ...

    @expose()
    def put(self) -> None: ...

    @expose()
    def delete(self) -> None: ...

    @expose()
    def new(self) -> None: ...

    @expose()
    def edit(self, *args: str, **kw: str) -> None: ...

    @expose()
    def other(self) -> None: ...

    @expose()
    def archive(self) -> None: ...

    @expose(allowed_methods=["POST"])
    def pay(self) -> None: ...


class OneForAll(RestController):
    @expose()
    def get(self, nr: str | None = None) -> None: ...

    @expose()
    def delete(self, nr: str) -> None: ...


class OnlyOne(RestController):
    @expose()
    def get_one(self) -> None: ...


class Search(RestController):
    @expose()
    def get_all(self, q: str) -> None: ...


class Body(RestController):
    @expose()
    def post(self, first: str, second: str | None = None) -> None: ...

    @expose()
    def put(self, first: str, second: str) -> None: ...

    @expose()
    def patch(self, first: str, *, second: str) -> None: ...

    @expose()
    def direct(self, required: str) -> None: ...

    @expose()
    def delete(self, required: str) -> None: ...


class BodyWithDefault(Body):
    @expose()
    def _default(self, *args: str) -> None: ...


class NothingWithDefault(RestController):
    @expose()
    def _default(self, *args: str) -> None: ...


class Root(TGController):
    movies = Movies()
    variable = Variable()
    simple = Simple()
    one_for_all = OneForAll()
    only_one = OnlyOne()
    search = Search()
    body = Body()
    body_default = BodyWithDefault()
    nothing_default = NothingWithDefault()
    empty = RestController()

    @expose()
    def _default(self, *args: str) -> None: ...


USUAL = "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

CASES = [
    # GET
    ("GET /movies", "Movies.get_all()"),
    ("GET /movies/", "Movies.get_all()"),
    ("HEAD /movies", "Movies.get_all()"),
    ("GET /movies/1", "Movies.get_one(1)"),
    ("GET /movies/1/", "Movies.get_one(1)"),
    ("HEAD /movies/1", "Movies.get_one(1)"),
    ("GET /movies?nr=1", "Movies.get_all()"),
    ("GET /movies/1/delete", "Movies.get_delete(1)"),
    ("GET /movies/archive", "Movies.get_archive()"),
    ("GET /movies/1/cast", "Movies.get_cast(1)"),
    ("GET /movies/cast", "Movies.get_one(cast)"),
    ("GET /movies/all", "Movies.get_all()"),
    ("GET /movies/get_all", "Movies.get_all()"),
    ("GET /movies/something/else", "Root._default(movies,something,else)"),
    ("GET /simple", "Simple.get()"),
    ("GET /simple/other", "Simple.other()"),
    ("GET /simple/archive", "Simple.archive()"),
    ("GET /simple/new", "Simple.new()"),
    ("GET /simple/1/edit", "Simple.edit(1)"),
    ("GET /simple/edit", "Simple.edit()"),
    ("GET /simple/edit/1", "Simple.edit(1)"),
    ("GET /simple/delete", "Simple.delete()"),  # as TurboGears documents a `delete` for both
    ("GET /one_for_all", "OneForAll.get()"),
    ("GET /one_for_all/1", "OneForAll.get(1)"),
    ("GET /only_one", "OnlyOne.get_one()"),
    ("GET /search?q=x", "Search.get_all()"),
    ("GET /search", "Root._default(search)"),
    ("GET /empty", "Root._default(empty)"),
    # POST, PUT, PATCH
    ("POST /simple", "Simple.post()"),
    ("PUT /simple", "Simple.put()"),
    ("POST /simple/other", "Simple.other()"),
    ("PUT /simple/other", "Simple.other()"),
    ("POST /simple/new", "Simple.new()"),
    ("POST /simple/archive", "Simple.archive()"),
    ("POST /simple/delete", "Simple.delete()"),
    ("POST /simple/pay", "Simple.pay()"),
    ("POST /body/1", "Body.post(1)"),
    ("POST /body/1/2", "Body.post(1,2)"),
    ("POST /body?first=1", "Body.post()"),
    ("POST /body?first=1&unknown=2", "Body.post()"),
    ("PUT /body/1/2", "Body.put(1,2)"),
    ("PUT /body/1?second=2", "Body.put(1)"),
    ("PUT /body?first=1&second=2", "Body.put()"),
    ("PATCH /body/1?second=2", "Body.patch(1)"),
    ("POST /body/direct?required=1", "Body.direct()"),
    ("POST /body/direct/1", "Body.direct(1)"),
    ("POST /body", "422"),  # crank: 400
    ("PUT /body/1", "422"),
    ("PUT /body/1?first=2", "422"),
    ("PATCH /body/1", "422"),
    ("POST /body/1/2/3", "400"),
    ("POST /simple/surplus", "400"),
    ("PUT /simple/surplus", "400"),
    ("POST /body_default", "422"),  # the method is there: nobody else is asked
    ("POST /body_default/1/2/3", "400"),
    ("POST /nothing_default/x", "NothingWithDefault._default(x)"),
    ("PUT /nothing_default", "NothingWithDefault._default()"),
    ("POST /movies/something", "Root._default(movies,something)"),
    ("POST /empty", "Root._default(empty)"),
    ("PUT /empty", "Root._default(empty)"),
    # DELETE
    ("DELETE /movies/1", "Movies.post_delete(1)"),
    ("DELETE /movies?nr=1", "Movies.post_delete()"),
    ("DELETE /simple", "Simple.delete()"),
    ("DELETE /simple/", "Simple.delete()"),
    ("DELETE /one_for_all/1", "OneForAll.delete(1)"),
    ("DELETE /simple/other", "405 GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ("DELETE /simple/something", "Root._default(simple,something)"),
    ("DELETE /movies", "Root._default(movies)"),
    ("DELETE /empty", "Root._default(empty)"),
    # _method
    ("POST /simple?_method=PUT", "Simple.put()"),
    ("POST /simple?_method=put", "Simple.put()"),
    ("POST /simple?_method=DELETE", "Simple.delete()"),
    ("POST /movies/1?_method=DELETE", "Movies.post_delete(1)"),
    ("POST /movies?_method=archive", "Movies.post_archive()"),
    ("GET /movies?_method=archive", "Movies.get_archive()"),
    ("POST /simple?_method=archive", "Simple.archive()"),
    ("POST /simple?_method=get", "Simple.get()"),
    ("GET /simple?_method=get", "Simple.get()"),
    ("POST /simple?_method=", "Simple.post()"),
    ("POST /simple?_method=__class__", "Root._default(simple)"),
    ("GET /simple?_method=PUT", "405 DELETE, GET, HEAD, OPTIONS, POST, PUT"),
    ("GET /simple?_method=DELETE", "405 DELETE, GET, HEAD, OPTIONS, POST, PUT"),
    ("HEAD /simple?_method=DELETE", "405 DELETE, GET, HEAD, OPTIONS, POST, PUT"),
    # methods nobody registered
    ("ARCHIVE /movies", "Movies.post_archive()"),
    ("ARCHIVE /simple", "Simple.archive()"),
    ("PURGE /simple", USUAL),  # the outer `_default` takes the usual methods only
    # sub-controllers: below an item, and beside the items
    ("GET /movies/1/actors", "Actors.get_all()"),
    ("GET /movies/1/actors/2", "Actors.get_one(2)"),
    ("GET /movies/1/actors/new", "Actors.new()"),
    ("GET /movies/1/actors/2/edit", "Actors.edit(2)"),
    ("GET /movies/1/actors/2/delete", "Actors.get_delete(2)"),
    ("GET /movies/1/actors/fxn", "Actors.fxn()"),
    ("POST /movies/1/actors", "Actors.post()"),
    ("POST /movies/1/actors/fxn", "Actors.fxn()"),
    ("PUT /movies/1/actors/2", "Actors.put(2)"),
    ("PATCH /movies/1/actors/2", "Actors.patch(2)"),
    ("DELETE /movies/1/actors/2", "Actors.post_delete(2)"),
    ("POST /movies/1/actors/2?_method=PUT", "Actors.put(2)"),
    ("POST /movies/1/actors/2?_method=DELETE", "Actors.post_delete(2)"),
    ("GET /movies/actors", "Actors.get_all()"),
    ("GET /movies/actors/2", "Actors.get_one(2)"),
    ("POST /movies/actors", "Actors.post()"),
    ("DELETE /movies/actors/2", "Actors.post_delete(2)"),
    ("GET /movies/1/optional", "Optional.get_one()"),
    ("GET /movies/1/optional/2", "Optional.get_one(2)"),
    ("POST /movies/1/optional/2", "Optional.post(2)"),
    ("PUT /movies/1/optional", "Optional.put()"),
    ("POST /movies/1/optional/2?_method=DELETE", "Optional.post_delete(2)"),
    ("POST /movies/required?nr=1", "Required.post()"),
    ("POST /movies/required?_method=PUT&nr=1", "Required.put()"),
    ("POST /movies/required", "422"),
    ("GET /movies/pages", "Pages.index()"),
    ("PUT /movies/pages", "Pages.index()"),
    ("POST /movies/1/pages", "Pages.index()"),
    ("GET /movies/pages/page/x", "Pages.page(x)"),
    ("GET /variable/1/2/3/actors", "Actors.get_all()"),
    ("GET /variable/1/2/actors/3", "Actors.get_one(3)"),
    ("GET /variable/actors", "Actors.get_all()"),
    ("PUT /variable/1/2/actors/3", "Actors.put(3)"),
    ("GET /variable/1/2/3", "Variable.get_one(1,2,3)"),
    ("GET /variable/1/2/edit", "Variable.edit(1,2)"),
    ("GET /variable/edit", "Variable.edit()"),
    ("GET /variable/1/2/delete", "Variable.get_delete(1,2)"),
    ("PUT /variable/1/2", "Variable.put(1,2)"),
    ("PUT /variable", "Variable.put()"),
    ("DELETE /variable/1/2", "Variable.post_delete(1,2)"),
    ("POST /variable/1/2?_method=delete", "Variable.post_delete(1,2)"),
    # extensions
    ("GET /movies.json", "Movies.get_all().json"),
    ("GET /movies.CSV", "Movies.get_all().csv"),
    ("GET /movies.xml", "Root._default(movies.xml)"),
    ("GET /movies/1.json", "Movies.get_one(1).json"),
    ("GET /movies/1.csv", "Movies.get_one(1.csv)"),
    ("GET /movies/1/cast.csv", "Movies.get_cast(1).csv"),
    ("GET /movies/1/cast.json", "Root._default(movies,1,cast.json)"),
    ("GET /movies/1/actors.json", "Actors.get_all().json"),
    ("GET /movies/1/actors/2.json", "Actors.get_one(2).json"),
    ("GET /movies/1/pages.json", "Pages.index().json"),
    ("GET /movies/1.json/cast", "Movies.get_cast(1.json)"),
    # what is never reached
    ("GET /movies/__class__", "Movies.get_one(__class__)"),
    ("GET /simple/__class__", "Root._default(simple,__class__)"),
    ("POST /simple/__init__", "400"),
    ("__CLASS__ /simple", USUAL),
]


@pytest.mark.parametrize(("request_line", "expected"), CASES)
async def test_rest_dispatch_finds(request_line: str, expected: str) -> None:
    assert await answer(Tree(Root(), extensions_of), request_line) == expected


@pytest.mark.parametrize("name", ["post", "put", "post_archive", "post_delete", "patch"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_unlike_crank_a_safe_method_never_reaches_an_unsafe_one(method: str, name: str) -> None:
    class Everything(RestController):
        @expose()
        def post(self) -> None: ...

        @expose()
        def put(self) -> None: ...

        @expose()
        def patch(self) -> None: ...

        @expose()
        def post_archive(self) -> None: ...

        @expose()
        def post_delete(self) -> None: ...

    tree = Tree(Everything(), extensions_of)
    assert (await answer(tree, f"{method} /{name}")).startswith(("404", "405"))
    assert (await answer(tree, f"{method} /?_method={name}")).startswith("405")


async def test_an_item_may_be_called_like_an_unsafe_method() -> None:
    class Blog(RestController):
        @expose()
        def get_one(self, slug: str) -> None: ...

        @expose()
        def post(self) -> None: ...

    assert await answer(Tree(Blog(), extensions_of), "GET /post") == "Blog.get_one(post)"


async def test_unlike_crank_a_sub_controller_s_name_means_it_for_every_method() -> None:
    class Outer(RestController):
        inner = Actors()

        @expose()
        def delete(self, nr: str) -> None: ...

        @expose()
        def edit(self, *nrs: str) -> None: ...

    tree = Tree(Outer(), extensions_of)
    assert await answer(tree, "GET /inner/1/edit") == "Actors.edit(1)"
    assert await answer(tree, "DELETE /inner/1") == "Actors.post_delete(1)"


async def test_what_answers_other_methods_only_is_405_with_them() -> None:
    tree = Tree(Movies(), extensions_of)

    assert await answer(tree, "PUT /1") == "405 DELETE, GET, HEAD, OPTIONS"
    assert await answer(tree, "PATCH /") == "405 DELETE, GET, HEAD, OPTIONS"
    assert await answer(tree, "GET /1/2/3/4") == "404"


async def test_an_item_nobody_named_is_404_and_no_missing_field() -> None:
    assert await answer(Tree(Required(), extensions_of), "GET /") == "404"


async def test_a_missing_field_of_the_whole_is_named() -> None:
    with pytest.raises(HTTPError) as refused:
        await find(Tree(Search(), extensions_of), "GET /")

    assert refused.value.status == 422
    assert refused.value.errors == ({"field": "q", "message": "is missing"},)


async def test_allowed_methods_restrict_what_the_verb_has_chosen() -> None:
    tree = Tree(Root(), extensions_of)

    assert await answer(tree, "GET /simple/pay") == "405 OPTIONS, POST"
    assert await answer(tree, "PUT /simple/pay") == "405 OPTIONS, POST"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/movies", "DELETE GET HEAD OPTIONS"),
        ("/movies/1", "DELETE GET HEAD OPTIONS"),
        ("/movies/1/actors", "DELETE GET HEAD OPTIONS PATCH POST PUT"),
        ("/simple", "DELETE GET HEAD OPTIONS POST PUT"),
        ("/body/1", "DELETE OPTIONS PATCH POST PUT"),
        ("/empty", "DELETE GET HEAD OPTIONS PATCH POST PUT"),
        ("/movies/pages", "DELETE GET HEAD OPTIONS PATCH POST PUT"),
    ],
)
async def test_options_learns_what_may_be_asked(path: str, allowed: str) -> None:
    assert (await find(Tree(Root(), extensions_of), f"OPTIONS {path}")).allowed == tuple(allowed.split())


async def test_the_override_is_no_field_of_the_action() -> None:
    match = await find(Tree(Root(), extensions_of), "POST /simple?_method=put&a=1")

    assert match.params == {"a": "1"}


async def test_segments_between_the_names_are_kept() -> None:
    tree = Tree(Root(), extensions_of)

    assert (await find(tree, "GET /movies/7/actors/2")).routing_args == {"nr": "7"}
    assert (await find(tree, "GET /variable/1/2/actors")).routing_args == {"nrs": ("1", "2")}
    assert (await find(tree, "GET /movies/actors")).routing_args == {}


async def test_segments_on_a_way_that_was_turned_back_are_not_kept() -> None:
    assert (await find(Tree(Root(), extensions_of), "GET /movies/7/actors/2/3/4")).routing_args == {}


@pytest.mark.parametrize("nonsense", [None, 7, [], {"a": 1}, [None], object()])
def test_an_override_that_is_no_text_means_nothing(nonsense: object) -> None:
    assert verb_of("POST", nonsense).name == "post"


def test_of_several_overrides_the_last_prevails() -> None:
    assert verb_of("POST", ["put", "delete"]).name == "delete"
