"""HTTP/1.0, by which proxies ask whose configuration says nothing: a body ends with its connection."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.wire.conftest import PATIENCE, needs_curl
from tests.wire.proxies import NGINX, Nginx, fronted
from tests.wire.running import Running, started
from tests.wire.test_promise_03_every_end import COMMANDS, names

pytestmark = pytest.mark.wire

AS_INSTALLED = """
server {{
    listen 127.0.0.1:{{port}};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
}}
"""
CURL_PARTIAL_FILE = 18
LONG = [5_000] * 100  # more than one write takes


SERVERS = {**COMMANDS, "uvicorn, h11, a middleware": ["uvicorn", "--http", "h11", "ends:within"]}


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(SERVERS[request.param], tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with fronted(tmp_path_factory.mktemp("nginx"), AS_INSTALLED.format(upstream=running.port)) as proxy:
        yield proxy


def asked(running: Running, path: str, *more: str, **plan: Any) -> tuple[bytes, bool]:
    """What came on the connection, and whether it was reset."""
    lines = [
        f"GET {path} HTTP/1.0",
        "Host: here",
        f"x-plan: {json.dumps({**plan, 'id': next(names)})}",
        *more,
    ]
    received = b""
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        try:
            while piece := client.recv(1 << 16):
                received += piece
        except ConnectionResetError:
            return received, True
    return received, False


def rest_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def body(received: bytes) -> bytes:
    return received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("sizes", [[1, 2], LONG], ids=["short", "long"])
def test_a_body_that_is_broken_off_is_reset_after_its_last_words(
    running: Running, kind: str, sizes: list[int]
) -> None:
    received, was_reset = asked(running, f"/{kind}/body.ndjson", sizes=sizes, fails="raise", at=len(sizes))
    assert was_reset
    assert body(received).count(b"x") == sum(sizes)
    assert b'"status":500' in received


def test_a_response_of_starlette_that_fails_at_once_is_reset_every_time(running: Running) -> None:
    for _ in range(20):  # granian took one in five clients for gone, where a receive of its was cancelled
        _, was_reset = asked(running, "/aio/streamed", sizes=[5] * 5, fails="raise", at=5)
        assert was_reset


def test_a_body_whose_commit_fails_is_reset(running: Running, kind: str) -> None:
    received, was_reset = asked(running, f"/{kind}/body.csv", sizes=[1, 2], fails="commit")
    assert was_reset
    assert body(received).count(b"x") == 3


@pytest.mark.parametrize("sizes", [[], [1, 2], LONG], ids=["empty", "short", "long"])
def test_a_whole_body_ends_with_its_connection(running: Running, kind: str, sizes: list[int]) -> None:
    received, was_reset = asked(running, f"/{kind}/body.csv", sizes=sizes)
    assert not was_reset
    assert body(received).count(b"x") == sum(sizes)


def test_a_declared_length_leaves_the_connection_to_the_next_request(running: Running, kind: str) -> None:
    head, sizes = (
        "GET /{}/body.html HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\nx-plan: {}\r\n\r\n",
        [5],
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as client:
        for _ in range(2):
            plan = json.dumps({"sizes": sizes, "length": 5, "id": next(names)})
            client.sendall(head.format(kind, plan).encode())
            received = b""
            while not received.endswith(b"x" * 5):
                piece = client.recv(1 << 16)
                assert piece, received
                received += piece
            if b"keep-alive" not in received.lower() and b"close" in received.lower():
                return  # a server that does not keep connections of HTTP/1.0


def test_the_log_says_once_how_a_proxy_asks_by_http_1_1(running: Running) -> None:
    for _ in range(2):
        asked(running, "/sync/body.csv", sizes=[1])
    running.wait_log("proxy_http_version 1.1")
    assert running.log.count("proxy_http_version 1.1") == 1


@needs_curl
@pytest.mark.parametrize(
    ("fails", "status"), [("", 0), ("raise", CURL_PARTIAL_FILE), ("commit", CURL_PARTIAL_FILE)]
)
@pytest.mark.parametrize("sizes", [[1, 2], LONG], ids=["short", "long"])
def test_behind_nginx_as_it_is_installed_curl_sees_whether_a_body_is_whole(
    nginx: Nginx, kind: str, sizes: list[int], fails: str, status: int
) -> None:
    plan = json.dumps({"sizes": [0, *sizes], "fails": fails, "at": 1 + len(sizes), "id": next(names)})
    url = f"http://127.0.0.1:{nginx.port}/{kind}/body.csv"
    command = ["curl", "-sS", "-H", f"x-plan: {plan}", url]
    curl = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE, check=False)  # noqa: S603  our own words
    assert curl.returncode == status, curl.stderr
    assert curl.stdout.count(b"x") == sum(sizes)


def test_a_body_is_reset_that_a_server_gives_up_when_its_process_ends(
    tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    command = [*COMMANDS["uvicorn, h11"], "--timeout-graceful-shutdown", "1"]
    with (
        started(command, tmp_path_factory.mktemp("server")) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client,
    ):
        plan = json.dumps({"sizes": [1], "waits": 600, "id": next(names)})
        client.sendall(f"GET /{kind}/body.ndjson HTTP/1.0\r\nHost: h\r\nx-plan: {plan}\r\n\r\n".encode())
        received = b""
        while b'"x"' not in received:
            received += client.recv(1 << 16)
        server.process.terminate()
        with pytest.raises(ConnectionResetError):
            rest_of(client)
