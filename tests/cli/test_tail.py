"""`millstream tail` against real servers that fail in the middle, go away and come back."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.durable.cutting import cutting

from millstream import Event, Millstream, Settings, TGController, expose, redirect, request, stream
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.runs.declared import Durable
from millstream.testing import BodyTruncated, Server, connect, serve

pytestmark = pytest.mark.wire

PATIENCE = 20.0


class Root(TGController):
    @expose("ndjson")
    def rows(self) -> Iterator[Any]:
        yield from ({"number": number} for number in range(3))

    @expose("ndjson")
    def breaks(self) -> Iterator[Any]:
        yield {"number": 0}
        raise ArithmeticError

    @expose("sse")
    async def ticks(self) -> AsyncIterator[Any]:
        last = int(request.headers.get("last-event-id", "0"))
        if last == 4:
            stream.stop()
        for number in range(last + 1, 5):
            yield Event(str(number), id=str(number))
            if number == 2:
                raise ConnectionError

    @expose("sse")
    async def resumes(self) -> AsyncIterator[Any]:
        last = int(request.headers.get("last-event-id", "0"))
        for number in range(last + 1, 5):
            yield Event(str(number), id=str(number))
            if number == 2:
                stream.stop()
                await stream.sleep(60)


def tail(*words: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millstream", "tail", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)  # noqa: S603  our own words


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Millstream(Root())) as running:
        yield running


def test_lines_are_printed_as_they_are(server: Server) -> None:
    done = tail(f"{server.url}/rows")
    assert (done.returncode, done.stdout) == (0, '{"number":0}\n{"number":1}\n{"number":2}\n')


def test_a_body_that_is_cut_off_is_a_failure(server: Server) -> None:
    done = tail(f"{server.url}/breaks")
    assert done.returncode == 1
    assert done.stdout.startswith('{"number":0}\n')
    assert "cut off" in done.stderr


def test_an_error_event_is_a_failure(server: Server) -> None:
    done = tail(f"{server.url}/ticks")
    assert (done.returncode, done.stdout) == (1, "1\n2\n")


def test_events_are_taken_up_again_after_the_last_one(server: Server) -> None:
    done = tail(f"{server.url}/resumes")
    assert (done.returncode, done.stdout) == (0, "1\n2\n3\n4\n")


def test_a_refusal_is_told_in_one_sentence(server: Server) -> None:
    done = tail(f"{server.url}/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "404" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"), [(["ftp://a"], "http://"), (["http://127.0.0.1:1/", "-H", "none"], "header")]
)
def test_what_is_no_request_is_told_in_one_sentence(words: list[str], told: str) -> None:
    done = tail(*words)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_stays_away_is_given_up() -> None:
    done = tail("http://127.0.0.1:1/", "--patience", "0.1")
    assert done.returncode == 1
    assert "given up" in done.stderr


@pytest.mark.parametrize(
    ("content_type", "sent", "printed"),
    [("text/plain", b"one\ntwo\n", "one\ntwo\n"), ("application/json", b'[{"a":1},2]', '{"a": 1}\n2\n')],
)
def test_a_durable_stream_is_followed_to_its_end(content_type: str, sent: bytes, printed: str) -> None:
    endpoint = DurableStreams(Log(MemoryEngine()))
    kind = [("content-type", content_type)]
    with serve(endpoint) as server, connect(server.host, server.port) as writer:
        assert writer.get("/s", kind, method="PUT").status == 201
        following = _Background(f"{server.url}/s")
        assert writer.get("/s", kind, method="POST", body=sent).status == 204
        assert writer.get("/s", [*kind, ("stream-closed", "true")], method="POST").status == 204
        assert following.result() == (0, printed)


class Kept(TGController):
    """Runs in formats that have no events, and one that has."""

    @expose("ndjson", durable=True)
    async def job(self, n: int = 150) -> AsyncIterator[dict[str, int]]:
        for number in range(n):
            yield {"number": number}
            await asyncio.sleep(0.01)

    @expose("csv", durable=Durable(key="table-{n}"), download="table.csv")
    def table(self, n: int = 150) -> Iterator[dict[str, int]]:
        for number in range(n):
            yield {"number": number}
            stream.sleep(0.01)

    @expose(content_type="text/plain", durable=True)
    async def words(self, n: int = 150) -> AsyncIterator[str]:
        for number in range(n):
            yield f"word {number}\n"
            await asyncio.sleep(0.01)

    @expose("json", durable=True)
    async def document(self, n: int = 150) -> AsyncIterator[int]:
        for number in range(n):
            yield number
            await asyncio.sleep(0.01)

    @expose("sse", durable=True)
    async def events(self, n: int = 150) -> AsyncIterator[str]:
        for number in range(n):
            yield f"event {number}"
            await asyncio.sleep(0.01)

    @expose("ndjson", durable=True)
    async def fails(self, n: int = 20) -> AsyncIterator[int]:
        for number in range(n):
            yield number
        raise ArithmeticError


@pytest.fixture(scope="module")
def keeps() -> Iterator[Server]:
    with serve(Millstream(Kept(), Settings(durable_url="memory:", drain_timeout=0.1))) as running:
        yield running


WHOLE = {
    "job": "".join(f'{{"number":{number}}}\n' for number in range(150)),
    "table": "number\n" + "".join(f"{number}\n" for number in range(150)),
    "words": "".join(f"word {number}\n" for number in range(150)),
    "document": "[" + ",\n".join(map(str, range(150))) + "]",
    "events": "".join(f"event {number}\n" for number in range(150)),
}


@pytest.mark.parametrize("action", WHOLE)
async def test_a_run_is_taken_up_again_whatever_its_format(keeps: Server, action: str) -> None:
    async with cutting(keeps.port, 600, 900) as line:
        done = await asyncio.to_thread(tail, f"http://127.0.0.1:{line.port}/{action}", timeout=3 * PATIENCE)
    assert (done.returncode, done.stdout) == (0, WHOLE[action])
    assert line.cuts


def test_a_run_that_fails_is_printed_to_its_end_and_is_a_failure(keeps: Server) -> None:
    done = tail(f"{keeps.url}/fails")
    assert done.returncode == 1
    assert done.stdout.startswith("".join(f"{number}\n" for number in range(20)))
    assert "failed" in done.stderr


def test_events_that_cannot_be_had_at_the_moment_are_asked_for_again() -> None:
    asked: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        last = dict(scope["headers"]).get(b"last-event-id", b"").decode()
        asked.append(last)
        body = [b"data: 1\nid: a\n\n", b"retry: 10\n", b"data: 2\nid: b\n\n"][len(asked) - 1]
        kind = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if len(asked) == 1:
            raise ConnectionError
        await send({"type": "http.response.body", "body": b""})

    with serve(application) as server:
        done = tail(server.url)
    assert (done.returncode, done.stdout, asked) == (0, "1\n2\n", ["", "a", "a"])


class Headers(TGController):
    """Says which headers came, here or where it is told to lead."""

    @expose("ndjson")
    def here(self) -> Iterator[str]:
        yield f"{request.headers.get('x-token')} {request.headers.get('authorization')}"

    @expose()
    def away(self, to: str) -> None:
        redirect(to, other_origin=True)


def test_the_users_headers_are_for_the_origin_that_was_named() -> None:
    mine = ["-H", "X-Token: SECRET", "-H", "Authorization: Bearer SECRET"]
    with serve(Millstream(Headers())) as one, serve(Millstream(Headers())) as other:
        same = tail(f"{one.url}/away?to={one.url}/here", *mine)
        away = tail(f"{one.url}/away?to={other.url}/here", *mine)
        back = tail(f"{one.url}/away?to={other.url}/away?to={one.url}/here", *mine)
    assert same.stdout == '"SECRET Bearer SECRET"\n'
    assert away.stdout == '"None None"\n'
    assert back.stdout == '"None None"\n'


def test_a_stream_that_is_kept_at_another_origin_is_not_shown_the_users_headers() -> None:
    came: list[Any] = []

    async def elsewhere(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "http":
            came.extend(scope["headers"])
            closed = [(b"stream-next-offset", b"1"), (b"stream-closed", b"true")]
            await send({"type": "http.response.start", "status": 200, "headers": closed})
            await send({"type": "http.response.body", "body": b"kept"})

    with serve(elsewhere) as other:

        async def application(scope: Any, _: Any, send: Any) -> None:
            if scope["type"] == "http":
                kept = [(b"stream-next-offset", b"1"), (b"content-location", f"{other.url}/s".encode())]
                await send({"type": "http.response.start", "status": 200, "headers": kept})
                await send({"type": "http.response.body", "body": b"kept"})

        with serve(application) as one:
            done = tail(one.url, "-H", "X-Token: SECRET")
    assert done.stdout == "kept"
    assert came
    assert b"x-token" not in dict(came)


def test_a_run_is_followed_from_its_end_on(keeps: Server) -> None:
    assert tail(f"{keeps.url}/table?n=3").stdout == "number\n0\n1\n2\n"
    done = tail(f"{keeps.url}/table?n=3", "--from", "now")
    assert (done.returncode, done.stdout) == (0, "")


def test_another_run_of_the_same_key_is_not_joined_to_the_first() -> None:
    class Root(TGController):
        @expose("ndjson", durable=Durable(key="one"))
        async def one(self) -> AsyncIterator[int]:
            for number in range(1000):
                yield number
                await asyncio.sleep(0.02)

    app = Millstream(Root(), Settings(durable_url="memory:", drain_timeout=0.1))
    with serve(app) as server, connect(server.host, server.port) as wire:

        def status(path: str, *headers: tuple[str, str], method: str = "GET") -> int:
            with connect(server.host, server.port) as other:
                return other.get(path, headers, method=method).status

        reply = wire.get("/one")
        assert reply.next_chunk() is not None
        run = reply.headers["stream-id"]
        back = ("last-event-id", f"{run}:0"), ("if-match", reply.headers["etag"])
        assert status("/one", *back) == 200
        assert status(f"/_streams/{run}/stop", method="POST") == 202
        with pytest.raises(BodyTruncated) as truncated:
            reply.rest()
        assert status("/one", *back) == 200
        all_of_it = len(b"0\n") + len(truncated.value.received)
        assert status("/one", ("last-event-id", f"{run}:{all_of_it}")) in {200, 410}
        assert status("/one") == 200
        assert status("/one", *back) == 412
        assert status("/one", back[0]) == 200


FORGED = "\x1b]0;mine\x07\x1b[2J\x9b31mred\x7f\x00\u202etxt.exe\u2028\ttab"


class Forging(TGController):
    @expose(content_type="text/plain; charset=utf-8")
    def text(self) -> Iterator[str]:
        yield f"{FORGED}\r\nnext\n"

    @expose("ndjson")
    def rows(self) -> Iterator[Any]:
        yield {"said": FORGED}

    @expose("sse")
    def events(self) -> Iterator[Any]:
        yield Event(FORGED)
        raise ArithmeticError

    @expose(content_type="text/event-stream")
    def error(self) -> Iterator[str]:
        yield f"event: error\ndata: [red]{FORGED}\n\n"


@pytest.mark.parametrize("path", ["text", "rows", "events", "error"])
def test_what_a_terminal_would_obey_is_shown_to_it(path: str) -> None:
    with serve(Millstream(Forging())) as server:
        screen = terminal(f"{server.url}/{path}")
        piped = tail(f"{server.url}/{path}")
    for forbidden in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\x7f", "\x00", "\u202e", "\u2028"):
        assert forbidden not in screen
        assert forbidden not in piped.stderr
    for visible in ("\\u001b]0;mine\\u0007\\u001b[2J", "\\u009b31mred", "\\u202etxt.exe"):
        assert visible in re.sub(r"\x1b\[[0-9;]*m", "", screen).replace("\r\n", "")
    if path == "text":
        assert piped.stdout.startswith(FORGED.partition("\u2028")[0])
    if path == "error":
        assert "[red]" in screen


def terminal(url: str) -> str:
    """All that a terminal is sent by `millstream tail`."""
    command = [sys.executable, "-m", "millstream", "tail", url]
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child)  # noqa: S603  as above
    os.close(child)
    data = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # Linux says so that the other side is closed
            piece = b""
        if not piece:
            break
        data += piece
    os.close(parent)
    process.wait(PATIENCE)
    return data.decode()


class _Background:
    def __init__(self, url: str) -> None:
        self._done: subprocess.CompletedProcess[str] | None = None
        self._thread = threading.Thread(target=self._run, args=(url,))
        self._thread.start()

    def _run(self, url: str) -> None:
        self._done = tail(url)

    def result(self) -> tuple[int, str]:
        self._thread.join()
        assert self._done is not None
        return self._done.returncode, self._done.stdout
