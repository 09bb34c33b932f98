"""The load generators, compiled and not: they say what a crowd has seen, and hide nothing that failed."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import Millstream, Settings, TGController, expose
from millstream.testing import serve

LOAD = Path(__file__).parents[2] / "benchmarks" / "load"


class Root(TGController):
    @expose(content_type="text/plain")
    async def lines(self, count: int) -> AsyncIterator[str]:
        for n in range(count):
            await asyncio.sleep(0.01)
            yield f"item {n}\n"

    @expose(content_type="text/plain")
    async def broken(self) -> AsyncIterator[str]:
        yield "item 0\n"
        await asyncio.sleep(0.01)
        raise RuntimeError("half way")

    @expose(content_type="text/plain")
    async def silent(self) -> AsyncIterator[str]:
        yield "item 0\n"
        await asyncio.Event().wait()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(Millstream(Root(), Settings())) as server:
        yield server.url


@pytest.fixture(scope="module", params=["compiled", "fallback"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if request.param == "fallback":
        return [sys.executable, str(LOAD / "fallback.py")]
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go")
    program = tmp_path_factory.mktemp("load") / "load"
    subprocess.run([go, "build", "-o", program, LOAD / "main.go"], check=True)  # noqa: S603  a program of ours
    return [str(program)]


def send(generator: list[str], url: str, *options: str) -> Any:
    command = [*generator, f"--crowd={url}", "--clients=20", "--every=0.01", *options]
    ran = subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603  as above
    return json.loads(ran.stdout)


@pytest.mark.wire
def test_a_crowd_that_is_served_has_finished_beside_its_tickers(generator: list[str], url: str) -> None:
    report = send(generator, f"{url}/lines/5", f"--ticker={url}/lines/100000", "--tickers=3", "--tick=0.01")
    assert (report["clients"], report["finished"], report["failures"]) == (20, 20, {})
    assert len(report["lateness"]) == len(report["delay"]) == 2


@pytest.mark.wire
def test_what_delays_the_tickers_while_a_crowd_comes_is_not_counted_for_the_calm(
    generator: list[str], url: str
) -> None:
    ticking = (f"--ticker={url}/lines/100000", "--tickers=3", "--tick=0.01")
    assert send(generator, f"{url}/lines/5", *ticking)["calm"] == []  # over before it is calm
    assert len(send(generator, f"{url}/lines/100", "--items=100", *ticking)["calm"]) == 2


@pytest.mark.wire
@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/broken", "broken off"),
        ("/lines/4", "4 lines instead of 5"),
        ("/nowhere", "answered 404"),
        ("/silent", "not finished in time"),
    ],
)
def test_nobody_has_finished_whose_stream_was_not_whole(
    generator: list[str], url: str, path: str, failure: str
) -> None:
    report = send(generator, url + path, "--limit=1")
    assert (report["finished"], report["failures"]) == (0, {failure: 20})


@pytest.mark.wire
def test_a_ticker_that_stops_ticking_is_late_by_the_time_it_was_silent(
    generator: list[str], url: str
) -> None:
    report = send(generator, f"{url}/silent", f"--ticker={url}/silent", "--tickers=1", "--limit=1")
    assert report["delay"][1] > 0.9
