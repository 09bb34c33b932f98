"""The soak: minutes of everything at once, after which the process must be as it was before.

    python benchmarks/soak.py --minutes 5

Clients read to the end, read slowly, stall, leave politely or by a reset, send half a head or half a body, or
garbage. Then they are gone, and what the process holds (memory, threads, descriptors, tasks, streams) is
compared with what it held after a short warm-up. Ends with 1 and a sentence when something stays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from servers import Server, running, uvicorn

HOST = "127.0.0.1"
PATIENCE = 30.0
ALLOWED = {"rss": 20 * 2**20, "threads": 0, "descriptors": 0, "tasks": 0, "streams": 0}
"""What may stay: memory that the allocator keeps. Idle threads go after half a minute."""

IDLE_THREADS_GO_AFTER = 35.0
READABLE = (
    "items",
    "items?count=200&pause=0",
    "failing",
    "stopped",
    "detached",
    "short_lived",
    "form?field=x",
)
ENDLESS = ("endless", "idle")

Behave = Callable[[int, str], Awaitable[None]]


async def opened(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port, limit=65536)
    writer.write(request)
    return reader, writer


def get(kind: str, action: str) -> bytes:
    coding = random.choice(("identity", "gzip", "identity"))
    fields = f"Host: here\r\nAccept-Encoding: {coding}\r\nConnection: close"
    return f"GET /{kind}/{action} HTTP/1.1\r\n{fields}\r\n\r\n".encode()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break off by a reset; a `Transport` has no word for it."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_all(port: int, kind: str) -> None:
    reader, writer = await opened(port, get(kind, random.choice(READABLE)))
    while await reader.read(65536):
        pass
    writer.close()


async def read_slowly(port: int, kind: str) -> None:
    reader, writer = await opened(port, get(kind, random.choice((*READABLE, "endless"))))
    for _ in range(20):
        if not await reader.read(100):
            break
        await asyncio.sleep(0.02)
    writer.close()


async def leave(port: int, kind: str) -> None:
    reader, writer = await opened(port, get(kind, random.choice((*READABLE, *ENDLESS))))
    await reader.read(random.choice((1, 200, 65536)))
    writer.close() if random.random() < 0.5 else reset(writer)


async def stall(port: int, kind: str) -> None:
    """Never read; the server lets go of us after its stall timeout."""
    _, writer = await opened(port, get(kind, "endless"))
    await asyncio.sleep(random.uniform(0.5, 4))
    reset(writer)


async def send_half(port: int, kind: str) -> None:
    body = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nfield="
    post = f"POST /{kind}/form HTTP/1.1\r\nHost: here\r\n".encode()
    halves = (b"GET /sync/it", post + body, post, random.randbytes(100))
    _, writer = await opened(port, random.choice(halves))
    await asyncio.sleep(random.uniform(0, 1))
    writer.close() if random.random() < 0.5 else reset(writer)


async def pipeline(port: int, kind: str) -> None:
    requests = b"".join(get(kind, "items?pause=0").replace(b"Connection: close\r\n", b"") for _ in range(3))
    reader, writer = await opened(port, requests)
    await reader.read(65536)
    writer.close()


BEHAVIOURS: dict[Behave, float] = {
    read_all: 6,
    read_slowly: 2,
    leave: 4,
    stall: 1,
    send_half: 1,
    pipeline: 1,
}


async def client(port: int, until: float, counts: Counter[str]) -> None:
    while time.monotonic() < until:
        behave = random.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))[0]
        try:
            async with asyncio.timeout(PATIENCE):
                await behave(port, random.choice(("sync", "aio")))
            counts[behave.__name__] += 1
        except TimeoutError:
            counts[f"{behave.__name__} took too long"] += 1
        except OSError:
            counts[f"{behave.__name__} was cut off"] += 1


async def vitals(port: int) -> dict[str, float]:
    """What the process holds now.

    Raises:
        RuntimeError: when it does not say.
    """
    reader, writer = await opened(port, b"GET /vitals HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if b" 200 " not in head.splitlines()[0]:
        raise RuntimeError(f"/vitals answered {head.splitlines()[0]!r}: {body!r}")
    return json.loads(body)


async def settled(port: int, first: dict[str, float]) -> dict[str, float]:
    """What the process holds once it holds no more than before, or patience is over."""
    until = time.monotonic() + PATIENCE + IDLE_THREADS_GO_AFTER
    while True:
        now = await vitals(port)
        if time.monotonic() > until or not kept(first, now):
            return now
        await asyncio.sleep(1)


def kept(first: dict[str, float], last: dict[str, float]) -> list[str]:
    return [
        f"{name}: {first[name]:,} at first, {last[name]:,} at last"
        for name, most in ALLOWED.items()
        if last[name] - first[name] > most
    ]


async def soak(server: Server, minutes: float, clients: int) -> int:
    counts: Counter[str] = Counter()
    await asyncio.gather(*(client(server.port, time.monotonic() + WARM_UP, counts) for _ in range(clients)))
    await asyncio.sleep(IDLE_THREADS_GO_AFTER)
    first = await vitals(server.port)
    until = time.monotonic() + minutes * 60
    columns = (TextColumn("{task.description}"), *Progress.get_default_columns()[1:-1], TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("soaking", total=minutes * 60)
        crowd = asyncio.gather(*(client(server.port, until, counts) for _ in range(clients)))
        while not crowd.done():
            await asyncio.wait([crowd], timeout=1)
            progress.update(bar, completed=minutes * 60 - max(0.0, until - time.monotonic()))
        await crowd
    last = await settled(server.port, first)
    print(
        f"{sum(counts.values()):,} clients: "
        + ", ".join(f"{n:,} × {what}" for what, n in counts.most_common())
    )
    for name in ALLOWED:
        print(f"{name:12} {first[name]:>14,} {last[name]:>14,}")
    stays = kept(first, last)
    for line in stays:
        print(f"stays: {line}", file=sys.stderr)
    late = {what: n for what, n in counts.items() if what.endswith("too long")}
    for what, n in late.items():
        print(f"hung: {n} × {what}", file=sys.stderr)
    return 1 if stays or late else 0


WARM_UP = 5.0


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=3.0, help="how long (3)")
    asked.add_argument("--clients", type=int, default=200, help="at once (200)")
    asked.add_argument("--seed", type=int, help="of what the clients do, to see it again")
    options = asked.parse_args()
    random.seed(options.seed)
    with running(uvicorn("soak_app:app")) as server:
        return asyncio.run(soak(server, options.minutes, options.clients))


if __name__ == "__main__":
    raise SystemExit(main())
