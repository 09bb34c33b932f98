"""Connections of real servers, cut while their clients do not read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message

from millstream.gateways.severing import Severing
from millstream.gateways.uvicorn import transport_of

PATIENCE = 10.0
MORE_THAN_BUFFERS = b"x" * (16 * 1024 * 1024)


@dataclass
class Cycle:
    """What is behind uvicorn's `send`."""

    transport: Any

    async def send(self, message: Message) -> None: ...


async def unknown_send(message: Message) -> None: ...


@dataclass
class Exchange:
    """A server that has written more than its client takes, and the client."""

    client: socket.socket
    writer: asyncio.StreamWriter
    scope: dict[str, Any] = field(default_factory=dict)

    async def reset(self) -> bool:
        """Whether the server's side goes away, unread bytes and all."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        return self.writer.transport.get_write_buffer_size() == 0 and self.was_reset()

    def was_reset(self) -> bool:
        received = 0
        try:
            while piece := self.client.recv(1 << 20):
                received += len(piece)
        except ConnectionResetError:
            return True
        except BlockingIOError:
            return False
        return received < len(MORE_THAN_BUFFERS)


@contextlib.asynccontextmanager
async def stalled(host: str = "127.0.0.1", writes: bytes = MORE_THAN_BUFFERS) -> AsyncIterator[Exchange]:
    taken: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.put_nowait(writer)

    server = await asyncio.start_server(serve, host, 0)
    listener = server.sockets[0]
    async with server:
        with socket.socket(listener.family) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(listener.getsockname()[:2])
            client.setblocking(False)
            writer = await taken.get()
            writer.write(writes)
            here, there = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
            scope = {"type": "http", "http_version": "1.1", "server": here[:2], "client": there[:2]}
            yield Exchange(client, writer, scope)
            writer.transport.abort()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_is_found_by_its_addresses_and_reset(host: str) -> None:
    async with stalled(host) as exchange:
        Severing().sever(exchange.scope, unknown_send)
        assert await exchange.reset()


async def test_addresses_are_the_same_in_whatever_way_a_server_writes_them() -> None:
    async with stalled() as exchange:
        (host, port), (own, own_port) = exchange.scope["client"], exchange.scope["server"]
        written = {"client": (f"::ffff:{host}", str(port)), "server": [f"::ffff:{own}", str(own_port)]}
        Severing().sever({**exchange.scope, **written}, unknown_send)
        assert await exchange.reset()


async def test_a_transport_is_aborted_where_the_addresses_are_somebody_elses() -> None:
    async with stalled() as exchange:
        scope = {**exchange.scope, "client": ("192.0.2.1", 0)}
        Severing().sever(scope, Cycle(exchange.writer.transport).send)
        assert await exchange.reset()


async def test_several_are_cut_together_and_nobody_else() -> None:
    severing = Severing()
    async with stalled() as first, stalled() as second, stalled() as other:
        for exchange in (first, second):
            severing.sever(exchange.scope, unknown_send)
        assert await first.reset()
        assert await second.reset()
        assert not other.writer.transport.is_closing()


async def test_a_connection_that_has_nothing_left_to_send_is_left_to_its_server() -> None:
    async with stalled() as exchange:
        exchange.writer.transport.abort()
        await asyncio.sleep(0)
        transport = exchange.writer.transport
        Severing().sever(exchange.scope, Cycle(transport).send)
        await asyncio.sleep(0.01)  # the abort of nothing would raise in the loop
        assert transport.get_write_buffer_size() == 0


async def read_end(client: socket.socket) -> bytes:
    """What is left until the connection ends; a ConnectionResetError when that is no end."""
    received = b""
    async with asyncio.timeout(PATIENCE):
        while piece := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            received += piece
    return received


@contextlib.asynccontextmanager
async def answered() -> AsyncIterator[Exchange]:
    """A server that has written a little, which its client has not read yet."""
    async with stalled(writes=b"last words") as exchange:
        yield exchange


@pytest.mark.parametrize("version", ["1.0", "1"])
@pytest.mark.parametrize("server", ["found", "uvicorn", "ends first"])
async def test_a_body_of_http_1_0_is_reset_after_its_last_words(version: str, server: str) -> None:
    async with answered() as exchange:
        transport = exchange.writer.transport
        send = Cycle(transport).send if server == "uvicorn" else unknown_send
        await Severing().reset({**exchange.scope, "http_version": version}, send, PATIENCE)
        if server == "ends first":
            with contextlib.suppress(OSError):
                exchange.writer.write_eof()
        transport.close()
        assert await asyncio.get_running_loop().sock_recv(exchange.client, 100) == b"last words"
        with pytest.raises(ConnectionResetError):
            await read_end(exchange.client)


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
async def test_a_body_whose_end_is_seen_is_not_reset(version: str) -> None:
    async with answered() as exchange:
        await Severing().reset({**exchange.scope, "http_version": version}, unknown_send, PATIENCE)
        exchange.writer.close()
        assert await read_end(exchange.client) == b"last words"


@pytest.mark.parametrize("server", ["found", "uvicorn"])
async def test_a_client_that_does_not_read_has_its_time_and_is_reset(server: str) -> None:
    async with stalled() as exchange:
        send = Cycle(exchange.writer.transport).send if server == "uvicorn" else unknown_send
        await Severing().reset({**exchange.scope, "http_version": "1.0"}, send, 0.05)
        exchange.writer.transport.abort()
        assert await exchange.reset()


async def test_a_connection_that_is_closed_or_cannot_be_found_is_no_error() -> None:
    async with answered() as exchange:
        scope, transport = {**exchange.scope, "http_version": "1.0"}, exchange.writer.transport
        transport.abort()
        await asyncio.sleep(0.01)  # until it is closed, of which nothing tells
        severing = Severing()
        await severing.reset(scope, Cycle(transport).send, PATIENCE)
        await severing.reset({**scope, "client": ("192.0.2.1", 5)}, unknown_send, PATIENCE)
        await severing.reset({**scope, "client": None}, unknown_send, PATIENCE)


@pytest.mark.parametrize(
    "scope",
    [
        {"http_version": "2"},
        {"http_version": "1.1"},
        {"http_version": "1.1", "client": None, "server": ("127.0.0.1", 80)},
        {"http_version": "1.1", "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 80)},
        {"http_version": "1.1", "client": ("127.0.0.1", 5), "server": ("/run/app.sock", None)},
    ],
)
async def test_what_cannot_be_found_is_left_alone(scope: dict[str, Any]) -> None:
    severing = Severing()
    severing.sever({"type": "http", **scope}, unknown_send)
    await asyncio.sleep(0)
    assert severing._timer is None


async def test_a_stream_of_http_2_is_not_worth_its_connection() -> None:
    async with stalled() as exchange:
        severing = Severing()
        severing.sever({**exchange.scope, "http_version": "2"}, Cycle(exchange.writer.transport).send)
        await asyncio.sleep(0.01)  # nothing tells that something does not happen
        assert not exchange.writer.transport.is_closing()


@pytest.mark.parametrize("claimed", ["0.9", "1.0", "2.0"])
async def test_a_client_that_claims_another_version_is_not_spared(claimed: str) -> None:
    async with stalled() as exchange:
        scope = {**exchange.scope, "http_version": claimed}
        Severing().sever(scope, Cycle(exchange.writer.transport).send)
        assert await exchange.reset()


async def test_only_what_looks_like_a_transport_is_taken_for_one() -> None:
    assert transport_of(unknown_send) is None
    assert transport_of(Cycle(None).send) is None
    assert transport_of(Cycle("transport").send) is None
