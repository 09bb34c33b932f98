"""A keyed run that failed does not stay failed: who asks by the key later is given a new run, and one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from tests.wire.conftest import PATIENCE
from tests.wire.running import HERE
from tests.wire.test_promise_20_durable import House, broken_off, events, housed

from millstream.testing import BodyTruncated
from millstream.testing.postgres import postgres
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire

CROWD = 24
WHOLE = b"1\n2\n"


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        url = ""
        if request.param == "redis":
            url = stack.enter_context(redis()).url
        elif request.param == "postgresql":
            url = stack.enter_context(postgres()).url
        yield stack.enter_context(housed(tmp_path_factory.mktemp("house"), url=url))


def failed(house: House, path: str) -> bytes:
    with house.connect() as wire:
        return broken_off(wire.get(path))


def runs(house: House, what: str) -> int:
    return sum(count for line, count in house.lines().items() if line.startswith(f"{what} began"))


def test_a_run_that_failed_is_run_again_for_whoever_asks_later(house: House) -> None:
    assert b'{"error":' in failed(house, "/report?name=again&good=false")
    assert house.get("/report?name=again")[1] == WHOLE
    assert house.get("/report?name=again&good=false")[1] == WHOLE  # one that ended well stays
    assert runs(house, "report again") == 2


@pytest.mark.parametrize("good", ["true", "false"])
def test_of_many_who_ask_at_once_one_begins_the_new_run(house: House, good: str) -> None:
    name = f"crowd-{good}"
    failed(house, f"/report?name={name}&good=false")

    def ask(_: int) -> bytes:
        with house.connect() as wire:
            reply = wire.get(f"/report?name={name}&good={good}&pause=2")  # until all have come
            try:
                return reply.rest()
            except BodyTruncated as truncated:
                return truncated.received

    with ThreadPoolExecutor(CROWD) as crowd:
        bodies = list(crowd.map(ask, range(CROWD)))
    assert len(set(bodies)) == 1
    assert (bodies[0] == WHOLE) is (good == "true")
    assert runs(house, f"report {name}") == 2


def test_a_run_that_was_stopped_is_run_again(house: House) -> None:
    path = f"/answer/{int(time.time())}?n=10000&pause=0.01"
    with house.connect() as wire:
        reply = wire.get(path)
        assert reply.next_chunk() is not None
        with house.connect() as other:
            assert other.get(f"{reply.headers['location']}/stop", method="POST").status == 202
        stopped = broken_off(reply)
    last = events(stopped)[-1]
    assert last.event == "goodbye"
    assert house.get(path, last_event_id=last.id)[0].status == 204  # who followed it does not begin another
    with house.connect() as wire:
        again = wire.get(path.replace("10000", "3"))
        assert again.headers["stream-id"] == reply.headers["stream-id"]
        assert [event.data for event in events(again.rest())][:-1] == ["0", "1", "2"]


def test_a_failure_that_is_kept_is_not_kept_by_asking(house: House) -> None:
    first = failed(house, "/kept?name=kept&good=false")
    assert failed(house, "/kept?name=kept") == first
    deadline = time.monotonic() + PATIENCE
    while True:
        with house.connect() as wire:
            try:
                body = wire.get("/kept?name=kept").rest()
                break
            except BodyTruncated:
                assert time.monotonic() < deadline, "it stays failed for as long as somebody asks"
        time.sleep(0.1)
    assert body == WHOLE


def purge(house: House, *runs: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millstream", "purge", "lasting:app", *runs]
    environment = {**os.environ, "DURABLE": house.url, "JOURNAL": os.devnull}
    return subprocess.run(  # noqa: S603  our own words
        command, check=False, capture_output=True, text=True, env=environment, cwd=HERE, timeout=60
    )


def test_a_run_that_ended_well_is_run_again_once_it_is_purged(house: House) -> None:
    reply, _ = house.get("/report?name=purged")
    run = reply.headers["stream-id"]
    assert purge(house, run).returncode == 0
    assert house.get(reply.headers["location"])[0].status == 404
    assert house.get("/report?name=purged")[0].headers["stream-id"] == run
    assert runs(house, "report purged") == 2
    missing = purge(house, "x" * 30)
    assert (missing.returncode, missing.stderr) == (1, f"millstream: there is no run {'x' * 30}\n")


def test_a_run_that_goes_on_is_ended_by_its_purge(house: House) -> None:
    with house.connect() as wire:
        reply = wire.get("/writes?what=purged&n=10000&pause=0.01")
        assert reply.next_chunk() is not None
        assert purge(house, reply.headers["stream-id"]).returncode == 0
        broken_off(reply)
    house.wait_line("purged ended revoked")
    house.wait_line("purged rolled back")
