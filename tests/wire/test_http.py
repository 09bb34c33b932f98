"""What HTTP asks of any server, where streams make it easy to get wrong."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.wire.conftest import PATIENCE, Probe, here, watched

from millstream import Millstream, Reason, RestController, Settings, TGController, expose, response, stream
from millstream.testing import Framing, Server, WireClient, connect

pytestmark = pytest.mark.wire

MAX_BODY = 1000
HTML = [("accept", "text/html,*/*;q=0.5")]
FORM = [("content-type", "application/x-www-form-urlencoded")]


class Sync(TGController):
    @expose("ndjson")
    @expose("json")
    def rows(self) -> Iterator[int]:
        here().note("called")
        response.headers["x-own"] = "set"
        watched()

        def produced() -> Iterator[int]:
            here().note("begun")
            yield 1
            yield 2

        return produced()

    @expose()
    def parts(self) -> Iterator[str]:
        yield "one,"
        stream.sleep(0.001)
        yield "two"

    @expose()
    def form(self, field: str = "") -> str:
        here().note("called")
        return field


class Async(TGController):
    @expose("ndjson")
    @expose("json")
    async def rows(self) -> AsyncIterator[int]:
        here().note("called")
        response.headers["x-own"] = "set"
        watched()

        async def produced() -> AsyncIterator[int]:
            here().note("begun")
            yield 1
            yield 2

        return produced()

    @expose()
    async def parts(self) -> AsyncIterator[str]:
        yield "one,"
        await stream.sleep(0.001)
        yield "two"

    @expose()
    async def form(self, field: str = "") -> str:
        here().note("called")
        return field


class Movies(RestController):
    @expose("json")
    def get_all(self) -> list[int]:
        return [1]

    @expose("json")
    def post(self) -> dict[str, Any]:
        return {}


class Root(TGController):
    sync = Sync()
    aio = Async()
    movies = Movies()

    @expose("json")
    def typed(self, number: int) -> dict[str, int]:
        return {"number": number}

    @expose("json")
    @expose("csv")
    def either(self) -> list[dict[str, int]]:
        return [{"a": 1}]

    @expose(allowed_methods=["POST", "PUT"])
    def written(self) -> str:
        return "written"


app = Millstream(Root(), Settings(max_body=MAX_BODY))


# HEAD and OPTIONS


@pytest.mark.parametrize("extension", ["", ".json", ".ndjson"])
def test_head_runs_the_action_but_not_its_producer_and_has_the_head_of_get(
    wire: WireClient, kind: str, extension: str, probe: Probe
) -> None:
    path = f"/{kind}/rows{extension}"
    head = wire.get(path, probe.headers, method="HEAD")
    assert probe.wait_ended().reason is Reason.COMPLETED
    assert probe.names == ["called", "end"]
    get = wire.get(path, probe.headers)
    assert get.rest()
    ignored = {"date", "transfer-encoding"}
    assert (head.status, _without(head.headers.items(), ignored)) == (
        200,
        _without(get.headers.items(), ignored),
    )


def test_options_runs_neither(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/rows", probe.headers, method="OPTIONS")
    assert (reply.status, reply.rest(), probe.names) == (204, b"", [])
    assert {"GET", "HEAD", "OPTIONS"} <= set(reply.headers["allow"].split(", "))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/written", {"POST", "PUT", "OPTIONS"}), ("/movies", {"GET", "HEAD", "POST", "OPTIONS"})],
)
def test_options_tells_what_is_allowed(wire: WireClient, path: str, allowed: set[str]) -> None:
    assert set(wire.get(path, method="OPTIONS").headers["allow"].split(", ")) == allowed


# Connections


def test_a_client_of_http_1_0_gets_the_body_unframed(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/parts", version="1.0")
    assert (reply.status, reply.rest()) == (200, b"one,two")


def test_a_connection_is_closed_where_the_client_asks_for_it(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/parts", [("connection", "close")])
    assert (reply.framing, reply.rest(), reply.complete) == (Framing.CHUNKED, b"one,two", True)
    assert reply.headers["connection"] == "close"
    assert wire.socket.recv(1) == b""


def test_a_connection_is_used_again_after_a_stream(wire: WireClient, kind: str) -> None:
    assert [wire.get(f"/{kind}/parts").rest() for _ in range(3)] == [b"one,two"] * 3


def test_pipelined_requests_are_answered_in_order(wire: WireClient, kind: str) -> None:
    other = {"sync": "aio", "aio": "sync"}[kind]
    for path in (f"/{kind}/parts", "/typed?number=2", f"/{other}/parts"):
        wire.send(path)
    assert [wire.read_head().rest() for _ in range(3)] == [b"one,two", b'{"number":2}', b"one,two"]


@pytest.mark.parametrize(
    "half", [b"GET /sync/pa", b"GET /sync/parts HTTP/1.1\r\nhost: a\r\nx-a", b"\x16\x03\x01"]
)
def test_half_a_request_disturbs_nobody(server: Server, wire: WireClient, half: bytes) -> None:
    with connect(server.host, server.port) as broken:
        broken.send_raw(half)
        broken.reset()
    assert wire.get("/sync/parts").rest() == b"one,two"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_half_a_form_is_a_client_that_left_and_no_failure(
    *, server: Server, wire: WireClient, kind: str, how: str, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "millstream")
    with connect(server.host, server.port) as broken:
        broken.send(f"/{kind}/form", [*probe.headers, *FORM, ("content-length", "100")], method="POST")
        broken.send_raw(b"field=va")
        assert wire.get("/sync/parts").rest()  # by now the server has read what there is
        getattr(broken, how)()
    deadline = time.monotonic() + PATIENCE
    while "client-gone" not in " ".join(record.getMessage() for record in caplog.records):
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.005)
    assert "called" not in probe.names
    assert not [record for record in caplog.records if record.levelno > 20]


def test_a_client_that_leaves_while_its_action_runs_is_no_failure(
    server: Server, kind: str, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(server.host, server.port) as leaver:
        leaver.send(f"/{kind}/rows", probe.headers)
    probe.wait_ended()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# Problems


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/nowhere", [], b"", 404),
        ("GET", "/written", [], b"", 405),
        ("DELETE", "/movies", [], b"", 405),
        ("GET", "/either.xml", [], b"", 404),
        ("POST", "/sync/form", FORM, b"field=" + b"x" * MAX_BODY, 413),
        ("POST", "/aio/form", FORM, b"field=" + b"x" * MAX_BODY, 413),
        ("GET", "/typed?number=many", [], b"", 422),
        ("GET", "/typed", [], b"", 422),
        ("POST", "/typed", [("content-type", "application/json")], b"{", 400),
    ],
)
@pytest.mark.parametrize("accept", [[], HTML], ids=["program", "browser"])
def test_what_cannot_be_answered_is_a_problem_document_in_the_clients_language(
    *,
    wire: WireClient,
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
    status: int,
    accept: list[tuple[str, str]],
) -> None:
    reply = wire.get(path, [*accept, *headers], method=method, body=body)
    told = reply.rest()
    assert reply.status == status
    assert reply.framing is Framing.LENGTH
    if accept:
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert str(status).encode() in told
    else:
        assert reply.headers["content-type"] == "application/problem+json"
        assert json.loads(told)["status"] == status


@pytest.mark.parametrize(
    ("accept", "told"), [("image/png", "application/problem+json"), ("text/html", "text/html; charset=utf-8")]
)
def test_a_format_that_is_not_offered_is_a_406(wire: WireClient, accept: str, told: str) -> None:
    reply = wire.get("/either", [("accept", accept)])
    assert (reply.status, reply.headers["content-type"]) == (406, told)
    assert b"application/json, text/csv" in reply.rest()


def test_a_wrong_argument_is_named(wire: WireClient) -> None:
    problem = json.loads(wire.get("/typed?number=many").rest())
    assert [error["field"] for error in problem["errors"]] == ["number"]


def test_a_method_that_is_not_allowed_is_told_which_are(wire: WireClient) -> None:
    assert set(wire.get("/written").headers["allow"].split(", ")) >= {"POST", "PUT"}


def test_a_chunked_body_that_is_too_long_is_refused_though_it_declares_no_length(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    headers = [*probe.headers, *FORM, ("transfer-encoding", "chunked")]
    wire.send(f"/{kind}/form", headers, method="POST")
    wire.send_raw(b"%x\r\n%b\r\n0\r\n\r\n" % (MAX_BODY + 1, b"x" * (MAX_BODY + 1)))
    assert wire.read_head("POST").status == 413
    assert "called" not in probe.names


def test_a_problem_has_no_body_for_head(wire: WireClient) -> None:
    reply = wire.get("/nowhere", method="HEAD")
    assert (reply.status, reply.rest()) == (404, b"")
    assert wire.get("/nowhere").status == 404


@pytest.mark.parametrize(
    "path", ["/__class__", "/_private", "/sync/__init__", "/sync/rows/__call__", "/%5F%5Fclass%5F%5F"]
)
def test_what_is_not_exposed_is_not_there(wire: WireClient, path: str) -> None:
    assert wire.get(path).status in {400, 404}


def test_a_server_without_the_websocket_answers_no_upgrade(wire: WireClient) -> None:
    reply = wire.get(
        "/sync/parts",
        [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    )
    assert reply.status == 403


def _without(headers: list[tuple[str, str]], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in headers if name not in names}
