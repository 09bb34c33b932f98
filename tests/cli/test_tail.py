"""`millstream tail` against real servers that fail in the middle, go away and come back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from millstream import Event, Millstream, TGController, expose, request, stream
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.testing import Server, connect, serve

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
