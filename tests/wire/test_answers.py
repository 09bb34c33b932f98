"""What an action may return besides a stream, and what it says around it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse
from tests.wire.conftest import Probe, here, watched

from millstream import Millstream, Reason, TGController, abort, expose, redirect, response, url
from millstream.errors import HeadAlreadySent
from millstream.testing import Framing, WireClient

pytestmark = pytest.mark.wire


class Sync(TGController):
    @expose()
    def nothing(self) -> None:
        return

    @expose()
    def text(self) -> str:
        return "süß"

    @expose()
    def data(self) -> Any:
        return memoryview(b"abc")

    @expose("json")
    def document(self) -> dict[str, int]:
        return {"a": 1}

    @expose()
    def wrong(self) -> Any:
        return 3

    @expose()
    def decorated(self) -> str:
        response.status = "202 Accepted"
        response.headers["x-own"] = "one"
        response.headers.append("x-own", "two")
        response.content_type = "text/x-own"
        response.set_cookie("name", "value", httponly=True)
        return "body"

    @expose("ndjson")
    def too_late(self) -> Iterator[str]:
        seen = here()
        yield "first"
        seen.pass_gate()
        for change in (_set_status, _set_header, _set_cookie, _delete_header):
            try:
                change()
            except HeadAlreadySent as refused:
                yield str(refused)

    @expose()
    def led_on(self) -> None:
        redirect("/elsewhere", {"a": "1 2"})

    @expose()
    def refused(self) -> None:
        abort(409, "twice")

    @expose()
    def starlette(self) -> PlainTextResponse:
        watched()
        response.headers["x-own"] = "added"
        response.set_cookie("name", "value")
        done = BackgroundTask(here().note, "background")
        return PlainTextResponse("body", 201, headers={"x-theirs": "kept"}, background=done)

    @expose()
    def starlette_stream(self) -> StreamingResponse:
        watched()
        return StreamingResponse(iter(["one,", "two"]))

    @expose()
    def address(self) -> str:
        return url("/a b", {"c": "d&e"})


class Async(TGController):
    @expose()
    async def nothing(self) -> None:
        return

    @expose()
    async def text(self) -> str:
        return "süß"

    @expose()
    async def data(self) -> Any:
        return memoryview(b"abc")

    @expose("json")
    async def document(self) -> dict[str, int]:
        return {"a": 1}

    @expose()
    async def wrong(self) -> Any:
        return 3

    @expose()
    async def decorated(self) -> str:
        response.status = "202 Accepted"
        response.headers["x-own"] = "one"
        response.headers.append("x-own", "two")
        response.content_type = "text/x-own"
        response.set_cookie("name", "value", httponly=True)
        return "body"

    @expose("ndjson")
    async def too_late(self) -> AsyncIterator[str]:
        seen = here()
        yield "first"
        await seen.passed_gate()
        for change in (_set_status, _set_header, _set_cookie, _delete_header):
            try:
                change()
            except HeadAlreadySent as refused:
                yield str(refused)

    @expose()
    async def led_on(self) -> None:
        redirect("/elsewhere", {"a": "1 2"})

    @expose()
    async def refused(self) -> None:
        abort(409, "twice")

    @expose()
    async def starlette(self) -> PlainTextResponse:
        watched()
        response.headers["x-own"] = "added"
        response.set_cookie("name", "value")
        done = BackgroundTask(here().note, "background")
        return PlainTextResponse("body", 201, headers={"x-theirs": "kept"}, background=done)

    @expose()
    async def starlette_stream(self) -> StreamingResponse:
        watched()
        return StreamingResponse(iter(["one,", "two"]))

    @expose()
    async def address(self) -> str:
        return url("/a b", {"c": "d&e"})


class Root(TGController):
    sync = Sync()
    aio = Async()


def _set_status() -> None:
    response.status = 500


def _set_header() -> None:
    response.headers["x-late"] = "too late"


def _set_cookie() -> None:
    response.set_cookie("late", "too late")


def _delete_header() -> None:
    del response.headers["content-type"]


app = Millstream(Root())


def test_nothing_is_204(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/nothing")
    assert (reply.status, reply.framing) == (204, Framing.NONE)
    assert "content-length" not in reply.headers
    assert wire.get(f"/{kind}/text").status == 200


@pytest.mark.parametrize(
    ("action", "body"), [("text", "süß".encode()), ("data", b"abc"), ("document", b'{"a":1}')]
)
def test_what_is_known_whole_has_its_length(wire: WireClient, kind: str, action: str, body: bytes) -> None:
    reply = wire.get(f"/{kind}/{action}")
    assert (reply.status, reply.framing, reply.rest()) == (200, Framing.LENGTH, body)


def test_what_is_no_response_is_a_500_and_its_type_is_in_the_log(
    wire: WireClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert wire.get(f"/{kind}/wrong").status == 500
    assert "wrong returned int, which is no response" in caplog.text


def test_status_headers_and_cookies_of_the_action_are_sent(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/decorated")
    assert (reply.status, reply.headers["content-type"]) == (202, "text/x-own")
    assert reply.headers.getlist("x-own") == ["one", "two"]
    assert reply.headers["set-cookie"].startswith("name=value; HttpOnly")


def test_after_the_first_item_the_head_cannot_be_changed(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/too_late", probe.headers)
    reply.next_chunk()
    probe.open()
    told = [json.loads(line) for line in reply.rest().splitlines()]
    changes = ("the status", "the header x-late", "a cookie", "the header content-type")
    assert told == [
        f"{change} cannot be changed: the head of this response was sent with its first item"
        for change in changes
    ]
    assert b"too late" not in wire.raw.partition(b"\r\n\r\n")[0]


def test_a_redirect_leads_on(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/led_on")
    assert (reply.status, reply.headers["location"]) == (302, "/elsewhere?a=1+2")
    assert reply.rest() == b""


def test_an_abort_is_a_problem(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/refused")
    assert (reply.status, json.loads(reply.rest())["detail"]) == (409, "twice")


def test_a_starlette_response_is_sent_as_it_is_with_what_the_action_adds(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/starlette", probe.headers)
    assert (reply.status, reply.rest()) == (201, b"body")
    assert (reply.headers["x-theirs"], reply.headers["x-own"]) == ("kept", "added")
    assert reply.headers["set-cookie"].startswith("name=value")
    assert probe.wait_ended().reason is Reason.COMPLETED
    assert probe.names == ["background", "end"]


def test_a_starlette_stream_streams(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/starlette_stream", probe.headers)
    assert (reply.framing, reply.rest()) == (Framing.CHUNKED, b"one,two")
    assert probe.wait_ended().reason is Reason.COMPLETED


def test_an_address_is_fit_for_the_wire(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/address").rest() == b"/a%20b?c=d%26e"
