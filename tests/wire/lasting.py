"""An application of durable streams, whose runs write down where they began and how they ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from millstream import Millstream, Reason, Settings, Statistics, TGController, abort, expose, request, stream
from millstream.durable.runs.declared import Durable
from millstream.protocol.ports import Join


def note(line: str) -> None:
    """Append a line; one write of a few bytes is not torn by another process'."""
    journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, f"{line}\n".encode())
    finally:
        os.close(journal)


def began(what: str) -> None:
    note(f"{what} began in {os.getpid()}")

    @stream.on_end
    def ended(reason: Reason, _: Statistics) -> None:
        note(f"{what} ended {reason}")


class Unit:
    """A unit of work that says what becomes of it."""

    def __init__(self, what: str, *, fails: bool) -> None:
        self.what = what
        self.fails = fails

    def prepare(self) -> None:
        pass

    def commit(self) -> None:
        if self.fails:
            raise RuntimeError("the disk is full")
        note(f"{self.what} committed")

    def abort(self) -> None:
        note(f"{self.what} rolled back")

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass


class Book:
    """A participant."""

    def __init__(self) -> None:
        self.join: ContextVar[Join] = ContextVar("join")

    def begin(self, join: Join) -> None:
        self.join.set(join)

    def write(self, what: str, *, fails: bool = False) -> None:
        self.join.get()(Unit(what, fails=fails))


book = Book()


def allowed(_request: Any, stream_id: str) -> bool:
    who = request.headers.get("x-user", "")
    note(f"{who or 'nobody'} asks for {stream_id}")
    return who == "ann"


class Root(TGController):
    @expose("json")
    async def pid(self) -> dict[str, int]:
        return {"pid": os.getpid()}

    @expose("sse", durable=True)
    async def words(self, n: int, pause: float = 0.0) -> AsyncIterator[dict[str, int]]:
        began("words")
        for number in range(n):
            yield {"n": number}
            await asyncio.sleep(pause)

    @expose("sse", durable=Durable(key="answer-{question}"))
    async def answer(self, question: int, n: int = 20, pause: float = 0.0) -> AsyncIterator[str]:
        began(f"answer {question}")
        for number in range(n):
            yield str(number)
            await asyncio.sleep(pause)

    @expose("csv", durable=Durable(key="table-{name}"))
    def table(self, name: str, n: int, pause: float = 0.0) -> Iterator[dict[str, Any]]:
        began(f"table {name}")
        for number in range(n):
            yield {"number": number, "text": f"row {number} of {name}"}
            if pause and not number % 100:
                stream.sleep(pause)

    @expose("ndjson", durable=Durable(key="report-{name}"))
    def report(self, name: str, good: bool = True, pause: float = 0.0) -> Iterator[int]:
        began(f"report {name}")
        yield 1
        stream.sleep(pause)
        if not good:
            raise RuntimeError("deadlock detected")
        yield 2

    @expose("ndjson", durable=Durable(key="kept-{name}", on_failure="keep", ttl=1))
    def kept(self, name: str, good: bool = True) -> Iterator[int]:
        yield from self.report(name, good)

    @expose("ndjson", durable=True)
    def writes(self, what: str, n: int = 3, pause: float = 0.0, fails: bool = False) -> Iterator[int]:
        book.write(what, fails=fails)
        began(what)
        for number in range(n):
            yield number
            stream.sleep(pause)

    @expose("ndjson", durable=Durable(on_death="restart", keep_headers=["x-tenant"]))
    async def steady(self, n: int, pause: float = 0.0, reads: str = "") -> AsyncIterator[dict[str, int]]:
        began("steady")
        if reads:
            note(f"steady for {request.headers[reads]}")
        for number in range(n):
            yield {"n": number}
            await asyncio.sleep(pause)

    @expose("ndjson", durable=Durable(access=allowed))
    async def private(self, n: int = 3, pause: float = 0.0) -> AsyncIterator[int]:
        for number in range(n):
            yield number
            await asyncio.sleep(pause)

    @expose("ndjson", durable=Durable(key="refused"))
    async def refused(self) -> AsyncIterator[int]:
        note("refused")
        abort(404, "there is no such thing")
        yield 1


app = Millstream(
    Root(),
    Settings(
        durable_url=os.environ.get("DURABLE", "memory:"),
        durable_lease=float(os.environ.get("LEASE", "30")),
        drain_timeout=float(os.environ.get("DRAIN", "0.3")),
        max_sync_streams=200,
    ),
    participants=[book],
)
