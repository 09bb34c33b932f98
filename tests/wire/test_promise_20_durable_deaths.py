"""A process that produces a run is killed, or told to end: on each engine that several processes share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE
from tests.wire.running import Running, started

from millstream.testing import BodyTruncated, WireReply, connect
from millstream.testing.postgres import postgres
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire

LEASE = 0.6
RECORDS = 400


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match request.param:
        case "redis":
            with redis() as server:
                yield server.url
        case "postgresql":
            with postgres() as database:
                yield database.url
        case _:
            yield f"sqlite:///{tmp_path}/streams.db"


@contextmanager
def nodes(log: str, folder: Path, count: int) -> Iterator[list[Running]]:
    """Processes that share nothing but the log."""
    with ExitStack() as stack:
        running = []
        for number in range(count):
            place = folder / str(number)
            place.mkdir(parents=True)
            environment = {
                "JOURNAL": str(place / "journal"),
                "DURABLE": log,
                "LEASE": str(LEASE),
                "DRAIN": "0.3",
            }
            command = ["millstream", "serve", "lasting:app"]
            running.append(stack.enter_context(started(command, place, environment)))
        yield running


def get(server: Running, path: str) -> bytes:
    with connect("127.0.0.1", server.port, timeout=PATIENCE) as wire:
        return wire.get(path).rest()


def broken_off(reply: WireReply) -> bytes:
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    return truncated.value.received


def expected(records: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % n for n in range(records))


def read_until(reply: WireReply, text: bytes) -> bytes:
    received = b""
    while text not in received:
        chunk = reply.next_chunk()
        assert chunk is not None, received
        received += chunk.data
    return received


def test_a_killed_process_takes_nobody_with_it(log: str, tmp_path: Path) -> None:
    with nodes(log, tmp_path, 2) as (first, second):
        with connect("127.0.0.1", first.port, timeout=PATIENCE) as wire:
            begun = wire.get("/writes?what=long&n=100000&pause=0.02")
            received = read_until(begun, b"3\n")
            run = begun.headers["location"]
            with connect("127.0.0.1", second.port, timeout=PATIENCE) as other:
                following = other.get(run)
                read_until(following, b"3\n")
                os.killpg(first.process.pid, signal.SIGKILL)
                told = broken_off(following)
        assert b'{"error":' in told
        assert get(second, "/writes?what=next&n=3") == b"0\n1\n2\n"
        with nodes(log, tmp_path / "later", 1) as (third,):
            assert get(third, "/writes?what=later&n=3") == b"0\n1\n2\n"
            with connect("127.0.0.1", third.port, timeout=PATIENCE) as wire:
                whole = broken_off(wire.get(run))
        assert whole.startswith(received[: received.rindex(b"\n") + 1])
        assert whole.count(b'{"error":') == 1


def test_a_run_outlives_each_of_the_processes_that_produce_it(log: str, tmp_path: Path) -> None:
    with nodes(log, tmp_path, 3) as (first, second, third):
        with connect("127.0.0.1", first.port, timeout=PATIENCE) as wire:
            begun = wire.get(f"/steady?n={RECORDS}&pause=0.005")
            received = read_until(begun, b'{"n":20}')
            with connect("127.0.0.1", third.port, timeout=PATIENCE) as other:
                following = other.get(begun.headers["location"])
                first.process.send_signal(signal.SIGTERM)
                received += broken_off(begun)
                first.process.wait(PATIENCE)
                whole = following.rest()
        assert whole == expected(RECORDS)
        assert whole.startswith(received)
        assert get(second, "/writes?what=next&n=3") == b"0\n1\n2\n"
