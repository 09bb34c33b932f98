from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
from tests.wire.conftest import PATIENCE, Probe, watched

from millstream import Millstream, TGController, expose
from millstream.testing import Server, connect

pytestmark = pytest.mark.wire

HIGH_WATER: Final = 256 * 1024
SERVER: Final = 64 * 1024  # what uvicorn lets its transport hold before it makes `send` wait
KERNEL: Final = 6 * 1024 * 1024  # what Linux lets a socket's send buffer grow to (tcp_wmem), and then some
BLOCK: Final = b"x" * 65536
TINY: Final = b"x" * 20


class Sync(TGController):
    @expose()
    def blocks(self) -> Iterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(BLOCK)
            yield BLOCK

    @expose()
    def tiny(self) -> Iterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(TINY)
            yield TINY

    @expose(high_water=1)
    def one_by_one(self) -> Iterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(BLOCK)
            yield BLOCK

    @expose()
    def bounded(self) -> Iterator[bytes]:
        yield from (BLOCK for _ in range(300))


class Async(TGController):
    @expose()
    async def blocks(self) -> AsyncIterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(BLOCK)
            yield BLOCK

    @expose()
    async def tiny(self) -> AsyncIterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(TINY)
            yield TINY

    @expose(high_water=1)
    async def one_by_one(self) -> AsyncIterator[bytes]:
        seen = watched()
        while True:
            seen.count += len(BLOCK)
            yield BLOCK

    @expose()
    async def bounded(self) -> AsyncIterator[bytes]:
        for _ in range(300):
            yield BLOCK


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


@pytest.mark.parametrize("items", ["blocks", "tiny"])
def test_a_reader_that_does_not_read_holds_an_endless_producer_up(
    server: Server, kind: str, items: str, probe: Probe
) -> None:
    with connect(server.host, server.port, receive_buffer=4096) as wire:
        wire.send(f"/{kind}/{items}", probe.headers)
        produced = probe.wait_still()
        [stream] = app.ledger.live
        assert produced <= HIGH_WATER + SERVER + KERNEL + len(BLOCK)
        assert produced - stream.bytes <= HIGH_WATER + 2 * len(BLOCK)  # what we hold ourselves


def test_a_low_high_water_lets_one_item_wait_at_a_time(server: Server, kind: str, probe: Probe) -> None:
    with connect(server.host, server.port, receive_buffer=4096) as wire:
        wire.send(f"/{kind}/one_by_one", probe.headers)
        produced = probe.wait_still()
        [stream] = app.ledger.live
        assert produced - stream.bytes <= 2 * len(BLOCK)


def test_a_producer_that_was_held_up_goes_on_when_its_client_reads(
    server: Server, kind: str, probe: Probe
) -> None:
    with connect(server.host, server.port, timeout=PATIENCE, receive_buffer=4096) as wire:
        wire.send(f"/{kind}/blocks", probe.headers)
        before = probe.wait_still()
        reply = wire.read_head()
        received = 0
        while received < before + len(BLOCK):
            chunk = reply.next_chunk()
            assert chunk is not None
            received += len(chunk.data)
        assert probe.count > before


def test_a_slow_reader_gets_every_byte(server: Server, kind: str) -> None:
    with connect(server.host, server.port, timeout=PATIENCE, receive_buffer=4096) as wire:
        reply = wire.get(f"/{kind}/bounded")
        assert len(reply.rest()) == 300 * len(BLOCK)
        assert reply.complete
