"""The log's database goes away and comes back: nobody is told 500, and no page gives up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.wire.conftest import PATIENCE

from millstream import Millstream, Settings, TGController, expose
from millstream.durable.runs.declared import Durable
from millstream.testing import BodyTruncated, Server, WireReply, connect, serve
from millstream.testing.postgres import postgres
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire


class Root(TGController):
    @expose("sse", durable=Durable(key="events-{n}", on_death="restart"))
    async def events(self, n: int = 0) -> AsyncIterator[int]:
        yield n
        await asyncio.sleep(0.01)

    @expose("ndjson", durable=True)
    async def rows(self, n: int = 0) -> AsyncIterator[int]:
        yield n

    @expose("csv", durable=Durable(key="table-{n}"))
    async def table(self, n: int = 0) -> AsyncIterator[dict[str, int]]:
        yield {"n": n}


class House:
    """An application whose log can be taken away.

    Attributes:
        kept: the ids of runs that have ended, by the names of their actions.
        last: the id of an event.
    """

    def __init__(self, server: Server, stop: Callable[[], None], start: Callable[[], None]) -> None:
        self.server = server
        self._stop, self._start = stop, start
        self.kept: dict[str, str] = {}
        self.last = ""
        for action in ("events", "rows", "table"):
            reply, body = self.ask(f"/{action}")
            self.kept[action] = reply.headers["stream-id"]
            if action == "events":
                self.last = body.decode().partition("id: ")[2].partition("\n")[0]

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[WireReply, bytes]:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        with connect(self.server.host, self.server.port, timeout=PATIENCE) as wire:
            reply = wire.get(path, pairs, method=method)
            try:
                return reply, reply.rest()
            except BodyTruncated as truncated:
                return reply, truncated.received

    @contextmanager
    def away(self) -> Iterator[None]:
        self._stop()
        try:
            yield
        finally:
            self._start()
            deadline = time.monotonic() + PATIENCE
            while self.ask("/rows?n=9")[0].status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with ExitStack() as stack:
        if request.param == "redis":
            cache = stack.enter_context(redis())
            url, stop, start = cache.url, cache.kill, cache.start
        else:
            database = stack.enter_context(postgres())
            url, stop, start = database.url, database.stop, database.start
        app = Millstream(Root(), Settings(durable_url=url, drain_timeout=0.1))
        yield House(stack.enter_context(serve(app)), stop, start)


def test_a_log_that_is_away_is_503_on_every_road_and_one_line_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    events, rows, table = (house.kept[action] for action in ("events", "rows", "table"))
    roads: dict[str, tuple[WireReply, bytes]] = {}
    with caplog.at_level(logging.WARNING), house.away():
        for road, path, method, headers in (
            ("begin", "/rows?n=1", "GET", {}),
            ("begin by a key", "/table?n=1", "GET", {}),
            ("begin events", "/events?n=1", "GET", {}),
            ("attach by a key", "/table", "GET", {}),
            ("attach by an id", f"/rows?stream={rows}&offset=1", "GET", {}),
            ("attach by a header", "/rows", "GET", {"stream_id": rows}),
            ("head of an action", f"/rows?stream={rows}", "HEAD", {}),
            ("read", f"/_streams/{rows}", "GET", {}),
            ("read events", f"/_streams/{events}", "GET", {}),
            ("head", f"/_streams/{rows}", "HEAD", {}),
            ("range", f"/_streams/{table}", "GET", {"range": "bytes=1-"}),
            ("range of a key", "/table", "GET", {"range": "bytes=1-"}),
            ("page", f"/_streams/{rows}?offset=-1", "GET", {}),
            ("long-poll", f"/_streams/{rows}?offset=-1&live=long-poll", "GET", {}),
            ("live events", f"/_streams/{rows}?offset=-1&live=sse", "GET", {}),
            ("body", f"/_streams/{rows}?live=body", "GET", {}),
            ("stop", f"/_streams/{rows}/stop", "POST", {}),
        ):
            roads[road] = house.ask(path, method, **headers)
    assert {road: reply.status for road, (reply, _) in roads.items()} == dict.fromkeys(roads, 503)
    assert {road: reply.headers.get("retry-after") for road, (reply, _) in roads.items()} == dict.fromkeys(
        roads, "1"
    )
    said = [record for record in caplog.records if record.name.startswith("millstream")]
    assert [record.getMessage().partition(": ")[0] for record in said] == ["the durable log cannot be had"]
    assert not any(record.exc_info for record in said)


@pytest.mark.parametrize("path", ["/events", "/events?n=7", "/_streams/{run}"])
def test_an_event_source_comes_again_whatever_it_asks_for(house: House, path: str) -> None:
    path = path.format(run=house.kept["events"])
    with house.away():
        back, comeback = house.ask(path, last_event_id=house.last)
        first, opening = house.ask(path, accept="text/event-stream")
    for reply, body in ((back, comeback), (first, opening)):
        assert (reply.status, reply.headers["content-type"], body) == (
            200,
            "text/event-stream; charset=utf-8",
            b"retry: 3000\n",
        )
    assert (back.complete, first.complete) == (True, False)


def test_what_accepts_events_but_is_given_something_else_is_told_503(house: House) -> None:
    with house.away():
        assert house.ask("/rows", accept="text/event-stream")[0].status == 503
        assert house.ask(f"/_streams/{house.kept['table']}", last_event_id="7")[0].status == 503


def test_what_was_kept_is_there_again(house: House) -> None:
    with house.away():
        pass
    assert house.ask(f"/_streams/{house.kept['rows']}")[1] == b"0\n"
    assert house.ask("/events", last_event_id=house.last)[0].status == 200
