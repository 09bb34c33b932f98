from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import MutableHeaders
from tests.gateways.conftest import LEFT, PlainServer, Server, piece, turns

from millstream.gateways.connection import AHEAD, Connection, _warn_of_http_1_0
from millstream.gateways.uvicorn import UNSENT
from millstream.protocol.ports import Head
from millstream.testing import no_leaks

KINDS = [Server, PlainServer]

# The one owner of receive


@pytest.mark.parametrize("kind", KINDS)
async def test_the_body_is_received_as_it_is_asked_for(kind: type[Server]) -> None:
    server = kind(piece(b"a"), piece(b"b", more=False), LEFT)
    assert (await server.connection.receive())["body"] == b"a"
    assert server.given == 1
    assert (await server.connection.receive())["body"] == b"b"
    assert await server.connection.receive() == LEFT
    assert await server.connection.receive() == LEFT
    assert server.given == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves_is_noticed_while_nobody_reads(kind: type[Server]) -> None:
    server, gone = kind(piece(b"", more=False)), asyncio.Event()
    server.connection.watch(gone.set)
    await turns()
    assert not gone.is_set()
    server.give(LEFT)
    async with asyncio.timeout(1):
        await gone.wait()
    assert server.connection.gone
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_left_before_the_watch_is_told_soon_and_not_at_once(kind: type[Server]) -> None:
    server, told = kind(LEFT), list[str]()
    await server.connection.receive()
    server.connection.watch(lambda: told.append("gone"))
    assert told == []
    await turns()
    assert told == ["gone"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_leaver_is_told_once(kind: type[Server]) -> None:
    server, told = kind(LEFT), list[str]()
    server.connection.watch(lambda: told.append("gone"))
    await turns()
    server.error = OSError("reset")
    await server.connection.send_body(b"x")
    assert told == ["gone"]
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_after_the_watch_nobody_is_told_and_nobody_listens(kind: type[Server]) -> None:
    server, told = kind(), list[str]()
    async with no_leaks():
        server.connection.watch(lambda: told.append("gone"))
        await turns()
        server.connection.unwatch()
        server.connection.unwatch()
    server.give(LEFT)
    await turns()
    assert told == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_body_is_read_whole_and_in_order_while_the_watch_goes_on(kind: type[Server]) -> None:
    server = kind()
    server.connection.watch(lambda: None)
    reading = asyncio.create_task(whole(server.connection))
    for number in range(10):
        server.give(piece(b"%d" % number))
        await turns(number)
    server.give(piece(b".", more=False))
    assert await reading == b"0123456789."
    server.connection.unwatch()


async def whole(connection: Connection) -> bytes:
    body = b""
    while True:
        message: dict[str, Any] = dict(await connection.receive())
        if message["type"] != "http.request":
            return body + b" and left"
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("watched", [1, 3, 5])
async def test_a_reader_that_waits_when_the_watch_begins_or_ends_loses_nothing(
    kind: type[Server], watched: int
) -> None:
    server = kind()
    reading = asyncio.create_task(whole(server.connection))
    for number in range(7):
        await turns()
        if number == watched:
            server.connection.watch(lambda: None)
        if number == watched + 2:
            server.connection.unwatch()
        await turns()
        server.give(piece(b"%d" % number, more=number < 6))
    assert await reading == b"0123456"
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_learns_that_the_client_left_as_the_watch_does(kind: type[Server]) -> None:
    server, told = kind(), list[str]()
    reading = asyncio.create_task(whole(server.connection))
    await turns()
    server.connection.watch(lambda: told.append("gone"))
    server.give(piece(b"a"), LEFT)
    assert await reading == b"a and left"
    await turns()
    assert told == ["gone"]
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_nobody_reads_is_received_ahead_only_so_far(kind: type[Server]) -> None:
    chunk = bytes(AHEAD // 4)
    server = kind(*[piece(chunk) for _ in range(20)])
    server.connection.watch(lambda: None)
    await turns(100)
    assert server.given == 4
    await server.connection.receive()
    await turns(100)
    assert server.given == 4  # it is asked for again when nothing is left
    for _ in range(4):
        await server.connection.receive()
    await turns(100)
    assert 5 <= server.given <= 9
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_body_that_is_there_whole_does_not_keep_the_leaver_from_being_noticed(
    kind: type[Server],
) -> None:
    server, gone = kind(piece(bytes(2 * AHEAD), more=False)), asyncio.Event()
    server.connection.watch(gone.set)
    await turns()
    server.give(LEFT)
    async with asyncio.timeout(1):
        await gone.wait()
    server.connection.unwatch()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_closed_connection_of_which_nobody_tells_is_seen_by_who_looks(*, ended: bool) -> None:
    server, told = PlainServer(), list[str]()
    server.connection.watch(lambda: told.append("gone"))
    server.connection.look()
    if ended:
        await server.connection.end(b"")
    server.transport = SimpleNamespace(is_closing=lambda: True)
    server.connection.look()
    assert told == ([] if ended else ["gone"])
    assert server.disconnected is not ended, "uvicorn takes a return before the end for an error"
    server.connection.unwatch()


# Our side


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_sent_is_asgi_and_kept_account_of(kind: type[Server]) -> None:
    server = kind()
    connection = server.connection
    assert not connection.head_sent
    await connection.send_head(Head(201, MutableHeaders({"X-A": "1"}), "GET"))
    await connection.send_body(b"a")
    assert (connection.head_sent, connection.body_ended) == (True, False)
    await connection.end(b"b")
    assert connection.body_ended
    assert server.sent == [
        {"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": False},
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_another_application_sends_is_kept_account_of(kind: type[Server]) -> None:
    server = kind()
    await server.connection.forward({"type": "http.response.start", "status": 200, "headers": []})
    assert (server.connection.head_sent, server.connection.body_ended) == (True, False)
    await server.connection.forward({"type": "http.response.body", "body": b"a", "more_body": True})
    assert not server.connection.body_ended
    await server.connection.forward({"type": "http.response.body"})
    assert server.connection.body_ended


@pytest.mark.parametrize("kind", KINDS)
async def test_a_send_that_fails_tells_that_the_client_has_left(kind: type[Server]) -> None:
    server, told = kind(), list[str]()
    server.connection.watch(lambda: told.append("gone"))
    server.error = OSError("the client has left")
    await server.connection.send_body(b"a")
    assert (told, server.connection.gone) == (["gone"], True)
    server.connection.unwatch()


@pytest.mark.parametrize("kind", KINDS)
async def test_another_application_sees_its_own_send_fail(kind: type[Server]) -> None:
    server = kind()
    server.error = OSError("the client has left")
    with pytest.raises(OSError, match="has left"):
        await server.connection.forward({"type": "http.response.body"})
    assert server.connection.gone


# What the kernel is told


class Told:
    """A transport with a socket that notes its options."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: list[tuple[int, ...]] = []

    def get_extra_info(self, _: str) -> Any:
        return self

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)

    def abort(self) -> None: ...

    def is_closing(self) -> bool:
        return False


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such option")
async def test_the_kernel_is_told_to_take_little_once_when_a_body_is_longer_than_that() -> None:
    server = PlainServer()
    server.transport = told = Told()
    await server.connection.send_body(b"x" * UNSENT)
    assert told.options == []
    for _ in range(3):
        await server.connection.send_body(b"x")
    assert told.options == [(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)]


@pytest.mark.parametrize(
    ("version", "headers", "warns"),
    [
        ("1.0", {}, True),
        ("1", {}, True),
        ("1.0", {"content-length": "5"}, False),
        ("1.1", {}, False),
        ("2", {}, False),
    ],
)
async def test_a_body_that_only_the_connection_ends_is_warned_of_once(
    version: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture, *, warns: bool
) -> None:
    _warn_of_http_1_0.cache_clear()
    for _ in range(2):
        server = Server()
        server.connection._asked["http_version"] = version
        await server.connection.send_head(Head(200, MutableHeaders(headers), "GET"))
    assert [record.getMessage().endswith("`proxy_http_version 1.1`") for record in caplog.records] == (
        [True] if warns else []
    )
