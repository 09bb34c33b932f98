from __future__ import annotations

import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.wire.conftest import Probe, here, needs_curl

from millstream import Millstream, TGController, expose
from millstream.testing import Server, WireClient

pytestmark = pytest.mark.wire

MANY = 100_000
BOUND = 1.0
"""Seconds to a first byte beside a producer that never suspends; measured are some 10 ms."""


class Sync(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    def step(self) -> Iterator[str]:
        seen = here()
        for name in ("one", "two", "three"):
            seen.note(name)
            yield name
            seen.pass_gate(f"after {name}")

    @expose("csv")
    def rows(self) -> Iterator[dict[str, int]]:
        seen = here()
        for number, name in enumerate(("one", "two", "three")):
            seen.note(name)
            yield {"number": number}
            seen.pass_gate(f"after {name}")

    @expose()
    def burst(self) -> Iterator[str]:
        seen = here()
        yield "a"
        yield "b"
        yield "c"
        seen.pass_gate()
        yield "d"

    @expose()
    def many(self) -> Iterator[bytes]:
        for _ in range(MANY):
            yield b"x" * 20


class Async(TGController):
    @expose()
    @expose("json")
    @expose("ndjson")
    @expose("sse")
    async def step(self) -> AsyncIterator[str]:
        seen = here()
        for name in ("one", "two", "three"):
            seen.note(name)
            yield name
            await seen.passed_gate(f"after {name}")

    @expose("csv")
    async def rows(self) -> AsyncIterator[dict[str, int]]:
        seen = here()
        for number, name in enumerate(("one", "two", "three")):
            seen.note(name)
            yield {"number": number}
            await seen.passed_gate(f"after {name}")

    @expose()
    async def burst(self) -> AsyncIterator[str]:
        seen = here()
        yield "a"
        yield "b"
        yield "c"
        await seen.passed_gate()
        yield "d"

    @expose()
    async def many(self) -> AsyncIterator[bytes]:
        for _ in range(MANY):
            yield b"x" * 20

    @expose()
    async def greedy(self) -> AsyncIterator[bytes]:
        """Never suspends."""
        here().note("greedy")
        while True:
            yield b"x" * 20


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


@pytest.mark.parametrize("action", ["step.html", "step.json", "step.ndjson", "step.sse", "rows.csv"])
def test_an_item_arrives_before_the_next_one_exists(
    wire: WireClient, kind: str, action: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/{action}", probe.headers)
    received = b""
    for name, following, mark in (("one", "two", b"one"), ("two", "three", b"two")):
        mark = {"one": b"0", "two": b"1"}[name] if "rows" in action else mark  # noqa: PLW2901  what shows it
        while mark not in received:
            chunk = reply.next_chunk()
            assert chunk is not None
            received += chunk.data
        assert following not in probe.names
        probe.open(f"after {name}")
    probe.open("after three")
    assert reply.rest()


def test_items_that_are_there_at_once_do_not_wait_for_the_next(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/burst", probe.headers)
    received = b""
    while received != b"abc":
        chunk = reply.next_chunk()
        assert chunk is not None
        received += chunk.data
    probe.open()
    assert reply.rest() == b"d"


def test_many_tiny_items_leave_together(wire: WireClient, kind: str) -> None:
    chunks = [len(chunk.data) for chunk in wire.get(f"/{kind}/many")]
    assert sum(chunks) == MANY * 20
    assert len(chunks) < MANY / 10


@needs_curl
def test_a_producer_that_never_suspends_lets_the_others_have_their_turn(
    server: Server, wire: WireClient, probe: Probe, kind: str
) -> None:
    command = ["curl", "-sN", "-o", os.devnull, "-H", ": ".join(probe.headers[0]), f"{server.url}/aio/greedy"]
    with subprocess.Popen(command) as reader:  # noqa: S603  the curl of whoever runs the tests, with our own URL
        probe.wait("greedy")
        began = time.monotonic()
        assert wire.get(f"/{kind}/burst", probe.headers).next_chunk()
        took = time.monotonic() - began
        probe.open()
        reader.terminate()
    assert took < BOUND
