"""The load generator where there is no Go: what `main.go` does, by the same options, on asyncio.

A Python client takes several times the CPU of the compiled one; its own lateness is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import uvloop

DIALLING = 512  # so many connections are being opened at once
SETTLING = 0.5  # the tickers are at it when the crowd comes
CALMING = 0.5  # after the last client came, its request was read

Line = Callable[[float], None]
"""Told of each line, and when the stream was asked for."""

Entered = Callable[[], None]
"""Told when the connection is there."""


@dataclass(slots=True)
class Tally:
    finished: int = 0
    lateness: list[float] = field(default_factory=list)
    ticks: list[tuple[float, float]] = field(default_factory=list)  # when, and how late
    last_in: float = 0.0  # when the last client was let in
    failures: Counter[str] = field(default_factory=Counter)


class Reader(asyncio.Protocol):
    """One response; `ended` becomes the failure's name, or nothing."""

    def __init__(self, request: bytes, each: Line) -> None:
        self._request = request
        self._each = each
        self._asked = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        transport.write(self._request)
        self._asked = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("no HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection reset" if exc else "broken off")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._end(f"answered {status}")

    def on_body(self, body: bytes) -> None:
        for _ in range(body.count(b"\n")):
            self._each(self._asked)

    def on_message_complete(self) -> None:
        self._end("")

    def _end(self, failure: str) -> None:
        if not self.ended.done():
            self.ended.set_result(failure)


async def follow(
    address: str, slots: asyncio.Semaphore, each: Line, until: float, entered: Entered = lambda: None
) -> str:
    """Read one answer; the name of what failed, or nothing."""
    target = urlsplit(address)
    request = f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    transport = None
    try:
        async with asyncio.timeout_at(until):
            async with slots:
                transport, reader = await loop.create_connection(
                    lambda: Reader(request, each), target.hostname, target.port
                )
            entered()
            return await reader.ended
    except TimeoutError:
        return "not finished in time"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as refused:
        return str(refused)
    finally:
        if transport is not None:
            transport.abort()


async def visit(tally: Tally, chosen: argparse.Namespace, slots: asyncio.Semaphore, until: float) -> None:
    """One client of the crowd."""
    lateness: list[float] = []

    def line(asked: float) -> None:
        lateness.append(time.perf_counter() - asked - (len(lateness) + 1) * chosen.every)

    def entered() -> None:
        tally.last_in = time.perf_counter()

    failure = await follow(chosen.crowd, slots, line, until, entered)
    if not failure and len(lateness) != chosen.items:
        failure = f"{len(lateness)} lines instead of {chosen.items}"
    tally.lateness += lateness
    if failure:
        tally.failures[failure] += 1
    else:
        tally.finished += 1


async def watch(tally: Tally, chosen: argparse.Namespace, slots: asyncio.Semaphore, begin: float) -> None:
    """Follow a ticker until cancelled. A tick that has not come by then is as late as it is by then."""
    last = time.perf_counter()

    def ticked(_: float = 0.0) -> None:
        nonlocal last
        now = time.perf_counter()
        if now > begin:
            tally.ticks.append((now, now - last - chosen.tick))
        last = now

    try:
        failure = await follow(chosen.ticker, slots, ticked, asyncio.get_running_loop().time() + 3600)
        tally.failures[f"ticker: {failure or 'ended'}"] += 1
        await asyncio.Event().wait()
    finally:
        if time.perf_counter() - last > chosen.tick:
            ticked()


async def run(chosen: argparse.Namespace) -> dict[str, object]:
    tally, slots = Tally(), asyncio.Semaphore(DIALLING)
    watching: list[asyncio.Task[None]] = []
    if chosen.ticker:
        begin = time.perf_counter() + SETTLING
        watching = [asyncio.create_task(watch(tally, chosen, slots, begin)) for _ in range(chosen.tickers)]
        await asyncio.sleep(SETTLING)
    started = time.perf_counter()
    until = asyncio.get_running_loop().time() + chosen.limit
    await asyncio.gather(*(visit(tally, chosen, slots, until) for _ in range(chosen.clients)))
    seconds = time.perf_counter() - started
    for task in watching:
        task.cancel()
    for task in watching:
        with suppress(asyncio.CancelledError):
            await task
    return {
        "clients": chosen.clients,
        "finished": tally.finished,
        "seconds": seconds,
        "lateness": quantiles(tally.lateness),
        "delay": quantiles([late for _, late in tally.ticks]),
        "calm": quantiles([late for at, late in tally.ticks if at > tally.last_in + CALMING]),
        "failures": tally.failures,
    }


def quantiles(values: list[float]) -> list[float]:
    """The median and the 99th percentile; nothing of nothing."""
    ordered = sorted(values)
    return [max(0.0, ordered[int(share * (len(ordered) - 1))]) for share in (0.50, 0.99) if ordered]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--crowd", required=True, help="URL of a stream of timed lines")
    parser.add_argument("--clients", type=int, default=100, help="how many read it")
    parser.add_argument("--items", type=int, default=5, help="how many lines it has")
    parser.add_argument("--every", type=float, default=1, help="seconds before each line")
    parser.add_argument("--ticker", default="", help="URL of an endless stream of timed lines")
    parser.add_argument("--tickers", type=int, default=20, help="how many watch it")
    parser.add_argument("--tick", type=float, default=0.05, help="seconds before each tick")
    parser.add_argument("--limit", type=float, default=30, help="seconds after which everybody leaves")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(options()))))
