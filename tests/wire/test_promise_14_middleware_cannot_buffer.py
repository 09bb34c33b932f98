from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.wire.conftest import Probe, here

from millstream import Millstream, TGController, expose, inject_html
from millstream.testing import Framing, WireClient

pytestmark = pytest.mark.wire

SNIPPET = "<i>grün</i>"
ADDED = SNIPPET.encode()


class Sync(TGController):
    @expose(content_type="text/html")
    def page(self) -> Iterator[str]:
        seen = here()
        yield "<body>one"
        seen.pass_gate("first")
        yield "two</body>"
        seen.pass_gate("second")
        yield "</html>"
        while True:
            yield "<!-- and on -->"

    @expose(content_type="text/html")
    def split(self) -> Iterator[str]:
        yield from "<p></p></bo</BODY ></boDy></html>"

    @expose(content_type="text/html")
    def without(self) -> Iterator[str]:
        yield "<p>"
        yield "</bod"

    @expose(content_type="text/html; charset=latin-1")
    def latin(self) -> Iterator[str]:
        yield "<p>süß</body>"

    @expose(content_type="text/plain")
    def other(self) -> Iterator[str]:
        yield "</body>"

    @expose(content_type="text/html")
    def whole(self) -> str:
        return "<p></body>"

    @expose("ndjson")
    def items(self) -> Iterator[Any]:
        yield "left"
        yield "up"


class Async(TGController):
    @expose(content_type="text/html")
    async def page(self) -> AsyncIterator[str]:
        seen = here()
        yield "<body>one"
        await seen.passed_gate("first")
        yield "two</body>"
        await seen.passed_gate("second")
        yield "</html>"
        while True:
            yield "<!-- and on -->"

    @expose(content_type="text/html")
    async def split(self) -> AsyncIterator[str]:
        for character in "<p></p></bo</BODY ></boDy></html>":
            yield character

    @expose(content_type="text/html")
    async def without(self) -> AsyncIterator[str]:
        yield "<p>"
        yield "</bod"

    @expose(content_type="text/html; charset=latin-1")
    async def latin(self) -> AsyncIterator[str]:
        yield "<p>süß</body>"

    @expose(content_type="text/plain")
    async def other(self) -> AsyncIterator[str]:
        yield "</body>"

    @expose(content_type="text/html")
    async def whole(self) -> str:
        return "<p></body>"

    @expose("ndjson")
    async def items(self) -> AsyncIterator[Any]:
        yield "left"
        yield "up"


class Root(TGController):
    sync = Sync()
    aio = Async()


def mirrored(item: Any) -> Any:
    return "right" if item == "left" else item


app = Millstream(Root(), transforms=[inject_html(SNIPPET)], item_hooks=[mirrored])


def test_an_endless_page_is_injected_into_while_it_passes(wire: WireClient, kind: str, probe: Probe) -> None:
    reply = wire.get(f"/{kind}/page", probe.headers)
    received = b""
    for gate, until in (("first", b"one"), ("second", b"two" + ADDED + b"</body>")):
        while until not in received:
            chunk = reply.next_chunk()
            assert chunk is not None
            received += chunk.data
        probe.open(gate)
    chunk = reply.next_chunk()
    assert chunk is not None
    assert chunk.data.startswith(b"</html>")
    assert ADDED not in chunk.data


def test_a_tag_that_comes_in_pieces_is_found(wire: WireClient, kind: str) -> None:
    body = wire.get(f"/{kind}/split").rest()
    assert body == b"<p></p></bo</BODY >" + ADDED + b"</boDy></html>"


def test_a_page_without_the_tag_ends_with_what_is_injected(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/without").rest() == b"<p></bod" + ADDED


def test_what_is_injected_is_in_the_charset_of_the_page(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/latin").rest().decode("latin-1") == f"<p>süß{SNIPPET}</body>"


def test_other_types_pass_untouched(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/other").rest() == b"</body>"


def test_a_whole_page_is_injected_into_and_its_length_is_right(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/whole")
    assert reply.framing is Framing.LENGTH
    assert reply.rest() == b"<p>" + ADDED + b"</body>"


def test_the_length_that_head_tells_is_that_of_get(wire: WireClient, kind: str) -> None:
    told = wire.get(f"/{kind}/whole", method="HEAD").headers["content-length"]
    assert wire.get(f"/{kind}/whole").headers["content-length"] == told


def test_hooks_on_items_see_every_item_before_the_codec(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/items").rest() == b'"right"\n"up"\n'
