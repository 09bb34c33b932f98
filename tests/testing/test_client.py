# ruff: noqa: PT012, SIM117  these errors come when an inner block is left; which one, the nesting shows

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millstream.errors import Truncated
from millstream.testing.bodies import unfinished
from millstream.testing.client import Client
from millstream.testing.failures import BodyTruncated, Misused, ProtocolViolation, StillRunning, TimedOut

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
VISITOR: contextvars.ContextVar[str] = contextvars.ContextVar("VISITOR", default="nobody")


def piece(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def http_only(scope: Scope) -> None:
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")


async def clock(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever, gives way after each, and ends when its client leaves."""
    await http_only(scope)
    await send(START)
    gone = asyncio.create_task(wait_gone(receive))
    number = 0
    while not gone.done():
        await send(piece(f"data: {(number := number + 1)}\n\n".encode()))
        await asyncio.sleep(0)


async def wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever, does not look, and never gives way by itself."""
    await http_only(scope)
    await send(START)
    while True:
        await send(piece(bytes(1024)))


class Scripted:
    """Sends a script, then raises or returns."""

    def __init__(self, *messages: dict[str, Any], error: BaseException | None = None) -> None:
        self.messages = messages
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        for message in self.messages:
            await send(message)
        if self.error is not None:
            raise self.error


async def echo(request: Request) -> Response:
    fields: dict[str, object] = {}
    async with request.form() as form:
        for name, value in form.items():
            if isinstance(value, str):
                fields[name] = value
            else:
                fields[name] = [value.filename, (await value.read()).decode()]
    return JSONResponse({"query": str(request.query_params), "path": request.url.path, "form": fields})


async def upload(request: Request) -> Response:
    return PlainTextResponse("|".join([chunk.decode() async for chunk in request.stream()]))


async def who(request: Request) -> Response:
    headers = [f"{name}: {value}" for name, value in request.headers.items()]
    return PlainTextResponse("\n".join(headers), headers={"x-visitor": VISITOR.get()})


SITE = Starlette(
    routes=[
        Route("/echo/{rest:path}", echo, methods=["GET", "POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/who", who),
    ]
)


async def test_a_whole_reply_has_status_headers_and_body() -> None:
    async with Client(SITE) as client:
        reply = await client.get("/echo/a b?x=1", params={"y": ["ü", 2]})
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.json() == {"query": "x=1&y=%C3%BC&y=2", "path": "/echo/a b", "form": {}}


async def test_the_query_and_the_path_reach_the_application_encoded_once() -> None:
    async with Client(SITE) as client:
        assert (await client.get("/echo/%C3%BC", params={"q": "a&b"})).json()["query"] == "q=a%26b"


async def test_every_verb_is_sent_as_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        await send(START)
        await send(piece(scope["method"].encode(), more=False))

    async with Client(app) as client:
        verbs = [client.get, client.options, client.post, client.put, client.patch, client.delete]
        assert [(await verb("/")).text for verb in verbs] == [
            "GET",
            "OPTIONS",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
        ]
        assert (await client.head("/")).body == b""


async def test_forms_and_files_arrive() -> None:
    async with Client(SITE) as client:
        reply = await client.post("/echo/", data={"a": "1"}, files={"f": ("ü.txt", b"content", "text/plain")})
        plain = await client.post("/echo/", data={"a": "ü"})
    assert reply.json()["form"] == {"a": "1", "f": ["ü.txt", "content"]}
    assert plain.json()["form"] == {"a": "ü"}


async def test_a_streamed_upload_arrives_chunk_by_chunk() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"b"):
            yield chunk

    async with Client(SITE) as client:
        assert (await client.post("/upload", content=chunks())).text == "a|b|"


async def test_headers_of_the_request_win_over_those_of_the_client() -> None:
    async with Client(SITE, headers={"X-A": "client", "Accept": "text/html"}) as client:
        lines = (await client.get("/who", headers=[("x-a", "1"), ("x-a", "2")])).text.splitlines()
    assert [line for line in lines if line.startswith(("x-a", "accept"))] == [
        "accept: text/html",
        "x-a: 1",
        "x-a: 2",
    ]


async def test_a_request_runs_in_the_context_the_client_was_opened_in() -> None:
    VISITOR.set("outer")
    async with Client(SITE) as client:
        VISITOR.set("inner")
        assert (await client.get("/who")).headers["x-visitor"] == "outer"


async def test_an_infinite_stream_is_read_step_by_step_in_no_time() -> None:
    began = time.perf_counter()
    async with Client(clock) as client, client.stream("GET", "/") as reply:
        assert await reply.next_chunk() == b"data: 1\n\n"
        event = await reply.next_event()
        assert event is not None
        assert event.data == "2"
    assert time.perf_counter() - began < 0.05


async def test_no_task_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with Client(clock) as client, client.stream("GET", "/", content=unfinished(b"x")):
        assert len(asyncio.all_tasks() - before) >= 2
    assert asyncio.all_tasks() == before


async def test_the_clean_end_is_none_and_stays_none() -> None:
    async with Client(Scripted(START, piece(b"a"), piece(b""), piece(b"b", more=False))) as client:
        async with client.stream("GET", "/") as reply:
            assert [await reply.next_chunk() for _ in range(4)] == [b"a", b"b", None, None]
        async with client.stream("GET", "/") as reply:
            assert [chunk async for chunk in reply] == [b"a", b"b"]


async def test_lines_are_put_together_from_chunks() -> None:
    script = Scripted(START, piece(b'{"a":'), piece(b'1}\n\n{"b"'), piece(b":2}\nc", more=False))
    async with Client(script) as client, client.stream("GET", "/") as reply:
        assert [await reply.next_line() for _ in range(5)] == ['{"a":1}', "", '{"b":2}', "c", None]


async def test_what_is_left_of_a_line_is_the_next_chunk() -> None:
    async with Client(Scripted(START, piece(b"a\nb"), piece(b"c", more=False))) as client:
        async with client.stream("GET", "/") as reply:
            assert await reply.next_line() == "a"
            assert await reply.next_chunk() == b"b"
            assert await reply.rest() == b"c"


async def test_an_application_that_returns_early_truncates() -> None:
    async with Client(Scripted(START, piece(b"a"))) as client:
        with pytest.raises(BodyTruncated, match=r"GET /x: .* without the end of the body") as caught:
            await client.get("/x")
    assert caught.value.received == b"a"


async def test_the_error_that_truncated_is_told_once_as_the_cause() -> None:
    error = ValueError("item 2")
    async with (
        Client(Scripted(START, piece(b"a"), error=error)) as client,
        client.stream("GET", "/") as reply,
    ):
        assert await reply.next_chunk() == b"a"
        with pytest.raises(BodyTruncated, match="item 2") as caught:
            await reply.next_chunk()
    assert caught.value.__cause__ is error


async def test_an_error_nobody_read_as_far_as_is_raised_when_the_block_ends() -> None:
    async with Client(Scripted(START, piece(b"a"), error=ValueError("unread"))) as client:
        with pytest.raises(ValueError, match="unread"):
            async with client.stream("GET", "/") as reply:
                await reply.next_chunk()


async def test_truncated_is_a_truncation_and_no_error() -> None:
    app = Scripted(START, piece(b"a"), error=Truncated("Root.index", "failed"))
    async with Client(app) as client, client.stream("GET", "/") as reply:
        assert await reply.next_chunk() == b"a"
        with pytest.raises(BodyTruncated, match="broken off on purpose"):
            await reply.next_chunk()
    async with Client(app) as client, client.stream("GET", "/"):
        pass


async def test_an_error_before_the_head_is_raised_as_it_is() -> None:
    async with Client(Scripted(error=ValueError("no head"))) as client:
        with pytest.raises(ValueError, match="no head"):
            await client.get("/")


async def test_errors_may_look_as_behind_a_server() -> None:
    async with Client(Scripted(error=ValueError("no head")), raise_app_errors=False) as client:
        assert (await client.get("/")).text == "Internal Server Error"
    app = Scripted(START, piece(b"a"), error=ValueError("unread"))
    async with Client(app, raise_app_errors=False) as client, client.stream("GET", "/") as reply:
        assert await reply.next_chunk() == b"a"


async def test_the_error_of_the_block_is_not_hidden_by_the_applications() -> None:
    async with Client(Scripted(START, error=ValueError("theirs"))) as client:
        with pytest.raises(KeyError, match="mine") as caught:
            async with client.stream("GET", "/"):
                raise KeyError("mine")
    assert caught.value.__notes__ == ["While closing: ValueError: theirs"]


async def test_a_violation_is_raised_even_if_the_application_swallows_it() -> None:
    async def careless(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        await send(START)
        try:
            await send({"type": "http.response.body", "body": "text"})
        except Exception:  # noqa: BLE001  the carelessness under test
            await send(piece(b"", more=False))

    async with Client(careless) as client:
        with pytest.raises(ProtocolViolation, match="is str, it must be bytes"):
            async with client.stream("GET", "/") as reply:
                await reply.next_chunk()


async def test_an_application_that_returns_without_a_head_violates() -> None:
    async with Client(Scripted()) as client:
        with pytest.raises(ProtocolViolation, match="returned without a head"):
            await client.get("/")


async def test_a_reader_that_does_not_read_holds_the_application_up() -> None:
    async with Client(flood, window=4096, timeout=0.05) as client:
        with pytest.raises(StillRunning, match=r"its client had left; it stood at flood .*test_client.py"):
            async with client.stream("GET", "/") as reply:
                await reply.wait_blocked()
                assert reply.unread == 4096
                await reply.next_chunk()
                await asyncio.sleep(0)
                assert reply.unread == 4096


async def test_a_stalled_client_blocks_the_next_send_until_it_resumes() -> None:
    async with Client(clock) as client, client.stream("GET", "/") as reply:
        await reply.next_chunk()
        reply.stall(0)
        await reply.wait_blocked()
        with pytest.raises(Misused, match=r"resume\(\) before reading on"):
            await reply.next_chunk()
        reply.resume()
        assert await reply.next_chunk() is not None


async def test_waiting_for_what_cannot_block_any_more_is_a_misuse() -> None:
    async with Client(Scripted(START, piece(b"", more=False))) as client, client.stream("GET", "/") as reply:
        with pytest.raises(Misused, match="nothing will block"):
            await reply.wait_blocked()


async def test_a_disconnect_ends_a_blocked_send_and_is_told_to_receive() -> None:
    async with Client(clock) as client, client.stream("GET", "/", window=1) as reply:
        await reply.wait_blocked()
        assert not reply.ended
        await reply.disconnect(wait=True)
        assert reply.ended
        with pytest.raises(Misused, match="has disconnected"):
            await reply.next_chunk()


async def test_a_send_to_nobody_may_raise() -> None:
    async with Client(flood, send_raises=True) as client, client.stream("GET", "/") as reply:
        await reply.next_chunk()
        await reply.disconnect(wait=True)


async def test_what_starlette_makes_of_the_raised_error_is_no_error_either() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    app = StreamingResponse(endless(), media_type="text/plain")
    async with Client(app, send_raises=True, lifespan=False) as client, client.stream("GET", "/") as reply:
        await reply.next_chunk()


async def test_a_half_sent_request_may_be_left() -> None:
    seen: list[object] = []
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        while True:
            message = await receive()
            seen.append(message.get("body", message["type"]))
            began.set()
            if message["type"] == "http.disconnect":
                return

    async with Client(app) as client:
        async with client.stream("POST", "/", content=unfinished(b"half"), await_head=False) as reply:
            with pytest.raises(Misused, match="no head yet"):
                _ = reply.status
            await began.wait()
            await reply.disconnect(wait=True)
    assert seen == [b"half", "http.disconnect"]


async def test_an_upload_that_fails_fails_the_request() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        raise ValueError("of the test")

    async with Client(SITE) as client:
        with pytest.raises(ValueError, match="of the test"):
            await client.post("/upload", content=chunks())


async def test_a_wait_ends_and_says_what_it_waited_for_and_where_the_application_stands() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        await send(START)
        await send(piece(b"a"))
        await wait_gone(receive)

    async with Client(silent) as client, client.stream("GET", "/slow") as reply:
        await reply.next_chunk()
        with pytest.raises(TimedOut) as caught:
            await reply.next_event(timeout=0.01)
    text = str(caught.value)
    assert text.startswith("GET /slow: waited 0.01 s for the next event; 1 chunks were read, 0 bytes wait")
    assert "wait_gone (" in text


async def test_an_application_that_does_not_end_is_cancelled_and_named() -> None:
    cancelled = asyncio.Event()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        await send(START)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with Client(deaf, timeout=0.02) as client:
        with pytest.raises(
            StillRunning, match=r"GET /: .* 0.02 s after its client had left; it stood at .*deaf"
        ):
            async with client.stream("GET", "/"):
                pass
    assert cancelled.is_set()


async def test_streams_of_other_tasks_end_with_the_client() -> None:
    opened = asyncio.Event()

    async def visit(client: Client) -> None:
        async with client.stream("GET", "/") as reply:
            opened.set()
            with pytest.raises(Misused):
                while True:
                    await reply.next_chunk()

    async with Client(clock) as client:
        visiting = asyncio.create_task(visit(client))
        await opened.wait()
    await visiting


@pytest.mark.parametrize("path", ["", "x/y", "http://testserver/"])
async def test_a_path_begins_with_a_slash(path: str) -> None:
    async with Client(SITE) as client:
        with pytest.raises(Misused, match="begins with /"):
            await client.get(path)


async def test_a_window_has_room_for_something() -> None:
    async with Client(SITE, window=0) as client:
        with pytest.raises(Misused, match="the window is 0"):
            await client.get("/who")


async def test_events_end_with_the_body() -> None:
    app = Scripted(START, piece(b"id: 1\ndata: a\n\ndata: b\n\ndata"), piece(b": lost\n", more=False))
    async with Client(app) as client, client.stream("GET", "/") as reply:
        events = [await reply.next_event() for _ in range(3)]
        assert [event and event.data for event in events] == ["a", "b", None]
        assert reply.events.last_id == "1"


async def test_a_request_that_is_cancelled_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with Client(clock) as client:
        visiting = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.01)
        visiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visiting
        assert {task.get_name() for task in asyncio.all_tasks() - before} == set()


async def test_a_client_outside_its_block_says_so() -> None:
    client = Client(SITE)
    with pytest.raises(Misused, match="inside `async with Client"):
        await client.get("/who")
    async with client:
        with pytest.raises(Misused, match="open already"):
            await client.__aenter__()


async def test_a_mounted_application_sees_its_root_path() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await http_only(scope)
        await send(START)
        await send(
            piece(f"{scope['root_path']} {scope['path']} {scope['raw_path'].decode()}".encode(), more=False)
        )

    async with Client(app, root_path="/m") as client:
        assert (await client.get("/ü")).text == "/m /m/ü /m/%C3%BC"
