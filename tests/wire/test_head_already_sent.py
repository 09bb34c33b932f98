"""From its first item on, an action cannot change the head: on every road, and however fast the socket is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.wire.conftest import Probe, here

from millstream import Member, Millstream, Settings, TGController, expose, response
from millstream.errors import HeadAlreadySent
from millstream.testing import SyncClient, WireClient

pytestmark = pytest.mark.wire

FORMATS = ["ndjson", "csv", "json", "sse", "xml", "multipart", "raw", "xlsx"]
HELD = ["arrow", "parquet"]  # formats that keep rows back, to write many at once
MEMBERS = ["zip"]  # whose items are streams of their own
TIMES = 10
"""What depended on which thread is faster went well once in sixty times."""

CHANGES: dict[str, Callable[[], None]] = {
    "a header": lambda: response.headers.__setitem__("x-late", "1"),
    "a header of others": lambda: response.headers.append("x-early", "2"),
    "no header": lambda: response.headers.__delitem__("x-early"),
    "the status": lambda: setattr(response, "status", 201),
    "a cookie": lambda: response.set_cookie("late", "1"),
    "the type": lambda: setattr(response, "content_type", "text/x-late"),
    "a header as ASGI has it": lambda: response.raw_headers.append((b"x-late", b"1")),
    "all headers as ASGI has them": lambda: setattr(response, "raw_headers", [(b"x-late", b"1")]),
}


def tried(where: str, probe: Probe) -> None:
    """Change all that can be changed, and note what was not refused."""
    for what, change in CHANGES.items():
        try:
            change()
        except HeadAlreadySent:
            pass
        else:
            probe.note("changed", f"{what} {where}")
    probe.note(where)


def rows(items: list[Any]) -> Iterator[Any]:
    probe = here()
    response.headers["x-early"] = "1"
    try:
        yield items[0]
        tried("after the first item", probe)
        yield items[1]
        tried("after the second", probe)
    finally:
        tried("in the end", probe)


async def arows(items: list[Any]) -> AsyncIterator[Any]:
    probe = here()
    response.headers["x-early"] = "1"
    try:
        yield items[0]
        tried("after the first item", probe)
        yield items[1]
        tried("after the second", probe)
    finally:
        tried("in the end", probe)


ROWS = [{"a": 1}, {"a": 2}]
TEXTS = ["a", "b"]
ARCHIVE = [Member("a", b"1"), Member("b", b"2")]


def sync_action(codec: str, items: list[Any]) -> Any:
    def action(_: Any) -> Iterator[Any]:
        yield from rows(items)

    return expose(codec)(action)


def async_action(codec: str, items: list[Any]) -> Any:
    async def action(_: Any) -> AsyncIterator[Any]:
        async for item in arows(items):
            yield item

    return expose(codec)(action)


def controller(make: Callable[[str, list[Any]], Any]) -> Any:
    actions = {codec: make(codec, ROWS) for codec in [*FORMATS, *HELD]}
    actions["raw"] = make("", TEXTS)
    actions |= {codec: make(codec, ARCHIVE) for codec in MEMBERS}
    return type("Kind", (TGController,), actions)()


class Root(TGController):
    sync = controller(sync_action)
    aio = controller(async_action)

    @expose("sse", durable=True)
    def durable(self) -> Iterator[Any]:
        yield from rows(ROWS)

    @expose("sse", durable=True)
    async def adurable(self) -> AsyncIterator[Any]:
        async for item in arows(ROWS):
            yield item

    @expose()
    def returned(self) -> Iterator[str]:
        return rows(TEXTS)

    @expose()
    async def areturned(self) -> AsyncIterator[str]:
        return arows(TEXTS)

    @expose("zip")
    def inside(self) -> Iterator[Member]:
        """The first item is a stream of its own, and its first chunk is the first item of the response."""
        yield Member("a", rows(TEXTS))
        yield Member("b", b"")


app = Millstream(Root(), Settings(durable_url="memory:"))
PATHS = [
    *(f"/{kind}/{codec}" for codec in [*FORMATS, *HELD, *MEMBERS] for kind in ("sync", "aio")),
    *("/durable", "/adurable", "/returned", "/areturned", "/inside"),
]
PLACES = {"after the first item", "after the second", "in the end"}


def needed(path: str) -> None:
    if path.rpartition("/")[2] in HELD:
        pytest.importorskip("pyarrow", reason="these formats need millstream[arrow]")


@pytest.mark.parametrize("path", PATHS)
def test_over_a_socket_every_change_after_the_first_item_is_refused(
    wire: WireClient, probe: Probe, path: str
) -> None:
    needed(path)
    for _ in range(TIMES):
        reply = wire.get(path, probe.headers)
        reply.rest()
        assert (reply.status, reply.headers["x-early"], reply.complete) == (200, "1", True)
    assert probe.values("changed") == []
    assert {*probe.names} == PLACES


@pytest.mark.parametrize("path", PATHS)
def test_in_the_test_client_every_change_after_the_first_item_is_refused(probe: Probe, path: str) -> None:
    needed(path)
    with SyncClient(Millstream(Root(), Settings(durable_url="memory:"))) as client:
        for _ in range(TIMES):
            reply = client.get(path, headers=dict(probe.headers))
            assert (reply.status, reply.headers["x-early"]) == (200, "1")
    assert probe.values("changed") == []
    assert {*probe.names} == PLACES


class Unseen(TGController):
    @expose("ndjson")
    def none(self) -> Iterator[int]:
        try:
            yield from ()
        finally:
            response.headers["x-end"] = "1"


def test_an_empty_stream_may_set_a_header_until_its_end() -> None:
    with SyncClient(Millstream(Unseen())) as client:
        assert client.get("/none").headers["x-end"] == "1"
