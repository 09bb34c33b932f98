from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream import Event, Millstream, TGController, abort, expose, redirect, response
from millstream.testing import EventReader, WireClient

pytestmark = pytest.mark.wire

FORGED = "good\r\nx-forged: yes\r\n\r\n<p>"


def set_header() -> None:
    response.headers["x-name"] = FORGED


def append_header() -> None:
    response.headers.append("x-name", FORGED)


def default_header() -> None:
    response.headers.setdefault("x-name", FORGED)


def update_headers() -> None:
    response.headers.update({"x-name": FORGED})


def name_header() -> None:
    response.headers[FORGED] = "x"


def set_type() -> None:
    response.content_type = FORGED


def cookie_path() -> None:
    response.set_cookie("name", "value", path=FORGED)


def cookie_domain() -> None:
    response.set_cookie("name", "value", domain=FORGED)


def cookie_value() -> None:
    response.set_cookie("name", FORGED)


def cookie_name() -> None:
    response.set_cookie(FORGED, "value")


def abort_header() -> None:
    abort(403, headers={"x-name": FORGED})


def abort_name() -> None:
    abort(403, headers={FORGED: "x"})


def redirected() -> None:
    redirect("/" + FORGED)


def redirected_fields() -> None:
    redirect("/", {"field": FORGED})


WAYS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        set_header, append_header, default_header, update_headers, name_header, set_type, cookie_path,
        cookie_domain, cookie_value, cookie_name, abort_header, abort_name, redirected, redirected_fields,
    )
}  # fmt: skip


class Root(TGController):
    @expose()
    def whole(self, way: str) -> str:
        WAYS[way]()
        return "body"

    @expose()
    def streamed(self, way: str) -> Iterator[str]:
        WAYS[way]()
        yield "body"

    @expose()
    def foreign(self, way: str) -> Any:
        from starlette.responses import PlainTextResponse  # noqa: PLC0415  only this action is about it

        WAYS[way]()
        return PlainTextResponse("body")

    @expose("sse")
    def events(self) -> Iterator[Event]:
        yield Event(FORGED + "\r\rdata: forged\n\nevent: forged")


app = Millstream(Root())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", ["whole", "streamed", "foreign"])
def test_nothing_an_action_says_can_forge_a_header(wire: WireClient, action: str, way: str) -> None:
    reply = wire.get(f"/{action}?way={way}")
    assert "x-forged" not in reply.headers
    assert b"\r\nx-forged" not in wire.raw.lower()
    assert reply.status in {500, 302, 200}
    reply.rest()


def test_a_refused_header_is_an_error_of_the_action(
    wire: WireClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert wire.get("/whole?way=set_header").status == 500
    assert "'x-name' cannot be sent with the character '\\r'" in caplog.text


def test_data_cannot_forge_an_event(wire: WireClient) -> None:
    data, end = EventReader().feed(wire.get("/events").rest())
    assert (data.event, end.event) == ("message", "end")
    assert "data: forged" in data.data
