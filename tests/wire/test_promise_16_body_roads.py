"""Every road that a request's body can take: what it is by how it is framed by how it comes by where it goes.

Whatever refuses a request without its body says so before the body comes. What waits for a body waits only so
long, and no other client waits with it. Whoever wants the body gets all of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from starlette.types import Receive, Scope, Send
from tests.wire.conftest import PATIENCE

from millstream import (
    ASGIAppController,
    Millstream,
    RestController,
    Settings,
    TGController,
    abort,
    expose,
    request,
)
from millstream.testing import Server, WireClient, connect, serve

pytestmark = pytest.mark.wire

SHORT = 0.03
LONGEST, PARSED = 300_000, 100_000

Pairs = list[tuple[str, str]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that sends back what it received."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


mounted = ASGIAppController(echo)


class Guarded(TGController):
    mounted = mounted

    def _check_security(self) -> bool:
        return "x-allowed" in request.headers

    @expose("json")
    async def save(self, **fields: Any) -> Any:
        return fields


class Asking(TGController):
    """It reads the body to find out who asks."""

    async def _check_security(self) -> bool:
        return bool(await request.body())

    @expose("json")
    async def save(self, a: str, f: Any = None) -> Any:
        return {"a": a}


class Things(RestController):
    @expose("json")
    def get_one(self, thing: str) -> Any:
        return thing

    @expose("json")
    def put(self, thing: str, a: str) -> Any:
        return {"put": thing, "a": a}


class Posts(RestController):
    mounted = mounted

    @expose("json")
    def post(self, a: str, f: Any = None) -> Any:
        return {"a": a}


class Readable(RestController):
    @expose("json")
    def get_all(self) -> Any:
        return []

    @expose("json")
    def new(self) -> Any:
        return "new"


class Finding(TGController):
    def named(self, a: str) -> None: ...

    @expose("json")
    def wanting(self, missing: str) -> Any:
        return missing

    @expose()
    def _lookup(self, *rest: str) -> Any:
        return mounted, rest


class Choosing(TGController):
    @expose("json")
    def named(self, missing: str) -> Any:
        return {"named": missing}

    @expose("json")
    def _default(self, *rest: str, a: str, f: Any = None) -> Any:
        return {"a": a}


class Root(TGController):
    mounted = mounted
    guarded = Guarded()
    asking = Asking()
    things = Things()
    posts = Posts()
    readable = Readable()
    finding = Finding()
    choosing = Choosing()

    @expose("json")
    def ping(self) -> Any:
        return "pong"

    @expose("json")
    def sync(self, a: str, f: Any = None) -> Any:
        return {"a": a}

    @expose("json")
    async def aio(self, a: str, f: Any = None) -> Any:
        return {"a": a}

    @expose("ndjson")
    def stream(self, a: str, f: Any = None) -> Any:
        yield {"a": a}

    @expose("ndjson", durable=True)
    def durable(self, a: str, f: Any = None) -> Any:
        yield {"a": a}

    @expose("json")
    async def fields(self) -> Any:
        return {"a": request.params["a"]}

    @expose()
    async def parsed_and_raw(self, **fields: Any) -> bytes:
        return await request.body()

    @expose()
    def parsed_and_streamed(self, **fields: Any) -> bytes:
        return b"".join(request.stream())

    @expose()
    def raw(self) -> bytes:
        return b"".join(request.stream())

    @expose(parse_body=False)
    def unparsed(self) -> bytes:
        return b"".join(request.stream())

    @expose(parse_body=False)
    async def unparsed_aio(self) -> bytes:
        return await request.body()

    @expose("json", allowed_methods=["GET"])
    def readable_only(self, a: str) -> Any:
        return a

    @expose("json", allowed_methods=["GET"])
    def readable_only_without_arguments(self) -> Any:
        return None

    @expose("json", max_body=10)
    def little(self, a: str) -> Any:
        return a

    @expose("csv")
    @expose("json")
    def formats(self, a: str) -> Any:
        return [a]

    @expose("json")
    def closed(self, a: str) -> Any:
        abort(410)


class Kind(NamedTuple):
    content_type: str
    body: bytes
    broken: bytes


MULTIPART = b'--x\r\nContent-Disposition: form-data; name="%b\r\n\r\n%b\r\n'
KINDS = {
    "urlencoded": Kind("application/x-www-form-urlencoded", b"a=" + b"v" * 50_000, b"a=%ff"),
    "json": Kind("application/json", b'{"a":"' + b"v" * 50_000 + b'"}', b'{"a":"\xff"}'),
    "multipart": Kind(
        "multipart/form-data; boundary=x",
        MULTIPART % (b'a"', b"v" * 50_000) + MULTIPART % (b'f"; filename="f"', b"x" * 150_000) + b"--x--\r\n",
        MULTIPART % (b'a"', b"\xff") + b"--x--\r\n",
    ),
    "text": Kind("text/plain", b"v" * 50_000, b""),
}
PARSED_KINDS = [name for name, kind in KINDS.items() if kind.broken]
FRAMINGS = ["length", "chunked"]


@pytest.fixture(scope="module")
def app() -> Millstream:
    return Millstream(Root(), Settings(max_body=LONGEST, max_parsed_body=PARSED, durable_url="memory:"))


@pytest.fixture(scope="module")
def server(app: Millstream) -> Iterator[Server]:
    with serve(app) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with serve(Millstream(Root(), Settings(stall_timeout=SHORT, durable_url="memory:"))) as running:
        yield running


def begin(
    wire: WireClient,
    path: str,
    kind: str,
    framing: str,
    *,
    method: str = "POST",
    length: int = 0,
    headers: Pairs | None = None,
) -> None:
    """Send the head of a request whose body is that of a kind, unless a length is given."""
    framed = ("transfer-encoding", "chunked")
    if framing == "length":
        framed = ("content-length", str(length or len(KINDS[kind].body)))
    wire.send(path, [("content-type", KINDS[kind].content_type), framed, *(headers or [])], method=method)


def send(wire: WireClient, framing: str, *pieces: bytes, ends: bool = True) -> None:
    for piece in pieces:
        wire.send_raw(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
    if ends and framing == "chunked":
        wire.send_raw(b"0\r\n\r\n")


def is_served(server: Server) -> bool:
    with connect(server.host, server.port, timeout=PATIENCE) as other:
        return other.get("/ping").rest() == b"pong"


every_kind = pytest.mark.parametrize("kind", KINDS)
every_parsed_kind = pytest.mark.parametrize("kind", PARSED_KINDS)
every_framing = pytest.mark.parametrize("framing", FRAMINGS)


# What needs no body


REFUSED = [
    ("/nowhere", 404, "POST", []),
    ("/closed/too/far", 404, "POST", []),
    ("/things/1/2/3", 404, "POST", []),
    ("/guarded/save", 403, "POST", []),
    ("/guarded/mounted", 403, "POST", []),
    ("/guarded/nowhere", 403, "POST", []),
    ("/readable_only", 405, "POST", []),
    ("/readable_only_without_arguments", 405, "PUT", []),
    ("/readable", 405, "POST", []),
    ("/posts", 405, "PUT", []),
    ("/sync", 405, "PROPFIND", []),
    ("/formats", 406, "POST", [("accept", "image/png")]),
    ("/formats?format=xml", 406, "POST", []),
]


LACKING = {"/readable_only", "/formats", "/formats?format=xml", "/sync"}


@every_kind
@every_framing
@pytest.mark.parametrize(("path", "status", "method", "headers"), REFUSED)
def test_what_is_refused_anyway_is_refused_before_the_body_comes(  # noqa: PLR0917
    server: Server, kind: str, framing: str, path: str, status: int, method: str, headers: Pairs
) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing, method=method, headers=headers)
        send(wire, framing, b"a", ends=False)
        if kind == "text" and path in LACKING:
            status = 422  # a text has no fields, and one is missing
        assert wire.read_head(method).status == status


@every_parsed_kind
@pytest.mark.parametrize(
    ("path", "length", "headers", "status"),
    [
        ("/sync", LONGEST + 1, [], 413),
        ("/little", 11, [], 413),
        ("/posts", LONGEST + 1, [], 413),
        ("/sync", 100, [("content-encoding", "gzip")], 415),
    ],
)
def test_what_is_too_long_or_compressed_is_refused_before_it_comes(  # noqa: PLR0917
    server: Server, kind: str, path: str, length: int, headers: Pairs, status: int
) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, "length", length=length, headers=headers)
        assert wire.read_head("POST").status == status


@pytest.mark.parametrize("kind", ["urlencoded", "json"])
def test_what_is_parsed_in_memory_is_shorter_than_what_lies_on_the_disk(server: Server, kind: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, "/sync", kind, "length", length=PARSED + 1)
        assert wire.read_head("POST").status == 413


# What gets it


def came() -> bytes:
    return json.dumps({"a": "v" * 50_000}, separators=(",", ":")).encode()


ACTIONS: list[tuple[str, Pairs]] = [
    ("/sync", []),
    ("/aio", []),
    ("/stream", []),
    ("/durable", []),
    ("/posts", []),
    ("/fields", []),
    ("/choosing/named", []),
    ("/choosing/else", []),
    ("/asking/save", []),
]


@every_parsed_kind
@every_framing
@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(("path", "headers"), ACTIONS)
def test_an_action_gets_the_fields_however_the_body_comes(  # noqa: PLR0917
    server: Server, kind: str, framing: str, pieces: int, path: str, headers: Pairs
) -> None:
    body = KINDS[kind].body
    size = -(-len(body) // pieces)
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing, headers=headers)
        for start in range(0, len(body), size):
            if start:
                assert is_served(server)
            send(wire, framing, body[start : start + size], ends=False)
        send(wire, framing)
        reply = wire.read_head("POST")
        assert (reply.status, reply.rest().strip()) == (200, came())


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
@every_framing
def test_a_form_may_name_another_method(server: Server, kind: str, framing: str) -> None:
    named = {
        "urlencoded": b"_method=PUT&a=1",
        "multipart": b"".join([MULTIPART % (b'_method"', b"put"), MULTIPART % (b'a"', b"1"), b"--x--\r\n"]),
    }
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, "/things/7", kind, framing, length=len(named[kind]))
        send(wire, framing, named[kind])
        reply = wire.read_head("POST")
        assert (reply.status, json.loads(reply.rest())) == (200, {"put": "7", "a": "1"})


RAW = ["/mounted/x", "/guarded/mounted", "/posts/mounted", "/finding/x/y", "/finding/wanting", "/raw"]
KEPT = ["/parsed_and_raw", "/parsed_and_streamed", "/unparsed", "/unparsed_aio"]


@every_kind
@every_framing
@pytest.mark.parametrize("path", [*RAW, *KEPT])
def test_whoever_wants_the_body_as_it_came_gets_all_of_it(
    server: Server, kind: str, framing: str, path: str
) -> None:
    body = KINDS[kind].body
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing, headers=[("x-allowed", "yes")])
        send(wire, framing, body[:10_000], ends=False)
        assert is_served(server)
        send(wire, framing, body[10_000:])
        reply = wire.read_head("POST")
        assert reply.status == 200
        assert reply.rest() == body


@every_kind
@every_framing
@pytest.mark.parametrize(
    ("method", "path"), [*product(["GET", "DELETE", "PATCH"], ["/mounted", "/finding/x"])]
)
def test_an_application_gets_the_body_of_any_method(
    server: Server, kind: str, framing: str, method: str, path: str
) -> None:
    body = KINDS[kind].body
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing, method=method)
        send(wire, framing, body)
        assert wire.read_head(method).rest() == body


# What does not come, or is none


PARSING = ["/sync", "/aio", "/stream", "/durable", "/posts", "/choosing/x"]


@every_framing
@pytest.mark.parametrize("sent", [0, 1, 45_000])
@pytest.mark.parametrize(("path", "kind"), [*product(PARSING, PARSED_KINDS), *product(["/raw"], KINDS)])
def test_a_body_that_stops_coming_is_a_408_however_much_has_come(
    impatient: Server, kind: str, framing: str, sent: int, path: str
) -> None:
    with connect(impatient.host, impatient.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing)
        if sent:
            send(wire, framing, KINDS[kind].body[:sent], ends=False)
        reply = wire.read_head("POST")
        assert reply.status == 408
        assert is_served(impatient)


@every_kind
@every_framing
@pytest.mark.parametrize("path", ["/sync", "/durable", "/raw", "/posts", "/mounted", "/finding/wanting"])
def test_a_client_that_leaves_half_way_is_waited_for_no_more(
    server: Server, app: Millstream, kind: str, framing: str, path: str
) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing)
        send(wire, framing, KINDS[kind].body[:1000], ends=False)
        wire.reset()
    deadline = time.monotonic() + PATIENCE
    while app.ledger._answered or app.ledger._waiting.streams:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert is_served(server)


@pytest.mark.parametrize(
    ("path", "kind"), [*product(PARSING, PARSED_KINDS), *product(["/raw", "/unparsed"], KINDS)]
)
def test_a_body_that_becomes_too_long_is_a_413(server: Server, kind: str, path: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, "chunked")
        send(wire, "chunked", *[b"x" * 50_000] * 7, ends=False)
        assert wire.read_head("POST").status == 413


@every_parsed_kind
@every_framing
@pytest.mark.parametrize("path", ["/sync", "/aio", "/stream", "/durable", "/posts", "/choosing/named"])
def test_a_body_in_no_charset_is_a_400(server: Server, kind: str, framing: str, path: str) -> None:
    broken = KINDS[kind].broken
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, path, kind, framing, length=len(broken))
        send(wire, framing, broken)
        assert wire.read_head("POST").status == 400


@pytest.mark.parametrize("kind", ["urlencoded", "json"])
def test_fields_that_an_action_lacks_are_named(server: Server, kind: str) -> None:
    body = {"urlencoded": b"b=1", "json": b'{"b":1}'}[kind]
    with connect(server.host, server.port, timeout=PATIENCE) as wire:
        begin(wire, "/sync", kind, "length", length=len(body))
        send(wire, "length", body)
        reply = wire.read_head("POST")
        assert (reply.status, json.loads(reply.rest())["errors"]) == (
            422,
            [{"field": "a", "message": "is missing"}],
        )


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("json", b'{"a":{"$ne":null}}'),
        ("json", b'{"a":["1","2"]}'),
        ("urlencoded", b"a=1&a=2"),
    ],
)
def test_no_list_and_no_object_reaches_a_parameter_without_annotation(kind: str, body: bytes) -> None:
    class Plain(TGController):
        @expose("json")
        def named(self, a):  # type: ignore[no-untyped-def]  # as TurboGears' are
            return a

        @expose("json")
        def collected(self, **fields: Any) -> Any:
            return fields["a"]

    with serve(Millstream(Plain())) as server, connect(server.host, server.port, timeout=PATIENCE) as wire:
        for path, status in (("/named", 422), ("/collected", 200)):
            begin(wire, path, kind, "length", length=len(body))
            send(wire, "length", body)
            reply = wire.read_head("POST")
            assert reply.status == status
            reply.rest()


# How many


def test_requests_that_wait_for_a_body_have_caps_of_their_own() -> None:
    settings = Settings(max_streams=3, max_streams_per_client=2, retry_after=7, durable_url="memory:")
    with serve(Millstream(Root(), settings)) as server:
        wires = [connect(server.host, server.port, timeout=PATIENCE) for _ in range(3)]
        for wire in wires:
            begin(wire, "/sync", "json", "length")
        refused = wires[2].read_head("POST")
        assert (refused.status, refused.headers["retry-after"]) == (429, "7")
        assert "2 requests wait for their bodies for this client" in json.loads(refused.rest())["detail"]
        assert is_served(server)
        send(wires[0], "length", KINDS["json"].body)
        reply = wires[0].read_head("POST")
        assert (reply.status, reply.rest()) == (200, came())
        begin(wires[0], "/sync", "json", "length")
        send(wires[0], "length", KINDS["json"].body)
        assert wires[0].read_head("POST").status == 200
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("path", ["/sync", "/raw", "/posts"])
def test_one_request_more_than_may_wait_is_a_503_before_a_byte_is_read(path: str) -> None:
    settings = Settings(max_bodies=2, retry_after=7, durable_url="memory:")
    app = Millstream(Root(), settings)
    with serve(app) as server:
        wires = [connect(server.host, server.port, timeout=PATIENCE) for _ in range(3)]
        for wire in wires[:2]:
            begin(wire, path, "json", "length")
        deadline = time.monotonic() + PATIENCE
        while len(app.ledger._waiting.streams) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        begin(wires[2], path, "json", "length")
        refused = wires[2].read_head("POST")
        assert (refused.status, refused.headers["retry-after"]) == (503, "7")
        assert is_served(server)
        for wire in wires:
            wire.close()
