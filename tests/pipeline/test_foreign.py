from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message
from tests.engine.conftest import AsyncUnit, begun

from millstream.engine.stream import Stream
from millstream.errors import HTTPError
from millstream.gateways.connection import Connection
from millstream.pipeline.foreign import deliver_foreign
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import State


class Wired:
    """One exchange, and what was sent in it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        self.connection = Connection(scope, self.receive, self.send)

    async def receive(self) -> Message:
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = self.sent[0]["headers"]
        return headers


OWN = [(b"x-mine", b"author"), (b"x-own", b"author"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


async def delivered(response: Response, *units: AsyncUnit) -> tuple[Wired, Stream]:
    wired, stream = Wired(), Stream()
    await deliver_foreign(response, OWN, await begun(stream, *units), wired.connection)
    return wired, stream


async def test_it_settles_and_sends_itself() -> None:
    log: list[str] = []
    wired, stream = await delivered(PlainTextResponse("hello"), AsyncUnit("u", log))
    assert log == ["u.prepare", "u.commit"]
    assert wired.sent[1]["body"] == b"hello"
    assert (stream.state, wired.connection.body_ended) == (State.DELIVERED, True)


async def test_the_authors_headers_come_on_top_and_do_not_double_its_own() -> None:
    response = PlainTextResponse("hello", headers={"X-Own": "starlette"})
    response.set_cookie("c", "3")
    wired, _ = await delivered(response)
    assert [value for name, value in wired.headers if name == b"x-own"] == [b"starlette"]
    assert (b"x-mine", b"author") in wired.headers
    assert len([name for name, _ in wired.headers if name == b"set-cookie"]) == 3


async def test_the_response_itself_is_not_changed() -> None:
    response = PlainTextResponse("hello")
    before = list(response.raw_headers)
    await delivered(response)
    assert response.raw_headers == before


async def test_nothing_is_sent_of_what_was_not_committed() -> None:
    wired = Wired()
    scope = await begun(Stream(), AsyncUnit("u", [], "commit"))
    with pytest.raises(RuntimeError, match="u fails"):
        await deliver_foreign(PlainTextResponse("hello"), OWN, scope, wired.connection)
    assert wired.sent == []


async def test_nothing_is_settled_or_sent_of_what_was_ended_early() -> None:
    wired, log = Wired(), list[str]()
    scope = await begun(Stream(), AsyncUnit("u", log))
    scope.stream.interrupt(Reason.STOPPED)
    with pytest.raises(HTTPError):
        await deliver_foreign(PlainTextResponse("hello"), OWN, scope, wired.connection)
    assert (wired.sent, log) == ([], [])
