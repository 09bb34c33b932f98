from __future__ import annotations

import threading

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millstream.testing.client import Client
from millstream.testing.failures import BodyTruncated, Leaked, Misused, ProtocolViolation, TimedOut
from millstream.testing.reply import StreamReply
from millstream.testing.sync_client import SyncClient, SyncStreamReply


async def method(request: Request) -> Response:
    return PlainTextResponse(request.method + (await request.body()).decode())


async def ticks(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    number = 0
    while True:
        number += 1
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"line\nrest", "more_body": True})


VERBS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
SITE = Starlette(routes=[Route("/", method, methods=VERBS)])


def test_every_verb_blocks_until_its_whole_reply_is_there() -> None:
    with SyncClient(SITE) as client:
        verbs = [client.get, client.options, client.post, client.put, client.patch, client.delete]
        assert [verb("/").text for verb in verbs] == ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
        assert client.head("/").body == b""
        assert client.request("POST", "/", content=[b"1", b"2"]).text == "POST12"


def test_an_infinite_stream_is_read_step_by_step() -> None:
    with SyncClient(ticks, send_raises=True) as client, client.stream("GET", "/") as reply:
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.next_chunk() == b"data: 1\n\n"
        assert next(iter(reply)) == b"data: 2\n\n"
        assert reply.next_line() == "data: 3"
        event = reply.next_event()
        assert event is not None
        assert reply.events.last_id == ""


def test_a_stream_can_be_stalled_resumed_and_left() -> None:
    with SyncClient(ticks, send_raises=True) as client, client.stream("GET", "/", await_head=False) as reply:
        assert reply.wait_head().status == 200
        reply.stall(1)
        reply.wait_blocked()
        assert reply.unread >= 1
        reply.resume()
        assert reply.next_chunk() == b"data: 1\n\n"
        reply.disconnect()
        reply.wait_ended()
        assert reply.ended


def test_errors_arrive_where_they_were_asked_for() -> None:
    with SyncClient(broken) as client, client.stream("GET", "/") as reply:
        assert reply.next_line() == "line"
        with pytest.raises(BodyTruncated) as caught:
            reply.rest()
    assert caught.value.received == b"rest"


def test_a_wait_ends() -> None:
    late = pytest.raises(TimedOut, match=r"0\.01 s for the application's call to end")
    with SyncClient(ticks, send_raises=True) as client, client.stream("GET", "/") as reply, late:
        reply.wait_ended(timeout=0.01)


def test_an_error_of_the_block_comes_through() -> None:
    client = SyncClient(SITE)
    with pytest.raises(KeyError, match="mine"), client:
        raise KeyError("mine")


def test_an_application_can_be_shut_down_early() -> None:
    with SyncClient(SITE) as client:
        client.shutdown()


def test_a_client_outside_its_block_says_so() -> None:
    with pytest.raises(Misused, match="inside `with SyncClient"):
        SyncClient(SITE).get("/")


def test_leaks_can_be_forbidden() -> None:
    leave = threading.Event()

    async def leaky(scope: Scope, receive: Receive, send: Send) -> None:
        threading.Thread(target=leave.wait, name="forgotten").start()
        await method(Request(scope, receive))

    client = SyncClient(leaky, require_no_leaks=True, lifespan=False, raise_app_errors=False, timeout=0.05)
    with pytest.raises(Leaked, match="forgotten"), client, pytest.raises(ProtocolViolation):
        client.get("/")
    leave.set()


@pytest.mark.parametrize(("sync", "other"), [(SyncClient, Client), (SyncStreamReply, StreamReply)])
def test_it_offers_what_the_asynchronous_one_offers(sync: type, other: type) -> None:
    assert _public(sync) == _public(other)


def _public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}
