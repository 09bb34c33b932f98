"""An endpoint and the runs of applications share a database: over the endpoint nobody reaches the runs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount as StarletteMount
from tests.wire.conftest import PATIENCE

from millstream import ASGIAppController, Millstream, Settings, TGController, expose
from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.runs.declared import Durable
from millstream.durable.runs.names import SECRET, request_of, stream_of
from millstream.testing import WireReply, connect, serve

pytestmark = pytest.mark.wire

TEXT = [("content-type", "application/x-ndjson")]


class Root(TGController):
    def __init__(self, url: str) -> None:
        self.streams = ASGIAppController(DurableStreams(open_log(url)))

    @expose("ndjson", durable=Durable(key="all", on_death="restart"))
    async def report(self) -> AsyncIterator[str]:
        yield "mine"
        await asyncio.Event().wait()


class House:
    """An application with a run that goes on, its own endpoint, and another application's endpoint.

    Attributes:
        run: the id of the run.
        life: of its stream.
    """

    def __init__(self, url: str, ports: dict[str, int]) -> None:
        self.url = url
        self._ports = ports
        self.run = self.life = ""

    def ask(self, path: str, method: str, headers: list[tuple[str, str]], body: bytes = b"") -> WireReply:
        """One request, by the way to an endpoint or to the application itself."""
        way = next((way for way in self._ports if path.startswith(way)), "/streams")
        with connect("127.0.0.1", self._ports[way], timeout=PATIENCE) as wire:
            reply = wire.get(path, headers, method=method, body=body)
            if reply.status != 200 or method == "HEAD":
                reply.rest()
            return reply


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    url = f"sqlite:///{tmp_path_factory.mktemp('log')}/streams.db"
    other = DurableStreams(open_log(url))
    with ExitStack() as stack:
        app = Millstream(Root(url), Settings(durable_url=url, drain_timeout=0.1))
        first = stack.enter_context(serve(app))
        second = stack.enter_context(
            serve(Starlette(routes=[StarletteMount("/deep/down", other)], lifespan=lambda _: other.opened()))
        )
        one = House(url, {"/streams": first.port, "/deep/down": second.port})
        wire = stack.enter_context(connect("127.0.0.1", first.port, timeout=PATIENCE))
        reply = wire.get("/report", [("authorization", "Bearer SECRETTOKEN")])
        assert reply.next_chunk() is not None
        one.run = reply.headers["stream-id"]
        one.life = reply.headers["etag"][-17:-1]
        yield one


def stored(url: str, name: str) -> tuple[bytes, bool]:
    """What is in a stream, and whether it is closed."""

    async def read(log: Log) -> tuple[bytes, bool]:
        async with log:
            page = await log.read(name)
            return b"".join(page.messages), page.state.closed

    return asyncio.run(read(open_log(url)))


KINDS = {
    "secret": SECRET,
    "request": request_of("{run}", "{life}"),
    "run": stream_of("{run}"),
    "any": ".else",
}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda name: name,
    "encoded dot": lambda name: name.replace(".", "%2e"),
    "all encoded": lambda name: "".join(f"%{ord(character):02X}" for character in name),
}
VERBS = {
    "read": ("GET", "?offset=-1", []),
    "poll": ("GET", "?offset=-1&live=long-poll", []),
    "events": ("GET", "?offset=-1&live=sse", []),
    "body": ("GET", "?live=body", []),
    "range": ("GET", "?live=body", [("range", "bytes=0-3")]),
    "describe": ("HEAD", "", []),
    "create": ("PUT", "", TEXT),
    "append": ("POST", "", TEXT),
    "close": ("POST", "", [*TEXT, ("stream-closed", "true")]),
    "stop": ("POST", "/stop", []),
    "delete": ("DELETE", "", []),
}


@pytest.mark.parametrize("mount", ["/streams", "/deep/down"])
@pytest.mark.parametrize(("kind", "spelling"), list(itertools.product(KINDS, SPELLINGS)))
def test_no_verb_reaches_what_an_application_keeps_for_itself(
    house: House, mount: str, kind: str, spelling: str
) -> None:
    name = KINDS[kind].format(run=house.run, life=house.life)
    path = f"{mount}/{SPELLINGS[spelling](name)}"
    told = {
        verb: house.ask(path + query, method, headers, b"1" if verb in {"create", "append"} else b"").status
        for verb, (method, query, headers) in VERBS.items()
    }
    assert told == dict.fromkeys(VERBS, 403)
    source = [("stream-forked-from", path), *TEXT]
    assert house.ask(f"{mount}/fork", "PUT", source).status == 403
    assert house.ask(f"{mount}/fork", "GET", []).status == 404


@pytest.mark.parametrize("mount", ["/streams", "/deep/down"])
def test_the_id_of_a_run_names_nothing_at_an_endpoint(house: House, mount: str) -> None:
    path = f"{mount}/{house.run}"
    for method, query, headers in VERBS.values():
        if method not in {"PUT", "DELETE"}:
            assert house.ask(path + query, method, headers, b"1" if not query else b"").status == 404
    assert house.ask(f"{mount}/fork", "PUT", [("stream-forked-from", path), *TEXT]).status == 404
    assert house.ask(f"{mount}/fork", "PUT", [("stream-forked-from", f"/_streams/{house.run}")]).status == 404


def test_a_stream_with_the_name_of_a_run_is_not_the_run(house: House) -> None:
    path = f"/streams/{house.run}"
    assert house.ask(path, "PUT", TEXT, b"forged").status == 201
    assert house.ask(path, "POST", [*TEXT, ("stream-closed", "true")], b"forged").status in {200, 204}
    assert stored(house.url, stream_of(house.run)) == (b'"mine"\n', False)
    assert house.ask(path, "DELETE", []).status == 204
    assert stored(house.url, stream_of(house.run)) == (b'"mine"\n', False)


def test_at_its_own_url_a_run_is_read_and_stopped_and_nothing_else(house: House) -> None:
    path, forked = f"/_streams/{house.run}", [("stream-forked-from", f"/_streams/{house.run}"), *TEXT]
    for method, headers in (("PUT", TEXT), ("PUT", forked), ("POST", TEXT), ("DELETE", [])):
        assert house.ask(path, method, headers, b"1" if headers == TEXT else b"").status == 403
    for name in (SECRET, request_of(house.run, house.life), stream_of(house.run), f"{house.run}/../{SECRET}"):
        for method, query in (("GET", ""), ("GET", "?offset=-1"), ("HEAD", ""), ("PUT", ""), ("DELETE", "")):
            assert house.ask(f"/_streams/{name}{query}", method, TEXT).status in {403, 404}
    assert stored(house.url, stream_of(house.run)) == (b'"mine"\n', False)
