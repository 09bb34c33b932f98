from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from tests.engine.conftest import AsyncUnit, Unit

from millstream import (
    ASGIAppController,
    Controller,
    Millstream,
    Settings,
    TGController,
    abort,
    expose,
    inject_html,
    redirect,
    request,
    response,
    stream,
    tmpl_context,
)
from millstream.errors import Overloaded
from millstream.protocol.events import Reason, Statistics
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import ChunkTransform, Head, Join, Judgement
from millstream.testing import BodyTruncated, Client, no_leaks, unfinished

HTML = {"accept": "text/html, */*;q=0.1"}


class Book:
    """A participant that is used with `write`, and notes all that happens."""

    def __init__(self, *fails: str, kind: type[Unit] = Unit) -> None:
        self.log: list[str] = []
        self.ends: list[tuple[State, Reason]] = []
        self.fails = fails
        self.kind = kind
        self.joins: ContextVar[Join] = ContextVar("joins")

    def begin(self, join: Join) -> None:
        self.joins.set(join)

    def write(self) -> None:
        self.joins.get()(self.kind("book", self.log, *self.fails))

    def note(self, what: str) -> None:
        self.log.append(what)

    def watch(self) -> None:
        """Note how this stream ends."""

        @stream.on_end
        def ended(reason: Reason, statistics: Statistics) -> None:
            assert reason is statistics.reason
            self.ends.append((statistics.state, reason))


COMMITTED = ["book.prepare", "book.commit"]


@asynccontextmanager
async def visiting(
    root: object, *participants: Any, transforms: Iterable[Any] = (), **settings: Any
) -> AsyncIterator[Client]:
    """A client of an application, which may leave nothing behind."""
    app = Millstream(root, Settings(**settings), participants=participants, transforms=list(transforms))
    async with no_leaks(app), Client(app) as client:
        yield client


def problem(text: str = "no such table") -> NoReturn:
    raise ValueError(text)


# The stages


class Staged(Controller):
    def __init__(self, book: Book) -> None:
        self.book = book

    def _before(self, *args: Any, **kwargs: Any) -> None:
        self.book.note(f"inner before {kwargs}")

    @expose("ndjson")
    def feed(self, n: int) -> Iterator[int]:
        self.book.note("action")
        self.book.write()
        self.book.watch()

        def steps() -> Iterator[int]:
            self.book.note("first step")
            yield n

        return steps()

    def _after(self, *args: Any, **kwargs: Any) -> None:
        self.book.note("inner after")


class StagedRoot(TGController):
    def __init__(self, book: Book) -> None:
        self.inner = Staged(book)
        self.book = book

    async def _before(self, *args: Any, **kwargs: Any) -> None:
        self.book.note("outer before")

    async def _after(self, *args: Any, **kwargs: Any) -> None:
        self.book.note("outer after")


async def test_a_request_goes_through_its_stages_in_order() -> None:
    book = Book()
    async with visiting(StagedRoot(book), book) as client:
        assert (await client.get("/inner/feed?n=3")).body == b"3\n"
    assert [each for each in book.log if each != "book.rest"] == [
        "outer before",
        "inner before {'n': 3}",
        "action",
        "inner after",
        "outer after",
        "first step",
        *COMMITTED,
        "book.close",
    ]
    assert book.ends == [(State.DELIVERED, Reason.COMPLETED)]


class Pages(TGController):
    @expose("page.html")
    def page(self) -> dict[str, str]:
        tmpl_context.thread = threading.current_thread().name
        return {"title": "<Orders>"}

    @expose("page.html")
    async def apage(self) -> dict[str, str]:
        tmpl_context.thread = threading.current_thread().name
        return {"title": "<Orders>"}


class Answers(TGController):
    @expose()
    def text(self) -> str:
        return "<b>ü</b>"

    @expose()
    def nothing(self) -> None:
        return None

    @expose("json")
    def record(self) -> dict[str, int]:
        return {"a": 1}

    @expose(content_type="text/plain")
    def streamed(self) -> Iterator[str]:
        yield "a"
        yield "ü"

    @expose(content_type="text/plain")
    async def astreamed(self) -> AsyncIterator[str]:
        yield "a"
        yield "ü"

    @expose(content_type="text/plain")
    async def returned(self) -> Iterable[str]:
        return ["a", "ü"]

    @expose("json")
    @expose("csv")
    def several(self) -> list[dict[str, int]]:
        return [{"a": 1}]

    @expose()
    def wrong(self) -> int:
        return 3

    @expose()
    def moved(self) -> str:
        response.status = 201
        response.headers["x-author"] = "1"
        response.set_cookie("visited", "yes")
        return "made"


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/text", 200, "text/html; charset=utf-8", "<b>ü</b>"),
        ("/record", 200, "application/json", '{"a":1}'),
        ("/streamed", 200, "text/plain; charset=utf-8", "aü"),
        ("/astreamed", 200, "text/plain; charset=utf-8", "aü"),
        ("/returned", 200, "text/plain; charset=utf-8", "aü"),
        ("/several", 200, "application/json", '[{"a":1}]'),
        ("/several.csv", 200, "text/csv; charset=utf-8", "a\r\n1\r\n"),
    ],
)
async def test_what_an_action_gives_is_answered_as_what_it_is(
    path: str, status: int, content_type: str, body: str
) -> None:
    async with visiting(Answers) as client:
        reply = await client.get(path)
    assert (reply.status, reply.headers["content-type"], reply.body.decode()) == (status, content_type, body)
    assert ("content-length" in reply.headers) == (path in {"/text", "/record"})


async def test_nothing_is_a_204_without_a_body_or_a_type() -> None:
    async with visiting(Answers) as client:
        reply = await client.get("/nothing")
    assert (reply.status, dict(reply.headers), reply.body) == (204, {}, b"")


@pytest.mark.parametrize(("path", "thread"), [("/page", "millstream Pages.page"), ("/apage", "MainThread")])
async def test_a_template_is_rendered_where_its_action_runs(path: str, thread: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ title }} {{ request.path_info }} {{ tmpl_context.thread }}")
    async with visiting(Pages, templates=str(tmp_path)) as client:
        reply = await client.get(path)
    assert reply.text == f"&lt;Orders&gt; {path} {thread}"


async def test_an_answer_that_was_negotiated_says_so_unless_the_url_has_chosen() -> None:
    async with visiting(Answers) as client:
        assert (await client.get("/several")).headers["vary"] == "Accept, Accept-Encoding"
        for path in ("/several.csv", "/several?format=csv", "/text"):
            assert (await client.get(path)).headers["vary"] == "Accept-Encoding"


async def test_the_author_sets_status_headers_and_cookies() -> None:
    async with visiting(Answers) as client:
        reply = await client.get("/moved")
    assert (reply.status, reply.headers["x-author"]) == (201, "1")
    assert SimpleCookie(reply.headers["set-cookie"])["visited"].value == "yes"


async def test_a_result_that_is_no_response_is_a_500_and_told_to_the_author(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with visiting(Answers) as client:
        reply = await client.get("/wrong")
    assert reply.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert "Answers.wrong returned int, which is no response" in caplog.text


# One lifetime


class Probed(TGController):
    @expose("ndjson")
    def sync(self, name: str) -> Iterator[str]:
        tmpl_context.name = name
        try:
            for _ in range(3):
                yield self.seen()
                stream.sleep(0.001)
        finally:
            FINALLY.append(self.seen())

    @expose("ndjson")
    async def aio(self, name: str) -> AsyncIterator[str]:
        tmpl_context.name = name
        try:
            for _ in range(3):
                yield self.seen()
                await stream.sleep(0.001)
        finally:
            FINALLY.append(self.seen())

    def seen(self) -> str:
        return f"{request.params['name']} {tmpl_context.name} {request._current_obj().path_info}"


FINALLY: list[str] = []


@pytest.mark.parametrize("kind", ["sync", "aio"])
async def test_two_streams_at_once_never_see_each_others_request(kind: str) -> None:
    FINALLY.clear()
    async with visiting(Probed) as client:
        replies = await asyncio.gather(*(client.get(f"/{kind}?name=v{number}") for number in range(10)))
    for number, reply in enumerate(replies):
        expected = f"v{number} v{number} /{kind}"
        assert reply.text.splitlines() == [f'"{expected}"'] * 3
        assert expected in FINALLY


# Methods that ask for no body


class Methods(TGController):
    def __init__(self, book: Book) -> None:
        self.book = book

    @expose("json", allowed_methods=["GET", "POST"])
    def feed(self) -> Any:
        self.book.note("action")
        self.book.write()

        def steps() -> Iterator[int]:
            self.book.note("step")
            yield 1

        generator = steps()
        self.kept = generator
        return generator

    @expose()
    def page(self) -> str:
        return "<p>hello</p></body>"

    @expose()
    def missing(self) -> None:
        abort(404, "no such order")


async def test_head_runs_the_controller_and_not_the_generator_and_commits_nothing() -> None:
    book = Book()
    root = Methods(book)
    async with visiting(root, book) as client:
        reply = await client.head("/feed")
        assert (reply.status, reply.headers["content-type"], reply.body) == (200, "application/json", b"")
    assert book.log == ["action", "book.abort", "book.close"]
    assert next(root.kept, None) is None


async def test_head_tells_the_length_of_the_body_there_would_be() -> None:
    async with visiting(Methods(Book()), transforms=[inject_html("<i></i>")]) as client:
        whole, head = await client.get("/page"), await client.head("/page")
    assert whole.body == b"<p>hello</p><i></i></body>"
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.body))
    assert head.body == b""


async def test_head_of_a_problem_has_no_body() -> None:
    async with visiting(Methods(Book())) as client:
        reply = await client.head("/missing")
    assert (reply.status, reply.body) == (404, b"")


async def test_options_tells_the_methods_and_runs_nothing() -> None:
    book = Book()
    async with visiting(Methods(book), book) as client:
        reply = await client.options("/feed")
    assert (reply.status, reply.headers["allow"], reply.body) == (204, "GET, HEAD, OPTIONS, POST", b"")
    assert book.log == []


# Ends before the first item


class Refusing(TGController):
    def __init__(self, book: Book) -> None:
        self.book = book

    def _before(self, *args: Any, **kwargs: Any) -> None:
        self.book.write()
        self.book.watch()
        if "login" in kwargs:
            response.set_cookie("seen", "before")
            redirect("/login")
        if "closed" in kwargs:
            abort(503, "closed for today")

    def _after(self, *args: Any, **kwargs: Any) -> None:
        self.book.note("after")
        if "break" in kwargs:
            problem()

    @expose("json")
    @expose("ndjson")
    def feed(self, n: int = 1, **_kwargs: Any) -> Iterator[int]:
        self.kept = self.steps(n)
        return self.kept

    def steps(self, n: int) -> Iterator[int]:
        if n == 0:
            problem("secret")
        if n < 0:
            abort(-n, "because")
        yield n

    @expose()
    def leave(self, **_kwargs: Any) -> None:
        response.status = 201
        response.set_cookie("seen", "action")
        redirect("/there", status=303)

    @expose()
    def broken(self, **_kwargs: Any) -> str:
        problem("secret")

    @expose()
    def file(self, **_kwargs: Any) -> Any:
        self.opened = Path(__file__).open("rb")  # noqa: SIM115  that somebody closes it is what is tested
        return self.opened


@asynccontextmanager
async def refusing(**settings: Any) -> AsyncIterator[tuple[Client, Book, Refusing]]:
    book = Book()
    root = Refusing(book)
    async with visiting(root, book, **settings) as client:
        yield client, book, root


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/nowhere", 404, None),
        ("/feed?n=many", 422, "some arguments cannot be used"),
        ("/feed?n=-404", 404, "because"),
        ("/feed?n=-503", 503, "because"),
        ("/feed?closed=1", 503, "closed for today"),
        ("/feed?n=0", 500, None),
        ("/broken", 500, None),
    ],
)
async def test_before_the_first_item_a_failure_is_an_honest_status(
    path: str, status: int, detail: str | None
) -> None:
    async with refusing() as (client, book, _):
        reply = await client.get(path)
        assert reply.status == status
        assert reply.json()["status"] == status
        assert reply.json().get("detail") == detail
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["vary"] == "Accept"
        assert "book.commit" not in book.log


async def test_nothing_acceptable_is_a_406_before_anything_runs() -> None:
    async with refusing() as (client, book, _):
        reply = await client.get("/feed", headers={"accept": "image/png"})
        assert reply.status == 406
        assert book.log == []


async def test_a_wrong_method_is_a_405_that_names_the_right_ones() -> None:
    book = Book()
    async with visiting(Methods(book), book) as client:
        reply = await client.delete("/feed")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("path", ["/feed?n=0", "/broken"])
async def test_what_went_wrong_is_logged_and_not_told(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with refusing() as (client, _, _):
        reply = await client.get(path, headers=HTML)
        assert "secret" not in reply.text
    (record,) = caplog.records
    assert (record.levelno, "ValueError: secret" in caplog.text) == (logging.ERROR, True)


@pytest.mark.parametrize("headers", [HTML, {"accept": "application/json"}])
async def test_debug_tells_it_with_its_lines(headers: dict[str, str]) -> None:
    async with refusing(debug=True) as (client, _, _):
        reply = await client.get("/feed?n=0", headers=headers)
        assert reply.status == 500
        assert "secret" in reply.text
        assert "test_hallway.py" in reply.text


async def test_an_error_of_the_client_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with refusing() as (client, _, _):
        await client.get("/feed?n=-404")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize(
    ("path", "status", "location", "cookie"),
    [("/leave", 303, "/there", "action"), ("/feed?login=1", 302, "/login", "before")],
)
async def test_a_redirect_is_a_result_that_commits_and_sets_its_cookies(
    path: str, status: int, location: str, cookie: str
) -> None:
    async with refusing() as (client, book, _):
        reply = await client.get(path)
        assert (reply.status, reply.headers["location"], reply.body) == (status, location, b"")
        assert SimpleCookie(reply.headers["set-cookie"])["seen"].value == cookie
        assert book.log[-3:] == [*COMMITTED, "book.close"]
        assert ("after" in book.log) == (path == "/leave")


async def test_a_redirect_out_of_a_stream_is_one_before_its_first_item() -> None:
    async with refusing() as (client, _, _):
        reply = await client.get("/feed?n=-304")
        assert (reply.status, reply.body, "content-length" in reply.headers) == (304, b"", False)


async def test_what_will_not_be_streamed_because_a_hook_failed_is_closed() -> None:
    async with refusing() as (client, book, root):
        assert (await client.get("/file?break=1")).status == 500
        assert root.opened.closed
        assert (await client.get("/feed?break=1")).status == 500
        assert next(root.kept, None) is None
        assert (await client.get("/leave?break=1")).status == 500
        assert book.ends == [(State.FAILED, Reason.FAILED)] * 3


# Ends after the first item


class Breaking(TGController):
    def __init__(self, book: Book) -> None:
        self.book = book

    @expose("json")
    @expose("ndjson")
    @expose("sse")
    @expose(content_type="text/plain")
    def sync(self) -> Iterator[str]:
        self.book.write()
        self.book.watch()
        yield "a"
        problem("secret")

    @expose("json")
    @expose("ndjson")
    @expose("sse")
    @expose(content_type="text/plain")
    async def aio(self) -> AsyncIterator[str]:
        self.book.write()
        self.book.watch()
        yield "a"
        await asyncio.sleep(0)
        problem("secret")


async def truncated(client: Client, path: str, **options: Any) -> bytes:
    with pytest.raises(BodyTruncated) as broken:
        await client.get(path, **options)
    return broken.value.received


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize(
    ("extension", "words"),
    [
        ("json", b'["a"'),
        ("ndjson", b'"a"\n{"error":{"type":"about:blank","title":"Internal Server Error","status":500}}\n'),
        ("txt", b"a"),
    ],
)
async def test_after_the_first_item_a_failure_is_a_truncation_with_the_formats_last_words(
    kind: str, extension: str, words: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    async with visiting(Breaking(book), book) as client:
        assert await truncated(client, f"/{kind}.{extension}") == words
    assert book.ends == [(State.FAILED, Reason.FAILED)]
    assert book.log[-2:] == ["book.abort", "book.close"]
    assert f"Breaking.{kind} failed after 1 items" in caplog.text
    assert caplog.text.count("ValueError: secret") == 1


@pytest.mark.parametrize("kind", ["sync", "aio"])
async def test_server_sent_events_end_with_an_error_event(kind: str) -> None:
    book = Book()
    async with visiting(Breaking(book), book) as client:
        assert b"event: error\n" in await truncated(
            client, f"/{kind}", headers={"accept": "text/event-stream"}
        )


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_a_commit_that_fails_is_a_truncation_of_a_stream_and_a_500_of_a_page(step: str) -> None:
    class Root(TGController):
        @expose("json")
        def feed(self) -> Iterator[int]:
            book.write()
            yield 1

        @expose("json")
        def page(self) -> dict[str, int]:
            book.write()
            return {"a": 1}

    book = Book(step)
    async with visiting(Root, book) as client:
        assert await truncated(client, "/feed") == b"[1"
        assert (await client.get("/page")).status == 500


async def test_a_transform_that_fails_truncates_and_is_not_asked_for_last_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def chunk(self, data: bytes, /) -> bytes:
            return data if data == b'"a"\n' else problem("no room")

        def end(self) -> bytes:
            return b""

    def broken(_head: Head) -> ChunkTransform:
        return Broken()

    class Root(TGController):
        @expose("ndjson")
        async def feed(self) -> AsyncIterator[str]:
            yield "a"
            await asyncio.sleep(0)
            yield "b"

    async with visiting(Root, transforms=[broken]) as client:
        assert await truncated(client, "/feed") == b'"a"\n'
    assert caplog.text.count("ValueError: no room") == 1


# Caps


class Waiting(TGController):
    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.closed: list[str] = []

    @expose("ndjson")
    async def feed(self, note: str = "") -> AsyncIterator[str]:
        self.book.watch()
        try:
            yield "here"
            await asyncio.Event().wait()
        finally:
            self.closed.append(note)

    @expose("ndjson")
    def sync(self) -> Iterator[str]:
        self.book.watch()
        try:
            yield "here"
            stream.sleep(60)
        finally:
            self.closed.append("sync")

    @expose("ndjson")
    def result(self) -> Any:
        self.opened = Path(__file__).open("rb")  # noqa: SIM115  that somebody closes it is what is tested
        return self.opened


@pytest.mark.parametrize(
    ("settings", "status"), [({"max_streams": 1}, 503), ({"max_streams_per_client": 1}, 429)]
)
async def test_one_stream_too_many_is_refused_and_what_it_would_have_sent_is_closed(
    settings: dict[str, Any], status: int
) -> None:
    root = Waiting()
    async with visiting(root, **settings) as client, client.stream("GET", "/feed") as first:
        assert await first.next_line() == '"here"'
        reply = await client.get("/result")
        assert (reply.status, reply.headers["retry-after"]) == (status, "1")
        assert root.opened.closed


async def test_without_a_free_thread_a_synchronous_action_is_refused() -> None:
    async with visiting(Waiting(), max_sync_streams=1) as client, client.stream("GET", "/sync") as first:
        assert await first.next_line() == '"here"'
        assert (await client.get("/result")).status == 503


# Clients that leave


@pytest.mark.parametrize("path", ["/feed", "/sync"])
async def test_a_client_that_leaves_ends_its_stream_and_nobody_calls_it_an_error(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "millstream")
    root = Waiting()
    async with visiting(root) as client, client.stream("GET", path) as reply:
        assert await reply.next_line() == '"here"'
        await reply.disconnect(wait=True)
    assert len(root.closed) == 1
    assert root.book.ends == [(State.ABANDONED, Reason.CLIENT_GONE)]
    assert [record.getMessage() for record in caplog.records if record.name == "millstream"] == [
        f"Waiting.{path[1:]} ended early: client-gone, after 1 items"
    ]


@pytest.mark.parametrize("path", ["/feed", "/sync"])
async def test_a_server_whose_send_tells_of_the_leaver_is_understood_too(path: str) -> None:
    root = Waiting()
    app = Millstream(root, Settings(keep_alive=0.005))
    async with no_leaks(app), Client(app, send_raises=True) as client, client.stream("GET", path) as reply:
        assert await reply.next_line() == '"here"'
        await reply.disconnect(wait=True)
    assert root.book.ends == [(State.ABANDONED, Reason.CLIENT_GONE)]


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
async def test_a_client_that_leaves_while_it_sends_its_body_is_gone_and_no_error(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(TGController):
        @expose()
        async def upload(self, **_kwargs: Any) -> str:
            book.watch()
            return str(await request.body())

    caplog.set_level(logging.INFO, "millstream")
    book = Book()
    headers = {"content-type": kind}
    async with visiting(Root) as client:
        sent = unfinished(b"{")
        async with client.stream("POST", "/upload", content=sent, headers=headers, await_head=False) as reply:
            await asyncio.sleep(0.01)
            await reply.disconnect(wait=True)
    assert [record.levelname for record in caplog.records if record.name == "millstream"] == ["INFO"]
    assert "client-gone" in caplog.text
    assert book.ends == ([(State.ABANDONED, Reason.CLIENT_GONE)] if kind == "text/plain" else [])


async def test_a_client_may_leave_where_its_leaving_is_allowed() -> None:
    class Root(TGController):
        @expose("ndjson", on_disconnect="detach")
        async def feed(self) -> AsyncIterator[int]:
            book.write()
            book.watch()
            yield 1
            await gate.wait()
            yield 2

    book, gate = Book(kind=AsyncUnit), asyncio.Event()
    async with visiting(Root, book) as client, client.stream("GET", "/feed") as reply:
        assert await reply.next_line() == "1"
        await reply.disconnect()
        gate.set()
        await reply.wait_ended()
    assert book.ends == [(State.UNSEEN, Reason.COMPLETED)]
    assert "book.commit" in book.log


# Ends we make


async def test_a_stream_that_is_stopped_says_goodbye_and_is_broken_off() -> None:
    root = Waiting()
    app = Millstream(root)
    async with no_leaks(app), Client(app) as client, client.stream("GET", "/feed") as reply:
        assert await reply.next_line() == '"here"'
        (live,) = app.ledger.live
        assert app.ledger.stop(live.id)
        with pytest.raises(BodyTruncated) as broken:
            await reply.rest()
        assert broken.value.received == b'{"goodbye":{"reason":"stopped"}}\n'
    assert root.book.ends == [(State.ABANDONED, Reason.STOPPED)]


async def test_a_client_that_does_not_read_its_last_words_is_not_waited_for_long() -> None:
    root = Waiting()
    app = Millstream(root, Settings(close_timeout=0.05))
    async with no_leaks(app), Client(app, window=1) as client, client.stream("GET", "/feed") as reply:
        (live,) = app.ledger.live
        reply.stall()
        app.ledger.stop(live.id)
        await reply.wait_ended()


async def test_an_end_that_nobody_reads_is_broken_off_but_committed() -> None:
    class Root(TGController):
        @expose("json")
        def feed(self) -> Iterator[int]:
            book.write()
            book.watch()
            yield 1

    book = Book()
    app = Millstream(Root, participants=[book])
    async with no_leaks(app), Client(app, window=1) as client, client.stream("GET", "/feed") as reply:
        await reply.wait_blocked()
        (live,) = app.ledger.live
        assert live.state is State.ENDING
        app.ledger.stop(live.id, Reason.STALLED)
        await reply.wait_ended()
        with pytest.raises(BodyTruncated):
            await reply.rest()
    assert book.ends == [(State.UNSEEN, Reason.COMPLETED)]
    assert "book.commit" in book.log


@pytest.mark.parametrize("kind", ["text", "record", "streamed", "foreign"])
async def test_an_action_that_stops_its_own_stream_is_a_503_whatever_it_gives(kind: str) -> None:
    class Root(TGController):
        @expose()
        async def index(self, kind: str) -> Any:
            book.write()
            stream.stop()
            gives: dict[str, Any] = {
                "text": "a",
                "record": {},
                "streamed": ["a"],
                "foreign": PlainTextResponse("a"),
            }
            return gives[kind]

    book = Book()
    async with visiting(Root, book) as client:
        reply = await client.get(f"/?kind={kind}")
    assert (reply.status, "book.commit" in book.log) == (503, False)


# Cancellations


async def called(
    app: Millstream, path: str, received: Callable[[], Awaitable[Message]]
) -> asyncio.Task[None]:
    """Call the application as a server does; for a test that cancels it as one may."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            SENT.set()

    SENT.clear()
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "client": ("10.0.0.7", 1),
    }
    return asyncio.create_task(app(scope, received, send))


SENT = threading.Event()


async def silent() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


class Lasting(TGController):
    def __init__(self, book: Book) -> None:
        self.book = book
        self.reached = asyncio.Event()

    async def last(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()

    @expose()
    async def action(self) -> str:
        self.book.watch()
        self.book.write()
        await self.last()
        return ""

    @expose("ndjson")
    async def feed(self) -> AsyncIterator[int]:
        self.book.watch()
        self.book.write()
        yield 1
        await self.last()

    @expose()
    async def settling(self) -> str:
        self.book.watch()
        self.book.write()
        return "done"


async def cancelled(book: Book, root: Lasting, path: str) -> None:
    app = Millstream(root, participants=[book])
    async with no_leaks(app):
        call = await called(app, path, silent)
        await root.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelling() == 1


@pytest.mark.parametrize("path", ["/action", "/feed"])
async def test_a_request_the_server_gives_up_is_rolled_back_for_a_reason(path: str) -> None:
    book = Book(kind=AsyncUnit)
    await cancelled(book, Lasting(book), path)
    assert book.ends == [(State.ABANDONED, Reason.SHUTDOWN)]
    assert book.log[-2:] == ["book.abort", "book.close"]


async def test_a_settlement_the_server_gives_up_has_failed() -> None:
    class Endless(AsyncUnit):
        async def commit(self) -> None:  # type: ignore[override]  # the port allows both
            await root.last()

    book = Book(kind=Endless)
    root = Lasting(book)
    await cancelled(book, root, "/settling")
    assert book.ends == [(State.FAILED, Reason.FAILED)]
    assert "book.abort" in book.log


async def test_whatever_is_cancelled_the_ledger_and_the_threads_forget_it() -> None:
    class Root(TGController):
        @expose("ndjson")
        def feed(self) -> Iterator[int]:
            @stream.on_end
            async def never(*_: Any) -> None:
                reached.set()
                await asyncio.Event().wait()

            yield 1

    reached = asyncio.Event()
    app = Millstream(Root)
    async with no_leaks(app):
        call = await called(app, "/feed", silent)
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("path", ["/action", "/feed"])
async def test_a_cancelled_task_the_author_awaits_is_a_failure_and_no_cancellation(path: str) -> None:
    class Root(TGController):
        async def lost(self) -> None:
            other = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            other.cancel()
            await other

        @expose()
        async def action(self) -> str:
            book.watch()
            await self.lost()
            return ""

        @expose("ndjson")
        async def feed(self) -> AsyncIterator[int]:
            book.watch()
            await self.lost()
            yield 1

    book = Book()
    async with visiting(Root) as client:
        assert (await client.get(path)).status == 500
    assert book.ends == [(State.FAILED, Reason.FAILED)]


# Starlette's responses


SHARED = JSONResponse({"shared": True}, headers={"x-own": "starlette"})


class Foreigners(TGController):
    def __init__(self, book: Book) -> None:
        self.book = book

    @expose()
    def shared(self, name: str) -> Any:
        self.book.write()
        response.set_cookie("name", name)
        response.headers["x-own"] = "author"
        response.headers["x-author"] = "1"
        return SHARED

    @expose()
    def broken(self) -> Any:
        return StreamingResponse(self.breaking(), media_type="text/plain")

    def breaking(self) -> Iterator[bytes]:
        yield b"a"
        problem()


async def test_a_starlette_response_keeps_its_head_and_gets_the_authors_on_top() -> None:
    book = Book()
    async with visiting(Foreigners(book), book) as client:
        reply = await client.get("/shared?name=Ann")
    assert reply.json() == {"shared": True}
    assert (reply.headers.getlist("x-own"), reply.headers["x-author"]) == (["starlette"], "1")
    assert book.log == [*COMMITTED, "book.close"]


async def test_a_starlette_response_that_serves_many_carries_nobodys_cookies_to_another() -> None:
    book = Book()
    async with visiting(Foreigners(book), book) as client:
        for name in ("Ann", "Ben"):
            reply = await client.get(f"/shared?name={name}")
            assert [SimpleCookie(each)["name"].value for each in reply.headers.getlist("set-cookie")] == [
                name
            ]
    assert "set-cookie" not in SHARED.headers


async def test_a_starlette_response_of_what_was_not_committed_is_not_sent() -> None:
    book = Book("commit")
    async with visiting(Foreigners(book), book) as client:
        assert (await client.get("/shared?name=Ann")).status == 500


async def test_a_starlette_response_that_breaks_is_a_truncation() -> None:
    async with visiting(Foreigners(Book())) as client:
        assert await truncated(client, "/broken") == b"a"


# Mounted applications


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    asked = StarletteRequest(scope, receive)
    body = b"" if asked.method == "GET" else await asked.body()
    if body == b"break":
        problem()
    told = {"root_path": scope["root_path"], "path": scope["path"], "body": body.decode()}
    await JSONResponse(told)(scope, receive, send)


async def test_a_mounted_application_gets_its_path_and_its_body_unread() -> None:
    class Root(TGController):
        api = ASGIAppController(inner)

    async with visiting(Root) as client:
        headers = {"content-type": "application/json"}
        reply = await client.post("/api/orders", content=b"no json", headers=headers)
        assert reply.json() == {"root_path": "/api", "path": "/api/orders", "body": "no json"}
        assert (await client.post("/api", content=b"break")).status == 500


async def test_a_truncation_of_a_mounted_application_of_ours_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = Book()

    class Root(TGController):
        inner = ASGIAppController(Millstream(Breaking(book), participants=[book]))

    async with visiting(Root) as client:
        assert await truncated(client, "/inner/sync.txt") == b"a"
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


# What else


async def test_a_path_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def begin(self, join: Join) -> None:
            problem()

    async with visiting(TGController, Broken()) as client:
        assert (await client.get("/a%0AERROR forged")).status == 500
    (record,) = caplog.records
    assert "\n" not in record.getMessage()


async def test_uploaded_files_are_closed_with_their_request() -> None:
    class Root(TGController):
        @expose("ndjson")
        def upload(self, file: Any) -> Iterator[str]:
            files.append(file)
            yield str(file.file.read(3))

    files: list[Any] = []
    async with visiting(Root) as client:
        big = b"abc" * 1_000_000
        assert (await client.post("/upload", files={"file": ("a.bin", big)})).body == b"\"b'abc'\"\n"
    assert files[0].file.closed


async def test_nothing_of_a_read_only_action_is_committed() -> None:
    class Root(TGController):
        @expose(read_only=True)
        def index(self) -> str:
            book.write()
            return "read"

    book = Book()
    async with visiting(Root, book) as client:
        assert (await client.get("/")).text == "read"
    assert book.log == ["book.abort", "book.close"]


async def test_a_request_keeps_nothing_alive_after_its_end() -> None:
    class Held:
        count = 0

        def __init__(self) -> None:
            Held.count += 1

        def __del__(self) -> None:
            Held.count -= 1

    class Root(TGController):
        @expose("ndjson")
        def feed(self) -> Iterator[int]:
            held = Held()
            tmpl_context.held = held
            yield 1
            assert held is tmpl_context.held

    async with visiting(Root) as client:
        for _ in range(3):
            await client.get("/feed")
        gc.collect()
        assert Held.count == 0


# Participants that know more


class Database(Book):
    """Knows its own results and errors, and asks for another attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def adopt(self, result: object) -> Iterable[Any] | None:
        return ["adopted"] if result == 42 else None

    def judge(self, raised: BaseException) -> Judgement | None:
        if isinstance(raised, ConnectionError):
            return Judgement(repeat=True, told=Overloaded("the database is busy"))
        return None

    async def close(self) -> None:
        self.closed = True


class Trying(TGController):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.tried = 0

    @expose("ndjson", attempts=3)
    def feed(self, fails: int, after: int = 0) -> Iterator[int]:
        self.database.write()
        self.database.watch()
        response.headers.append("x-tried", "1")
        self.tried += 1
        yield from range(after)
        if self.tried <= fails:
            raise ConnectionError
        yield self.tried

    @expose("ndjson")
    def select(self) -> int:
        return 42


@pytest.mark.parametrize("fails", [0, 1, 2])
async def test_an_action_is_tried_again_while_a_participant_asks_for_it(fails: int) -> None:
    database = Database()
    async with visiting(Trying(database), database) as client:
        reply = await client.get(f"/feed?fails={fails}")
    assert (reply.status, reply.text) == (200, f"{fails + 1}\n")
    assert reply.headers.getlist("x-tried") == ["1"]
    assert database.ends == [(State.DELIVERED, Reason.COMPLETED)]
    assert database.log.count("book.commit") == database.log.count("book.prepare")


async def test_after_the_last_attempt_the_client_is_told_what_the_participant_says() -> None:
    database = Database()
    root = Trying(database)
    async with visiting(root, database) as client:
        reply = await client.get("/feed?fails=9")
    assert (reply.status, reply.json()["detail"], root.tried) == (503, "the database is busy", 3)


async def test_once_the_head_has_left_nothing_is_tried_again() -> None:
    database = Database()
    root = Trying(database)
    async with visiting(root, database) as client:
        assert (await truncated(client, "/feed?fails=9&after=1")).startswith(b"0\n")
    assert root.tried == 1


async def test_what_a_participant_adopts_is_streamed_as_it_says() -> None:
    database = Database()
    async with visiting(Trying(database), Book(), database) as client:
        assert (await client.get("/select")).body == b'"adopted"\n'


async def test_participants_are_closed_with_the_application() -> None:
    database = Database()
    async with visiting(Trying(database), Book(), database):
        assert not database.closed
    assert database.closed


async def test_a_participant_that_knows_nothing_of_an_error_leaves_it_as_it_is() -> None:
    class Root(TGController):
        @expose(attempts=3)
        def index(self) -> str:
            tried.append(1)
            problem()

    tried: list[int] = []
    async with visiting(Root, Database()) as client:
        assert (await client.get("/")).status == 500
    assert len(tried) == 1
