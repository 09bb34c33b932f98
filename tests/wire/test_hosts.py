"""The host that a request names, over the wire: for actions, mounted applications, and nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse
from tests.wire.conftest import PATIENCE

from millstream import ASGIAppController, Millstream, Settings, TGController, expose, redirect, url
from millstream.testing import Server, WireClient, connect, serve

pytestmark = pytest.mark.wire


class Root(TGController):
    mounted = ASGIAppController(PlainTextResponse("mounted"))

    @expose()
    def index(self) -> str:
        return url("/a", qualified=True)

    @expose()
    def back(self, came_from: str = "/") -> None:
        redirect(came_from)


@pytest.fixture(scope="module")
def shop() -> Iterator[Server]:
    with serve(Millstream(Root, Settings(allowed_hosts="shop.example"))) as server:
        yield server


@pytest.fixture
def wire(shop: Server) -> Iterator[WireClient]:
    with connect(shop.host, shop.port, timeout=PATIENCE) as connection:
        yield connection


def asked(wire: WireClient, path: str, *hosts: str, version: str = "1.1") -> tuple[int, bytes]:
    lines = [f"GET {path} HTTP/{version}", *(f"host: {host}" for host in hosts), "", ""]
    wire.send_raw("\r\n".join(lines).encode("latin-1"))
    reply = wire.read_head()
    return reply.status, reply.rest()


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        (["shop.example"], "1.1", 200),
        (["evil.example"], "1.1", 400),
        (["shop.example", "evil.example"], "1.1", 400),
        ([], "1.1", 400),
        ([], "1.0", 400),
        (["shop.example"], "2.0", 505),
    ],
)
def test_only_its_own_host_is_answered_for(
    wire: WireClient, hosts: list[str], version: str, status: int
) -> None:
    assert asked(wire, "/", *hosts, version=version)[0] == status


@pytest.mark.parametrize("path", ["/", "/mounted", "/mounted/x", "/nowhere", "/_streams/x"])
def test_no_road_answers_for_a_foreign_host(wire: WireClient, path: str) -> None:
    assert asked(wire, path, "evil.example")[0] == 400


def test_a_link_names_the_host_that_was_asked(wire: WireClient) -> None:
    assert asked(wire, "/", "shop.example:80") == (200, b"http://shop.example:80/a")


@pytest.mark.parametrize(
    ("came_from", "status"),
    [("/x", 302), ("http://shop.example/x", 302), ("//evil.example", 500), ("http://evil.example/", 500)],
)
def test_a_redirect_leads_to_no_other_origin_by_what_a_client_says(
    wire: WireClient, came_from: str, status: int
) -> None:
    assert asked(wire, f"/back?came_from={came_from}", "shop.example")[0] == status
