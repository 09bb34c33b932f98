"""The page's application, unchanged, under the servers people run, started as they start them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.wire.conftest import PATIENCE
from tests.wire.running import Running, started

from millstream.testing import BodyTruncated, WireClient, connect

pytestmark = pytest.mark.wire

COMMANDS = {
    "uvicorn": ["uvicorn", "page:app"],
    "granian": ["granian", "--interface", "asgi", "page:app"],
    "millstream": ["millstream", "serve", "page:app"],
}


@pytest.fixture(scope="module", params=COMMANDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(COMMANDS[request.param], tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def wire(running: Running) -> Iterator[WireClient]:
    with connect("127.0.0.1", running.port, timeout=PATIENCE) as connection:
        yield connection


@pytest.fixture
def below(kind: str) -> str:
    return "/aio" if kind == "aio" else ""


def test_the_numbers_arrive_one_after_the_other(wire: WireClient, below: str) -> None:
    chunks = list(wire.get(f"{below}/stream_list"))
    assert b"".join(chunk.data for chunk in chunks) == b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    assert len(chunks) >= 9
    assert chunks[-1].at - chunks[0].at >= 0.1


def test_the_css_sees_its_request(wire: WireClient) -> None:
    assert wire.get("/stream").rest() == b"".join(b"/stream/%d\n" % number for number in range(1, 11))


def test_a_failure_breaks_the_body_off(wire: WireClient, below: str) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"{below}/broken").rest()
    assert truncated.value.received.startswith(b'1\n{"error":')
    assert not wire.raw.endswith(b"0\r\n\r\n")


def test_an_abort_before_the_first_item_is_a_status(wire: WireClient, below: str) -> None:
    assert wire.get(f"{below}/refused").status == 403


def test_head_has_no_body(wire: WireClient, below: str) -> None:
    assert wire.get(f"{below}/stream_list", method="HEAD").status == 200
    assert wire.get(f"{below}/refused").status == 403


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_leaver_is_noticed(running: Running, wire: WireClient, below: str, how: str) -> None:
    closed = f"closed {below}/idle"
    before = running.log.count(closed)
    wire.get(f"{below}/idle").next_chunk()
    getattr(wire, how)()
    running.wait_log(closed, before + 1)


def test_clients_that_leave_what_they_were_sent_are_no_errors(running: Running) -> None:
    with ExitStack() as crowd:
        for _ in range(100):
            wire = crowd.enter_context(connect("127.0.0.1", running.port, timeout=PATIENCE))
            wire.send("/aio/ticking")
        time.sleep(0.5)  # there has to be something unread
    with connect("127.0.0.1", running.port, timeout=PATIENCE) as wire:
        wire.get("/stream").rest()  # after those
    assert "without completing response" not in running.log


def test_the_log_has_no_failure_that_nobody_caused(running: Running) -> None:
    assert "was never awaited" not in running.log
    assert "Task exception" not in running.log
    assert "Task was destroyed" not in running.log
