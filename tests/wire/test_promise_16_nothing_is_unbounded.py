from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.wire.conftest import PATIENCE

from millstream import Millstream, Settings, TGController, abort, expose, request, stream
from millstream.pipeline.clients import ClientKey
from millstream.testing import Server, WireClient, WireReply, connect, serve
from millstream.web.request import Request

pytestmark = pytest.mark.wire

FULL = 2


def user(asked: Request) -> str:
    """Whom streams count for: nobody without a name, and guests are not let in."""
    name = asked.headers.get("x-user", "")
    if name == "guest":
        abort(401)
    return {"broken": ""}[name] if name == "lost" else name


class Sync(TGController):
    @expose("ndjson")
    def idle(self) -> Iterator[int]:
        yield 0
        stream.sleep(600)


class Async(TGController):
    @expose("ndjson")
    async def idle(self) -> AsyncIterator[int]:
        yield 0
        await stream.sleep(600)


class Root(TGController):
    sync = Sync()
    aio = Async()

    @expose("ndjson", max_streams=FULL, retry_after=30)
    async def scarce(self) -> AsyncIterator[int]:
        yield 0
        await stream.sleep(600)

    @expose("ndjson", max_streams_per_client=FULL)
    async def once_each(self) -> AsyncIterator[int]:
        yield 0
        await stream.sleep(600)

    @expose("ndjson", client_key=user, max_streams_per_client=FULL)
    async def of_a_user(self) -> AsyncIterator[int]:
        yield 0
        await stream.sleep(600)

    @expose("ndjson", client_key=lambda _: 7, max_streams_per_client=FULL)
    def of_a_number(self) -> Iterator[int]:
        yield 0

    @expose("json")
    async def who(self) -> dict[str, str]:
        return {"client": request.remote_addr, "scheme": request.url.scheme}

    @expose("ndjson")
    async def short(self) -> AsyncIterator[int]:
        yield 1

    @expose()
    async def whole(self) -> str:
        return "always"

    @expose()
    def plain(self) -> str:
        return "when there is a thread"


@contextmanager
def crowded(
    settings: Settings, path: str, *headers: tuple[str, str], key: ClientKey | None = None
) -> Iterator[tuple[Server, list[WireClient]]]:
    """A server at its cap, and the clients that hold it there."""
    app = Millstream(Root(), settings, client_key=key)
    with serve(app, proxy_headers=False) as server, ExitStack() as crowd:
        wires = [crowd.enter_context(connect(server.host, server.port)) for _ in range(FULL)]
        for wire in wires:
            wire.get(path, headers).next_chunk()
        yield server, wires


def ask(server: Server, path: str, *headers: tuple[str, str]) -> tuple[WireReply, bytes]:
    with connect(server.host, server.port) as wire:
        reply = wire.get(path, headers)
        chunk = reply.next_chunk()
        assert chunk is not None
        return reply, chunk.data


def wait_until_served(server: Server, path: str) -> None:
    """A place is free soon after somebody left; nothing tells a stranger when."""
    deadline = time.monotonic() + PATIENCE
    while ask(server, path)[0].status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (Settings(max_streams=FULL, retry_after=7), 503),
        (Settings(max_streams_per_client=FULL, retry_after=7), 429),
    ],
    ids=["max_streams", "max_streams_per_client"],
)
def test_one_stream_more_than_allowed_is_told_when_to_come_back(
    kind: str, settings: Settings, status: int
) -> None:
    with crowded(settings, f"/{kind}/idle") as (server, wires):
        reply, body = ask(server, "/short")
        assert (reply.status, reply.headers["retry-after"]) == (status, "7")
        assert json.loads(body)["status"] == status
        assert ask(server, "/whole")[1] == b"always"
        wires[0].close()
        wait_until_served(server, "/short")


def test_without_a_free_thread_sync_actions_wait_their_turn_and_async_ones_do_not() -> None:
    with crowded(Settings(max_sync_streams=FULL, retry_after=7), "/sync/idle") as (server, wires):
        reply, _ = ask(server, "/plain")
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert ask(server, "/short")[1] == b"1\n"
        wires[0].reset()
        wait_until_served(server, "/plain")


def test_async_streams_take_no_thread() -> None:
    with crowded(Settings(max_sync_streams=1), "/aio/idle") as (server, _):
        assert ask(server, "/plain")[1] == b"when there is a thread"


def test_a_refused_client_may_try_again_on_the_same_connection() -> None:
    with (
        crowded(Settings(max_streams=FULL), "/aio/idle") as (server, _),
        connect(server.host, server.port) as wire,
    ):
        for _ in range(3):
            reply = wire.get("/short")
            assert reply.status == 503
            assert reply.rest()


# Caps of one action, and of a client by another name than its address


def test_an_actions_own_cap_is_full_without_the_others(kind: str) -> None:
    with crowded(Settings(), "/scarce") as (server, wires):
        reply, body = ask(server, "/scarce")
        assert (reply.status, reply.headers["retry-after"]) == (503, "30")
        assert json.loads(body)["detail"] == "2 streams of this kind are open, and no more are allowed"
        assert ask(server, f"/{kind}/idle")[0].status == 200
        wires[0].close()
        wait_until_served(server, "/scarce")


def test_an_actions_own_cap_of_a_client_is_full_without_the_others(kind: str) -> None:
    with crowded(Settings(), "/once_each") as (server, _):
        assert ask(server, "/once_each")[0].status == 429
        assert ask(server, f"/{kind}/idle")[0].status == 200


def test_streams_count_for_whom_the_key_function_names() -> None:
    with crowded(Settings(), "/of_a_user", ("x-user", "ann")) as (server, _):
        assert ask(server, "/of_a_user", ("x-user", "ann"))[0].status == 429
        assert ask(server, "/of_a_user", ("x-user", "bob"))[0].status == 200
        for _each in range(FULL + 1):
            assert ask(server, "/of_a_user")[0].status == 200  # nobody in particular


def test_the_applications_key_function_counts_for_every_action(kind: str) -> None:
    settings = Settings(max_streams_per_client=FULL)
    with crowded(settings, f"/{kind}/idle", ("x-user", "ann"), key=user) as (server, _):
        assert ask(server, "/short", ("x-user", "ann"))[0].status == 429
        assert ask(server, "/short", ("x-user", "bob"))[0].status == 200


def test_a_key_function_may_refuse() -> None:
    with crowded(Settings(), "/short") as (server, _):
        assert ask(server, "/of_a_user", ("x-user", "guest"))[0].status == 401


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/of_a_user", "the client_key user raised KeyError"),
        ("/of_a_number", "returned int: it must return text"),
    ],
)
def test_a_key_function_that_fails_is_the_servers_fault_and_is_logged(
    path: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with crowded(Settings(), "/short") as (server, _):
        reply, body = ask(server, path, ("x-user", "lost"))
    assert reply.status == 500
    assert b"KeyError" not in body
    assert sentence in caplog.text


# Behind proxies


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_a_client_is_who_a_trusted_proxy_says(header: str) -> None:
    def told(client: str) -> tuple[str, str]:
        return (header, client if header == "x-forwarded-for" else f"for={client};proto=https")

    settings = Settings(
        max_streams_per_client=FULL, trusted_proxies="127.0.0.0/8, 10.0.0.0/8", proxy_header=header
    )
    with crowded(settings, "/aio/idle", told("192.0.2.1")) as (server, _):
        for spoofed in ("192.0.2.1", "203.0.113.9, 192.0.2.1", "192.0.2.1, 10.1.1.1"):
            parts = spoofed.split(", ")
            headers = [told(part) for part in parts]
            assert ask(server, "/short", *headers)[0].status == 429, spoofed
        assert ask(server, "/short", told("192.0.2.1"), told("203.0.113.9"))[0].status == 200
        _, body = ask(server, "/who", told("203.0.113.9"), ("x-forwarded-proto", "https"))
        assert json.loads(body) == {"client": "203.0.113.9", "scheme": "https"}


def test_nobody_is_believed_who_is_not_trusted() -> None:
    settings = Settings(max_streams_per_client=FULL, trusted_proxies="10.0.0.0/8")
    with crowded(settings, "/aio/idle") as (server, _):
        assert ask(server, "/short", ("x-forwarded-for", "192.0.2.1"))[0].status == 429
        _, body = ask(server, "/who", ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"))
        assert json.loads(body) == {"client": "127.0.0.1", "scheme": "http"}
