from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from millstream.gateways.sockets import (
    ends_of,
    ends_told,
    open_sockets,
    reset_now,
    reset_when_closed,
    wait_received,
)

PATIENCE = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and the server's side of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_a_connection_is_found_among_the_open_files(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    (host, port), (own, own_port) = server.getpeername(), server.getsockname()
    told = ends_told({"client": (host, port), "server": (own, str(own_port))})
    found = []
    for each in open_sockets():
        with each:
            try:
                found.append(ends_of(each) == told)
            except OSError:
                assert each.family != socket.AF_UNIX
    assert sum(found) == 1


def test_an_ipv4_address_has_one_spelling() -> None:
    ends = [
        ends_told({"client": (f"{prefix}127.0.0.1", 1), "server": ("127.0.0.1", 2)})
        for prefix in ("", "::ffff:")
    ]
    assert ends[0] == ends[1] is not None


@pytest.mark.parametrize(
    ("client", "server"),
    [(None, ("127.0.0.1", 1)), (("127.0.0.1", 0), ("127.0.0.1", 1)), (("127.0.0.1", 1), ("/run/sock", None))],
)
def test_half_a_connection_is_not_looked_for(client: object, server: object) -> None:
    assert ends_told({"client": client, "server": server}) is None


def test_a_socket_of_another_family_has_no_ends() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert ends_of(here) is None


def test_closing_resets_after_what_was_received(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"last words")
    reset_when_closed(server)
    server.close()
    assert client.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        client.recv(100)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems have no way to do it")
def test_a_connection_can_be_reset_while_it_is_open(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"last words")
    reset_now(server)
    assert client.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        client.recv(100)


async def test_what_the_peer_has_received_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, server = pair
    server.sendall(b"last words")
    async with asyncio.timeout(PATIENCE):
        await wait_received(server, None, 10 * PATIENCE)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems do not tell")
async def test_what_the_peer_does_not_read_is_waited_for_in_vain(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, server = pair
    server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.sendall(bytes(1 << 25))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await wait_received(server, None, 0.05)
    assert loop.time() - began >= 0.05


async def test_a_closed_connection_is_not_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    server.close()
    async with asyncio.timeout(PATIENCE):
        await wait_received(server, None, 10 * PATIENCE)
