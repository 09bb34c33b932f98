"""Kinds of results and what is sent of them; the order of a stream's life shows `test_hallway`."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millstream import Millstream, Settings, TGController, expose, inject_html, stream
from millstream.testing import Client, no_leaks

SOURCE = Path(__file__).read_bytes()
PAGE = "<p>" + "x" * 2000 + "</body>"


class Root(TGController):
    opened: list[Any]

    def __init__(self) -> None:
        self.opened = []

    def _after(self, *_args: Any, fails: str = "", **_kwargs: Any) -> None:
        if fails:
            raise ValueError

    @expose("page.html")
    def page(self, **_: str) -> dict[str, Any]:
        self.opened = [self.rows()]
        return {"rows": self.opened[0]}

    @expose("page.html")
    async def mixed(self, **_: str) -> dict[str, Any]:
        self.opened = [self.rows()]
        return {"rows": self.opened[0]}

    @expose("page.html")
    async def apage(self, **_: str) -> dict[str, Any]:
        self.opened = [self.arows()]
        return {"rows": self.opened[0]}

    @expose("json")
    def wrong(self) -> dict[str, Any]:
        self.opened = [self.rows()]
        return {"rows": self.opened[0]}

    @expose(download="page.html", stream_id=True)
    def file(self) -> Path:
        return Path(__file__)

    @expose(content_type="text/html")
    def html(self) -> io.BytesIO:
        file = io.BytesIO(PAGE.encode())
        self.opened = [file]
        return file

    @expose("json")
    async def endless(self) -> AsyncIterator[int]:
        yield 1
        await stream.sleep(600)

    @expose("json", download="order.json")
    def document(self) -> dict[str, int]:
        return {"a": 1}

    def rows(self) -> Iterator[str]:
        yield threading.current_thread().name
        yield "second"

    async def arows(self) -> AsyncIterator[str]:
        yield threading.current_thread().name
        yield "second"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "page.html").write_text("{% for row in rows %}{{ row }};{% endfor %}")
    return Settings(templates=str(tmp_path))


@pytest.mark.parametrize(
    ("path", "thread"),
    [("/page", "millstream Root.page"), ("/mixed", "millstream Root.mixed"), ("/apage", "MainThread")],
)
async def test_a_page_runs_where_its_rows_do(settings: Settings, path: str, thread: str) -> None:
    app = Millstream(Root, settings)
    async with no_leaks(app), Client(app) as client:
        assert (await client.get(path)).text == f"{thread};second;"


@pytest.mark.parametrize("path", ["/page?fails=1", "/mixed?fails=1", "/wrong"])
async def test_rows_that_are_not_sent_are_closed(settings: Settings, path: str) -> None:
    root = Root()
    async with Client(Millstream(root, settings)) as client:
        assert (await client.get(path)).status == 500
    assert next(root.opened[0], None) is None


async def test_asynchronous_rows_that_are_not_sent_are_closed(settings: Settings) -> None:
    root = Root()
    async with Client(Millstream(root, settings)) as client:
        assert (await client.get("/apage?fails=1")).status == 500
    assert await anext(root.opened[0], None) is None


async def test_head_of_a_page_closes_its_rows(settings: Settings) -> None:
    root = Root()
    app = Millstream(root, settings)
    async with no_leaks(app), Client(app) as client:
        reply = await client.head("/page")
    assert (reply.status, reply.body) == (200, b"")
    assert next(root.opened[0], None) is None


async def test_a_file_that_is_a_transforms_affair_is_sent_whole(settings: Settings) -> None:
    root = Root()
    app = Millstream(root, settings, transforms=[inject_html("<i>")])
    async with Client(app) as client:
        whole = await client.get("/html", headers={"range": "bytes=0-1"})
        known = await client.get("/html", headers={"if-none-match": whole.headers["etag"]})
    assert (whole.status, whole.text) == (200, PAGE.replace("</body>", "<i></body>"))
    assert whole.headers["etag"].startswith('W/"')
    assert not {"content-length", "accept-ranges"} & set(whole.headers)
    assert (known.status, known.body) == (304, b"")
    assert root.opened[0].closed


async def test_a_file_may_be_named_and_its_stream_too(settings: Settings) -> None:
    async with Client(Millstream(Root, settings)) as client:
        reply = await client.get("/file")
    assert reply.headers["content-disposition"] == 'attachment; filename="page.html"'
    assert reply.headers["content-type"] == "text/x-python; charset=utf-8"
    assert reply.headers["stream-id"]
    assert reply.body == SOURCE


async def test_a_document_may_be_saved_under_a_name(settings: Settings) -> None:
    async with Client(Millstream(Root, settings)) as client:
        reply = await client.get("/document")
    assert reply.headers["content-disposition"] == 'attachment; filename="order.json"'


async def test_a_file_counts_as_a_stream_and_is_closed_where_there_is_no_room(settings: Settings) -> None:
    root = Root()
    app = Millstream(root, replace(settings, max_streams=1))
    async with Client(app) as client, client.stream("GET", "/endless"):
        assert (await client.get("/html")).status == 503
    assert root.opened[0].closed
