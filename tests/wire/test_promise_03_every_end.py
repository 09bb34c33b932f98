"""Whatever tells a client that it has a whole body comes after the commit, under the servers people run."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire.conftest import PATIENCE
from tests.wire.running import Running, started

from millstream.testing import BodyTruncated, connect

pytestmark = pytest.mark.wire

COMMANDS = {
    "uvicorn, httptools": ["uvicorn", "--http", "httptools", "ends:app"],
    "uvicorn, h11": ["uvicorn", "--http", "h11", "ends:app"],
    "granian": ["granian", "--interface", "asgi", "ends:app"],
    "hypercorn": ["hypercorn", "ends:app"],
    "millstream": ["millstream", "serve", "ends:app"],
}
FORMATS = ["body.html", "body.json", "body.ndjson", "body.csv", "events.sse"]
names = map(str, itertools.count())


@pytest.fixture(scope="module", params=COMMANDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(COMMANDS[request.param], tmp_path_factory.mktemp("server")) as server:
        yield server


class Outcome:
    """What came of one request, at the client and at the server."""

    def __init__(self, running: Running, path: str, **plan: Any) -> None:
        name = next(names)
        headers = [("x-plan", json.dumps({**plan, "id": name}))]
        with connect("127.0.0.1", running.port, timeout=PATIENCE) as wire:
            reply = wire.get(path, headers)
            self.status = reply.status
            try:
                self.body = reply.rest()
                self.complete = reply.status == 200
            except BodyTruncated as truncated:
                self.body, self.complete = truncated.received, False
        ended = self._ended(running, name)
        self.committed, self.reason = ended["committed"], ended["reason"]

    @staticmethod
    def _ended(running: Running, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            with connect("127.0.0.1", running.port, timeout=PATIENCE) as wire:
                reply = wire.get(f"/ended?id={name}")
                if reply.status == 200:
                    told: dict[str, Any] = json.loads(reply.rest())
                    return told
            assert time.monotonic() < deadline, f"{name} did not end:\n{running.log}"
            time.sleep(0.01)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_body_is_complete_if_and_only_if_it_is_committed(
    running: Running, kind: str, data: st.DataObject
) -> None:
    road = data.draw(st.sampled_from([*FORMATS, "streamed", "at_once", "mounted"]))
    path = "/mounted" if road == "mounted" else f"/{kind}/{road}"
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 2, 9, 5000]), max_size=5))
    exact = len(Outcome(running, path, sizes=sizes).body)
    length = data.draw(st.sampled_from([None, exact, exact, exact + 1, exact + 9, exact - 1, exact // 2]))
    fails = data.draw(st.sampled_from(["", "", "vote", "commit", "raise"]))
    at = data.draw(st.integers(0, len(sizes)))
    length = None if length is None else max(0, length)
    outcome = Outcome(running, path, sizes=sizes, length=length, fails=fails, at=at)
    is_well = not fails and length in {None, exact}
    assert (outcome.complete, outcome.committed) == (is_well, is_well)
    assert outcome.reason == ("completed" if is_well else "failed")
    assert outcome.status in {200, 500}
    if outcome.status == 200 and not is_well and length is not None:
        assert len(outcome.body) < length


@pytest.mark.parametrize("extension", ["html", "csv"])
def test_of_forty_bodies_whose_commit_fails_none_is_complete(
    running: Running, kind: str, extension: str
) -> None:
    path, sizes = f"/{kind}/body.{extension}", [10] * 5
    exact = len(Outcome(running, path, sizes=sizes).body)
    outcomes = [Outcome(running, path, sizes=sizes, length=exact, fails="commit") for _ in range(40)]
    assert [outcome for outcome in outcomes if outcome.complete or outcome.committed] == []
    assert {(len(outcome.body), outcome.reason) for outcome in outcomes} == {(exact - 1, "failed")}


@pytest.mark.parametrize(("length", "found"), [(50, "at least 60"), (70, "only 60")])
def test_a_wrong_length_is_logged_with_both_numbers(
    running: Running, kind: str, length: int, found: str
) -> None:
    outcome = Outcome(running, f"/{kind}/body.html", sizes=[10] * 6, length=length)
    assert (outcome.complete, outcome.committed, outcome.reason) == (False, False, "failed")
    running.wait_log(f"body declares a body of {length} bytes by Content-Length, but {found} bytes came")


def test_a_first_item_that_is_too_long_is_an_honest_500(running: Running, kind: str) -> None:
    outcome = Outcome(running, f"/{kind}/body.html", sizes=[10], length=9)
    assert (outcome.status, outcome.committed) == (500, False)


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("name", FORMATS)
def test_a_status_that_has_no_body_has_no_items(running: Running, kind: str, status: int, name: str) -> None:
    path = f"/{kind}/{name}"
    nothing = Outcome(running, path, sizes=[], status=status, length=7 if name == "body.html" else None)
    assert (nothing.status, nothing.body, nothing.committed) == (status, b"", True)
    something = Outcome(running, path, sizes=[5], status=status)
    assert (something.complete, something.committed, something.reason) == (False, False, "failed")
