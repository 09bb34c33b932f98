from datetime import date
from typing import Any

from millstream.dispatch.controllers import ASGIAppController, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.routes import Route, routes
from millstream.dispatch.traversal import Tree


async def app(*_: Any) -> None: ...


class Actors(RestController):
    @expose()
    def get_all(self) -> None: ...


class Movies(RestController):
    actors = Actors()

    @expose("json")
    @expose("csv")
    def get_all(self) -> None: ...

    @expose("json")
    def get_one(self, nr: int) -> None: ...

    @expose()
    def new(self) -> None: ...

    @expose()
    def edit(self, nr: int) -> None: ...

    @expose()
    def post(self, **fields: str) -> None: ...

    @expose()
    def put(self, nr: int) -> None: ...

    @expose()
    def post_delete(self, nr: int) -> None: ...

    @expose()
    def get_delete(self, nr: int) -> None: ...

    @expose()
    def post_archive(self) -> None: ...

    @expose(allowed_methods=["POST"])
    def pay(self) -> None: ...


class Files(RestController):
    @expose()
    def get(self, folder: str, *names: str) -> None: ...


class Root(TGController):
    movies = Movies()
    files = Files()
    static = ASGIAppController(app)

    def __init__(self) -> None:
        self.myself = self

    @expose()
    def index(self) -> None: ...

    @expose("json")
    @expose(content_type="image/png")
    def orders(self, since: date | None = None) -> None: ...

    @expose(allowed_methods=["GET"])
    def _default(self, *rest: str) -> None: ...

    def _lookup(self, *rest: str) -> object: ...


ALL = routes(Tree(Root(), lambda e: [e.engine] if e.engine else []))


def test_every_path_is_listed_sorted_with_its_methods() -> None:
    usual = "DELETE GET HEAD PATCH POST PUT"
    assert [(route.path, " ".join(route.methods), route.action) for route in ALL] == [
        ("/", usual, "Root.index"),
        ("/*", "", "Root._lookup"),
        ("/*", "GET HEAD", "Root._default"),
        ("/files/{folder}/{*names}", "GET HEAD", "Files.get"),
        ("/movies", "GET HEAD", "Movies.get_all"),
        ("/movies", "POST", "Movies.post"),
        ("/movies/new", "GET HEAD", "Movies.new"),
        ("/movies/pay", "POST", "Movies.pay"),
        ("/movies/{nr}", "DELETE", "Movies.post_delete"),
        ("/movies/{nr}", "GET HEAD", "Movies.get_one"),
        ("/movies/{nr}", "PUT", "Movies.put"),
        ("/movies/{nr}/actors", "GET HEAD", "Actors.get_all"),
        ("/movies/{nr}/delete", "GET HEAD", "Movies.get_delete"),
        ("/movies/{nr}/edit", "GET HEAD", "Movies.edit"),
        ("/movies?_method=archive", "POST", "Movies.post_archive"),
        ("/orders", usual, "Root.orders"),
        ("/static/*", "", "ASGIAppController → app"),
    ]


def test_a_route_tells_its_formats_and_its_signature() -> None:
    orders = next(route for route in ALL if route.path == "/orders")

    assert orders.formats == ("json", "image/png")
    assert orders.signature == "(since: datetime.date | None = None)"


def test_a_route_is_a_fact() -> None:
    assert len({Route("/", (), "a", (), ""), Route("/", (), "a", (), "")}) == 1
