from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.errors import ControllerError
from millstream.gateways.connection import Connection
from millstream.pipeline.foreign import ForeignBody
from millstream.testing import no_leaks

OWN = [(b"x-mine", b"author"), (b"x-own", b"author"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def piece(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def left() -> Message:
    return {"type": "http.disconnect"}


async def swallow(_message: Message) -> None: ...


def body_of(response: ASGIApp, method: str = "GET", **scope: Any) -> ForeignBody:
    told = {"type": "http", "method": method, "path": "/", "headers": [], **scope}
    return ForeignBody(response, Connection(told, left, swallow), "Root.feed")


def sending(*messages: Message, log: list[str] | None = None) -> ASGIApp:
    """A response that sends these, and notes when each was taken."""

    async def response(_scope: Scope, _receive: Receive, send: Send) -> None:
        for number, message in enumerate(messages):
            await send(message)
            if log is not None:
                log.append(f"sent {number}")

    return response


async def pieces(*texts: str, raises: Exception | None = None) -> AsyncIterator[str]:
    for text in texts:
        await asyncio.sleep(0)
        yield text
    if raises is not None:
        raise raises


async def read(body: ForeignBody) -> list[bytes]:
    return [data async for data in body]


async def through(body: ForeignBody) -> list[bytes]:
    """All of a response, from its head to what it does after its body."""
    await body.begin()
    received = await read(body)
    await body.finish()
    return received


async def test_what_is_sent_at_once_is_whole() -> None:
    body = body_of(PlainTextResponse("hello"))
    await body.begin()
    assert body.whole == b"hello"
    await body.finish()


async def test_what_is_sent_piece_by_piece_is_a_stream_of_them() -> None:
    async with no_leaks():
        body = body_of(StreamingResponse(pieces("one", "two")))
        await body.begin()
        assert body.whole is None
        assert await read(body) == [b"one", b"two"]
        await body.aclose()
        await body.finish()


async def test_the_last_piece_may_be_the_end_and_an_empty_one_is_an_item() -> None:
    body = body_of(sending(START, piece(b"one"), piece(b""), piece(b"two", more=False)))
    await body.begin()
    assert await read(body) == [b"one", b"", b"two"]
    await body.finish()


async def test_the_response_waits_while_its_reader_works() -> None:
    log: list[str] = []
    body = body_of(sending(START, piece(b"one"), piece(b"two"), piece(b"", more=False), log=log))
    await body.begin()
    for number, data in enumerate((b"one", b"two")):
        assert await anext(body) == data
        await asyncio.sleep(0)
        assert log == [f"sent {before}" for before in range(number + 1)]
    await body.give_up()


async def test_its_last_message_is_sent_when_the_end_of_the_body_was() -> None:
    log: list[str] = []
    response = StreamingResponse(pieces("one"), background=BackgroundTask(log.append, "background"))
    body = body_of(response)
    await body.begin()
    assert body.has_background
    assert await read(body) == [b"one"]
    await body.aclose()
    await asyncio.sleep(0)
    assert log == []
    await body.finish()
    assert log == ["background"]


async def test_what_its_background_task_raises_goes_up() -> None:
    def fail() -> None:
        raise LookupError

    body = body_of(PlainTextResponse("hello", background=BackgroundTask(fail)))
    await body.begin()
    with pytest.raises(LookupError):
        await body.finish()


async def test_a_failure_comes_where_it_happens() -> None:
    async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await body_of(fails).begin()
    body = body_of(StreamingResponse(pieces("one", raises=LookupError())))
    await body.begin()
    assert await anext(body) == b"one"
    with pytest.raises(LookupError):
        await anext(body)


@pytest.mark.parametrize("messages", [(), (START,), (START, piece(b"one"))])
async def test_a_response_that_ends_before_its_body_has_failed(messages: tuple[Message, ...]) -> None:
    body = body_of(sending(*messages))
    with pytest.raises(ControllerError, match=r"Root\.feed returned a response that ended before its body"):
        await read(body)


async def test_a_response_that_was_cancelled_by_somebody_else_has_failed() -> None:
    async def cancels(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(ControllerError):
        await body_of(cancels).begin()


@pytest.mark.parametrize(
    "messages",
    [
        (piece(b"one"),),
        (START, START),
        (START, {"type": "http.response.pathsend", "path": "/etc/passwd"}),
        (START, piece(b"", more=False), piece(b"")),
    ],
)
async def test_a_message_out_of_its_turn_is_refused(messages: tuple[Message, ...]) -> None:
    body = body_of(sending(*messages))
    with pytest.raises(ControllerError, match="out of its turn"):
        await through(body)


async def test_it_is_stopped_wherever_it_is_and_also_before_its_first_step() -> None:
    async with no_leaks():
        for steps in range(3):
            body = body_of(StreamingResponse(pieces("one", "two", "three")))
            await body.begin()
            for _ in range(steps):
                await anext(body)
            await body.aclose()


async def test_a_producer_that_fails_while_it_is_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            raise LookupError

    body = body_of(StreamingResponse(stubborn()))
    await body.begin()
    assert await anext(body) == b"one"
    await body.aclose()
    assert "Root.feed: the body of a response failed while it was closed" in caplog.text


async def test_whether_a_client_that_has_left_ends_it_is_the_readers_decision() -> None:
    async def listens(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await receive()
        raise AssertionError("it was told that its client has left")

    body = body_of(listens)
    await body.begin()
    reading = asyncio.create_task(body.__anext__())
    await asyncio.sleep(0.01)  # nothing tells that something does not happen
    assert not reading.done()
    await body.give_up()
    with pytest.raises(ControllerError):
        await reading


async def test_a_server_does_not_send_a_file_by_itself(tmp_path: Any) -> None:
    told: list[Scope] = []

    async def response(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(scope)
        await PlainTextResponse("hello")(scope, receive, send)

    body = body_of(response, extensions={"http.response.pathsend": {}})
    await body.begin()
    await body.finish()
    assert told[0]["extensions"] == {}


# Its head


async def head_of(response: Response, method: str = "GET") -> list[tuple[bytes, bytes]]:
    body = body_of(response)
    await body.begin()
    try:
        return body.head(200, OWN, method).headers.raw
    finally:
        await body.give_up()


async def test_the_authors_headers_come_on_top_and_do_not_double_its_own() -> None:
    response = PlainTextResponse("hello", headers={"X-Own": "starlette"})
    response.set_cookie("c", "3")
    headers = await head_of(response)
    assert [value for name, value in headers if name == b"x-own"] == [b"starlette"]
    assert (b"x-mine", b"author") in headers
    assert len([name for name, _ in headers if name == b"set-cookie"]) == 3


async def test_the_response_itself_is_not_changed() -> None:
    response = PlainTextResponse("hello")
    before = list(response.raw_headers)
    await head_of(response)
    assert response.raw_headers == before


async def test_fields_that_only_a_server_decides_about_are_left_out() -> None:
    said = {"Connection": "keep-alive", "Transfer-Encoding": "chunked", "Keep-Alive": "5", "X-A": "1"}
    names = {name for name, _ in await head_of(StreamingResponse(pieces(), headers=said))}
    assert names.isdisjoint({b"connection", b"transfer-encoding", b"keep-alive"})
    assert b"x-a" in names
    assert (b"connection", b"close") in await head_of(PlainTextResponse("", headers={"Connection": "close"}))


@pytest.mark.parametrize("length", ["-1", "5, 5", "five", "+5"])
async def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes"):
        await head_of(StreamingResponse(pieces(), headers={"Content-Length": length}))


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_a_body_declares_no_length(status: int) -> None:
    response = Response(status_code=status, headers={"Content-Length": "5"})
    assert b"content-length" not in dict(await head_of(response))


@pytest.mark.parametrize("status", [100, 199, 600, 0])
async def test_a_status_that_is_none_of_a_response_is_refused(status: int) -> None:
    with pytest.raises(ControllerError, match=f"with the status {status}"):
        await head_of(Response(status_code=status))


@pytest.mark.parametrize(
    ("content_type", "is_events"), [("text/event-stream", True), ("text/plain", False), (None, False)]
)
async def test_the_head_of_events_says_connected(content_type: str | None, *, is_events: bool) -> None:
    body = body_of(StreamingResponse(pieces(), media_type=content_type))
    await body.begin()
    assert body.is_events is is_events
    await body.give_up()
