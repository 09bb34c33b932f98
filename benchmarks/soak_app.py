"""What the soak serves: streams of every kind that end in every way, and the process's own vital signs."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

from millstream import Millstream, Settings, TGController, expose, stream

BLOCK = b"x" * 16384


class Sync(TGController):
    @expose("ndjson")
    def items(self, count: int = 20, pause: float = 0.01):
        for number in range(count):
            yield {"number": number}
            stream.sleep(pause)

    @expose()
    def endless(self):
        while True:
            yield BLOCK

    @expose("sse")
    def idle(self):
        yield "here"
        stream.sleep(30)

    @expose("json")
    def failing(self, after: int = 3):
        yield from range(after)
        raise ArithmeticError("on purpose")

    @expose("ndjson")
    def stopped(self):
        yield 0
        stream.stop()
        stream.sleep(1)
        yield 1

    @expose("ndjson", on_disconnect="detach", lifetime=2)
    def detached(self):
        for number in range(20):
            yield number
            stream.sleep(0.05)

    @expose("ndjson", lifetime=0.5)
    def short_lived(self):
        while True:
            yield 0
            stream.sleep(0.02)

    @expose("json")
    def form(self, field: str = ""):
        return {"length": len(field)}


class Aio(TGController):
    @expose("ndjson")
    async def items(self, count: int = 20, pause: float = 0.01):
        for number in range(count):
            yield {"number": number}
            await stream.sleep(pause)

    @expose()
    async def endless(self):
        while True:
            yield BLOCK

    @expose("sse")
    async def idle(self):
        yield "here"
        await stream.sleep(30)

    @expose("json")
    async def failing(self, after: int = 3):
        for number in range(after):
            yield number
        raise ArithmeticError("on purpose")

    @expose("ndjson")
    async def stopped(self):
        yield 0
        stream.stop()
        await stream.sleep(1)
        yield 1

    @expose("ndjson", on_disconnect="detach", lifetime=2)
    async def detached(self):
        for number in range(20):
            yield number
            await stream.sleep(0.05)

    @expose("ndjson", lifetime=0.5)
    async def short_lived(self):
        while True:
            yield 0
            await stream.sleep(0.02)

    @expose("json")
    async def form(self, field: str = ""):
        return {"length": len(field)}


class Root(TGController):
    sync = Sync()
    aio = Aio()

    @expose("json")
    async def vitals(self):
        return {**held(), "tasks": len(asyncio.all_tasks()), "streams": len(app.ledger)}


def held():
    """What this process holds, after a collection: only leaks remain."""
    gc.collect()
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"),
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


app = Millstream(Root(), Settings(stall_timeout=2, drain_timeout=2))
