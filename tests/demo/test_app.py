"""The demo's own streams, over the wire."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millstream.demo.app import create
from millstream.testing import Server, WireReply, connect, serve

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    with serve(create(database)) as running:
        yield running


def get(server: Server, path: str) -> tuple[WireReply, str]:
    with connect(server.host, server.port, timeout=20) as wire:
        reply = wire.get(path)
        return reply, reply.rest().decode()


def flights(database: Path, where: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM flights WHERE {where}")]  # noqa: S608  the test's own words


def test_the_front_page_shows_the_code_it_runs(server: Server) -> None:
    reply, page = get(server, "/")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.count('<pre class="source"') == 8
    assert '<span class="name">stream_list</span>' in page
    assert "{{" not in page


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/live.js", "text/javascript; charset=utf-8"),
        ("/static/script.js", "text/javascript; charset=utf-8"),
        ("/static/downloads.js", "text/javascript; charset=utf-8"),
        ("/static/answers.js", "text/javascript; charset=utf-8"),
    ],
)
def test_what_the_front_page_needs_is_there(server: Server, path: str, content_type: str) -> None:
    reply, _ = get(server, path)
    assert (reply.status, reply.headers["content-type"]) == (200, content_type)


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/_database", "/page/reading/_database"]
)
def test_nothing_else_can_be_reached(server: Server, path: str) -> None:
    reply, _ = get(server, path)
    assert reply.status == 404


def test_the_same_flights_come_in_each_format(server: Server, database: Path) -> None:
    expected = flights(database, "month = 2 AND carrier = 'UA'")
    assert expected
    wanted = "?month=2&carrier=UA"
    _, as_json = get(server, f"/flights.json{wanted}")
    _, as_lines = get(server, f"/flights.ndjson{wanted}")
    _, as_csv = get(server, f"/flights.csv{wanted}")
    assert json.loads(as_json) == expected
    assert [json.loads(line) for line in as_lines.splitlines()] == expected
    rows = list(csv.DictReader(io.StringIO(as_csv, newline="")))
    assert rows == [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected]


@pytest.mark.parametrize(
    ("query", "where"),
    [("", "1"), ("?month=12", "month = 12"), ("?carrier=HA", "carrier = 'HA'"), ("?carrier=' OR 1=1", "0")],
)
def test_each_condition_may_be_left_out(server: Server, database: Path, query: str, where: str) -> None:
    _, lines = get(server, "/flights.ndjson" + query.replace(" ", "%20"))
    assert len(lines.splitlines()) == len(flights(database, where))


def test_a_month_that_is_no_number_is_named(server: Server) -> None:
    reply, body = get(server, "/flights.ndjson?month=May")
    assert reply.status == 422
    assert json.loads(body)["errors"][0]["field"] == "month"


def test_ticks_are_numbered_and_go_on_where_a_client_left(server: Server) -> None:
    with connect(server.host, server.port) as wire:
        reply = wire.get("/ticks", [("last-event-id", "41")])
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = ""
        while text.count("\n\n") < 2:
            chunk = reply.next_chunk()
            assert chunk is not None
            text += chunk.data.decode()
    assert [line for line in text.splitlines() if line.startswith("id:")] == ["id: 42", "id: 43"]


@pytest.mark.parametrize("forged", ["-1", "many", "9" * 5000, "\u00b2"])
def test_a_number_that_is_none_is_not_gone_on_from(server: Server, forged: str) -> None:
    with connect(server.host, server.port) as wire:
        reply = wire.get("/ticks", [("last-event-id", forged)])
        text = ""
        while "\ndata:" not in text:
            chunk = reply.next_chunk()
            assert chunk is not None
            text += chunk.data.decode()
    assert "id: 1\n" in text


def test_the_job_tells_its_progress_and_each_answer(server: Server, database: Path) -> None:
    _, lines = get(server, "/job.ndjson")
    items = [json.loads(line) for line in lines.splitlines()]
    progress = [item["done"] for item in items if "done" in item]
    answers = {(item["carrier"], item["month"]): item["delay"] for item in items if "carrier" in item}
    assert progress == list(range(len(progress)))
    assert items[-1] == {"done": len(answers), "total": len(answers), "note": "done"}
    delays = [
        row["dep_delay"] for row in flights(database, "carrier = 'UA' AND month = 7 AND dep_delay NOT NULL")
    ]
    assert answers["UA", 7] == pytest.approx(sum(delays) / len(delays))


def test_the_job_is_there_for_an_event_source_too(server: Server) -> None:
    reply, events = get(server, "/job.sse")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert 'data: {"done":0,' in events
    assert "event: end" in events.splitlines()[-3:]


def committed(server: Server) -> int:
    _, body = get(server, "/imported")
    return int(json.loads(body)["committed"])


def test_an_import_that_is_cut_off_goes_on_from_its_last_checkpoint(server: Server) -> None:
    with connect(server.host, server.port, timeout=20) as wire:
        reply = wire.get("/load", method="POST")
        text = ""
        while '"done":52500' not in text:
            chunk = reply.next_chunk()
            assert chunk is not None
            text += chunk.data.decode()
        assert committed(server) == 50_000
        wire.reset()
    with connect(server.host, server.port, timeout=20) as wire:
        chunk = wire.get("/load", method="POST").next_chunk()
        assert chunk is not None
        assert json.loads(chunk.data)["done"] == 52_500
