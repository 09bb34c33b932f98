"""One action, many formats: which one a client gets, what it is called, and what becomes of a bad row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import pytest
from tests.wire.conftest import Probe, watched

from millstream import Codec, Millstream, Reason, Settings, TGController, abort, expose, request, stream
from millstream.testing import BodyTruncated, Framing, Server, WireClient, WireReply, serve

pytestmark = pytest.mark.wire


class Flight(msgspec.Struct):
    carrier: str
    delay: int


@dataclass
class Order:
    number: int
    note: str = ""


class Shouted(Codec):
    """A format of an author's own."""

    name: ClassVar[str] = "shouted"
    media_type: ClassVar[str] = "text/x-shouted"
    extensions: ClassVar[tuple[str, ...]] = ("loud",)

    def item(self, item: Any, /) -> bytes:
        return f"{item}!\n".upper().encode(self.charset)


class Sync(TGController):
    @expose("json", download="flights-{month}.csv")
    @expose("csv")
    @expose("shouted")
    def flights(self, month: int | None = None, **fields: str) -> Iterator[Any]:
        yield {"carrier": "Bö", **fields}

    @expose("ndjson")
    @expose("csv")
    @expose("json")
    def typed(self, rows: int = 0, bad: str = "") -> Iterator[Flight]:
        watched()
        for number in range(rows):
            yield Flight("B6", number)
        if bad:
            yield {"carrier": bad}  # type: ignore[misc]  # the mistake that is made here

    @expose("json")
    def orders(self) -> list[Order]:
        return [Order(1), Order(2, "two")]

    @expose("csv")
    @expose("json")
    def own(self, format: str = "none") -> Iterator[str]:  # noqa: A002  the name is the point
        yield {"format": format}  # type: ignore[misc]  # rows of any kind

    @expose("page.html")
    @expose("json", download="rows.json")
    def page(self, fails: int = 0) -> Any:
        return {"title": "<Süd>", "rows": self.rows(fails)} if self.is_page() else self.rows(fails)

    def rows(self, fails: int) -> Iterator[dict[str, int]]:
        seen = watched()
        try:
            if fails == 1:
                abort(404)
            yield {"n": 1}
            seen.pass_gate()
            if fails == 3:
                stream.sleep(600)
            if fails:
                raise ValueError
            yield {"n": 2}
        finally:
            seen.note("closed")

    @staticmethod
    def is_page() -> bool:
        return not request.path_info.endswith(".json")


class Async(TGController):
    @expose("json", download="flights-{month}.csv")
    @expose("csv")
    @expose("shouted")
    async def flights(self, month: int | None = None, **fields: str) -> AsyncIterator[Any]:
        yield {"carrier": "Bö", **fields}

    @expose("ndjson")
    @expose("csv")
    @expose("json")
    async def typed(self, rows: int = 0, bad: str = "") -> AsyncIterator[Flight]:
        watched()
        for number in range(rows):
            yield Flight("B6", number)
        if bad:
            yield {"carrier": bad}  # type: ignore[misc]  # the mistake that is made here

    @expose("page.html")
    @expose("json")
    async def page(self, fails: int = 0) -> Any:
        return {"title": "<Süd>", "rows": self.rows(fails)}

    async def rows(self, fails: int) -> AsyncIterator[dict[str, int]]:
        seen = watched()
        try:
            if fails == 1:
                abort(404)
            yield {"n": 1}
            await seen.passed_gate()
            if fails == 3:
                await stream.sleep(600)
            if fails:
                raise ValueError
            yield {"n": 2}
        finally:
            seen.note("closed")


class Root(TGController):
    sync = Sync()
    aio = Async()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "page.html").write_text(
        "<h1>{{ title }}</h1>{% for row in rows %}<p>{{ row.n }}</p>{% else %}none{% endfor %}<hr>"
    )
    with serve(Millstream(Root(), Settings(templates=str(folder)), codecs=[Shouted])) as running:
        yield running


def got(wire: WireClient, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[WireReply, str]:
    reply = wire.get(path, headers, method=method)
    return reply, reply.rest().decode()


JSON, CSV, LOUD = "application/json", "text/csv; charset=utf-8", "text/x-shouted; charset=utf-8"
BODIES = {JSON: '[{"carrier":"Bö"}]', CSV: "carrier\r\nBö\r\n", LOUD: "{'CARRIER': 'BÖ'}!\n"}


@pytest.mark.parametrize(
    ("path", "accept", "content_type", "vary"),
    [
        ("flights", None, JSON, "Accept, Accept-Encoding"),
        ("flights", "text/csv;q=0.9, application/json;q=0.1", CSV, "Accept, Accept-Encoding"),
        ("flights", "text/x-shouted", LOUD, "Accept, Accept-Encoding"),
        ("flights?format=csv", "application/json", CSV, "Accept-Encoding"),
        ("flights?format=LOUD", None, LOUD, "Accept-Encoding"),
        ("flights?format=", "text/csv", CSV, "Accept, Accept-Encoding"),
        ("flights.csv", "application/json", CSV, "Accept-Encoding"),
        ("flights.csv?format=json", None, CSV, "Accept-Encoding"),
        ("flights.loud", None, LOUD, "Accept-Encoding"),
    ],
)
def test_a_client_gets_the_format_it_asks_for(
    wire: WireClient, path: str, accept: str | None, content_type: str, vary: str
) -> None:
    for kind in ("sync", "aio"):
        reply, body = got(wire, f"/{kind}/{path}", *([("accept", accept)] if accept else []))
        assert (reply.status, reply.headers["content-type"]) == (200, content_type)
        assert reply.headers["vary"] == vary
        assert body == BODIES[content_type]


def test_a_format_there_is_not_is_a_406_that_lists_those_there_are(wire: WireClient, kind: str) -> None:
    reply, body = got(wire, f"/{kind}/flights?format=xls")
    assert reply.status == 406
    assert json.loads(body)["detail"] == "this can be had in the formats json, csv, shouted, loud"


def test_the_field_that_names_the_format_is_not_the_actions(wire: WireClient, kind: str) -> None:
    assert got(wire, f"/{kind}/flights?format=json&month=1&a=2")[1] == '[{"carrier":"Bö","a":"2"}]'


def test_an_action_may_have_a_parameter_of_that_name(wire: WireClient) -> None:
    assert got(wire, "/sync/own?format=json")[1] == "format\r\njson\r\n"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("flights?month=7", "flights-7.json"),
        ("flights.csv?month=7", "flights-7.csv"),
        ("flights.loud?month=7", "flights-7.loud"),
        ("flights", "flights.json"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_download_is_named_with_the_actions_arguments(
    wire: WireClient, kind: str, path: str, name: str, method: str
) -> None:
    reply, _ = got(wire, f"/{kind}/{path}", method=method)
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_an_empty_table_of_declared_rows_has_its_header(wire: WireClient, kind: str, probe: Probe) -> None:
    assert got(wire, f"/{kind}/typed.csv", *probe.headers)[1] == "carrier,delay\r\n"


def test_what_an_action_returns_is_of_its_rows_type(wire: WireClient) -> None:
    assert json.loads(got(wire, "/sync/orders")[1]) == [
        {"number": 1, "note": ""},
        {"number": 2, "note": "two"},
    ]


@pytest.mark.parametrize("extension", ["ndjson", "csv", "json"])
def test_a_bad_row_breaks_the_body_off_and_is_named_by_its_number(
    wire: WireClient, kind: str, extension: str, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    reply = wire.get(f"/{kind}/typed.{extension}?rows=41&bad=secret", probe.headers)
    with pytest.raises(BodyTruncated) as broken:
        reply.rest()
    received = broken.value.received.decode()
    assert "secret" not in received
    assert probe.wait_ended().reason is Reason.FAILED
    assert "failed after 41 items" in caplog.text
    assert "at row 42" in caplog.text
    if extension == "ndjson":
        *rows, error = received.splitlines()
        assert len(rows) == 41
        assert json.loads(error)["error"]["row"] == 42
    if extension == "csv":
        assert len(list(csv.reader(io.StringIO(received)))) == 42  # with the header


def test_a_bad_first_row_is_an_honest_status(wire: WireClient, kind: str, probe: Probe) -> None:
    reply, body = got(wire, f"/{kind}/typed?bad=secret", *probe.headers)
    assert (reply.status, "secret" in body) == (500, False)


# Pages that stream


def test_a_page_leaves_before_its_rows_are_there(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/page", probe.headers)
    assert (reply.framing, reply.headers["content-type"]) == (Framing.CHUNKED, "text/html; charset=utf-8")
    received = b""
    while b"<p>1</p>" not in received:
        piece = reply.next_chunk()
        assert piece is not None
        received += piece.data
    assert probe.wait("at gate") is None
    probe.open()
    received += reply.rest()
    assert received.decode() == "<h1>&lt;Süd&gt;</h1><p>1</p><p>2</p><hr>"
    assert probe.wait_ended().reason is Reason.COMPLETED


@pytest.mark.parametrize("fails", [1, 2])
def test_a_page_that_fails_half_way_is_broken_off_and_its_rows_are_closed(
    wire: WireClient, kind: str, fails: int, probe: Probe
) -> None:
    probe.open()
    reply = wire.get(f"/{kind}/page?fails={fails}", probe.headers)
    with pytest.raises(BodyTruncated) as broken:
        reply.rest()
    assert broken.value.received.startswith(b"<h1>")
    assert b"<hr>" not in broken.value.received
    probe.wait("closed")
    assert probe.wait_ended().reason is Reason.FAILED


def test_a_client_that_leaves_a_page_closes_its_rows(wire: WireClient, kind: str, probe: Probe) -> None:
    probe.open()
    wire.get(f"/{kind}/page?fails=3", probe.headers)
    probe.wait("at gate")  # the head leaves before the rows begin, and rows that never began are not closed
    wire.close()
    probe.wait("closed")
    assert probe.wait_ended().reason is Reason.CLIENT_GONE


def test_the_format_of_a_page_is_chosen_as_any(wire: WireClient, probe: Probe) -> None:
    probe.open()
    reply, body = got(wire, "/sync/page.json", *probe.headers)
    assert body == '[{"n":1},\n{"n":2}]'
    assert reply.headers["content-disposition"] == 'attachment; filename="rows.json"'
    reply, body = got(wire, "/sync/page.html", *probe.headers)
    assert body.endswith("<hr>")
    assert "content-disposition" not in reply.headers


def test_head_of_a_page_takes_no_step(wire: WireClient, kind: str, probe: Probe) -> None:
    reply, body = got(wire, f"/{kind}/page", *probe.headers, method="HEAD")
    assert (reply.status, body) == (200, "")
    assert "at gate" not in probe.names
