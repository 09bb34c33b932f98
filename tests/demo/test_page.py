"""The page's examples: printed as the page prints them, and running."""

from __future__ import annotations

import inspect
import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millstream.demo import page
from millstream.demo.app import create
from millstream.demo.model import open_database
from millstream.testing import Server, SyncClient, connect, serve

GENERATOR = """\
@expose(content_type='application/json')
def stream_list(self):
    def output_pause():
        num = 0
        yield '['
        while num < 9:
            num += 1
            yield '%s, ' % num
            time.sleep(1)
        yield '10]'
    return output_pause()
"""
REQUEST = """\
@expose(content_type='text/css')
def stream(self):
    def output_pause(req):
        num = 0
        while num < 10:
            num += 1
            yield '%s/%s\\n' % (req.path_info, num)
            time.sleep(1)
    return output_pause(request._current_obj())
"""
READING = """\
@expose(content_type='application/json')
def stream_db(self):
    def output_pause():
        num = 0
        yield '['
        while num < 9:
            u = DBSession.query(model.User).filter_by(user_id=num).first()
            num += 1
            yield u and '"%s", ' % u.user_name or 'null, '
            time.sleep(1)
        DBSession.remove()
        yield 'null]'
    return output_pause()
"""
WRITING = """\
@expose(content_type='application/json')
def stream_list(self):
    def output_pause():
        import transaction
        num = 0
        while num < 9:
            DBSession.add(model.Permission(permission_name='perm_%s'%num))
            num += 1
            time.sleep(1)
        DBSession.flush()
        transaction.commit()
        DBSession.remove()
    return output_pause()
"""


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    with serve(create(database)) as running:
        yield running


def test_all_four_stand_as_they_are_printed(database: Path) -> None:
    controller: Any = page.page_controller(open_database(database))
    for action, printed in [
        (controller.generators.stream_list, GENERATOR),
        (controller.accessing.stream, REQUEST),
        (controller.reading.stream_db, READING),
        (controller.writing.stream_list, WRITING),
    ]:
        assert textwrap.dedent(inspect.getsource(action)) == printed


@pytest.mark.wire
@pytest.mark.parametrize(
    ("path", "content_type", "items"),
    [
        ("/page/generators/stream_list", "application/json", ["[1, ", "2, ", "3, "]),
        (
            "/page/accessing/stream",
            "text/css; charset=utf-8",
            [f"/page/accessing/stream/{number}\n" for number in (1, 2, 3)],
        ),
        ("/page/reading/stream_db", "application/json", ["[null, ", '"manager", ', '"editor", ']),
    ],
)
def test_items_arrive_one_a_second(server: Server, path: str, content_type: str, items: list[str]) -> None:
    with connect(server.host, server.port) as wire:
        reply = wire.get(path)
        assert (reply.status, reply.headers["content-type"]) == (200, content_type)
        text, last, times = "", 0.0, []
        for item in items:
            while item not in text:
                chunk = reply.next_chunk()
                assert chunk is not None
                text += chunk.data.decode()
                last = chunk.at
            times.append(last)
        assert text == "".join(items)
    assert all(0.8 < after - before < 3 for before, after in pairwise(times))


def test_the_whole_is_a_list_from_one_to_ten(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "time", SimpleNamespace(sleep=lambda _: None))
    with SyncClient(create(database)) as client:
        assert client.get("/page/generators/stream_list").json() == list(range(1, 11))


def test_the_last_answers_nothing_when_its_nine_rows_are_committed(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "time", SimpleNamespace(sleep=lambda _: None))
    with closing(sqlite3.connect(database)) as beside, SyncClient(create(database)) as client:
        count = "SELECT count(*) FROM tg_permission"
        (before,) = beside.execute(count).fetchone()
        reply = client.get("/page/writing/stream_list")
        assert (reply.status, reply.body) == (204, b"")
        assert beside.execute(count).fetchone() == (before + 9,)
