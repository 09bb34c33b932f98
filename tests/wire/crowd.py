"""An application of streams that do not end by themselves, and write down how they ended."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.routing import Mount

from millstream import Event, Millstream, Reason, Settings, Statistics, TGController, expose, stream


def note(line: str) -> None:
    """Append a line; one write of a few bytes is not torn by another process'."""
    journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, f"{line}\n".encode())
    finally:
        os.close(journal)


def watched() -> None:
    @stream.on_end
    def ended(reason: Reason, _: Statistics) -> None:
        note(f"ended {reason}")


class Sync(TGController):
    @expose("sse", retry=2500)
    @expose("ndjson")
    def idle(self) -> Iterator[Event | int]:
        watched()
        try:
            yield 1
            yield Event("two", id=7)
            stream.sleep(600)
        finally:
            note(f"closed {stream.draining}")

    @expose("ndjson", on_disconnect="detach")
    def detached(self) -> Iterator[int]:
        watched()
        try:
            yield 1
            while not stream.client_gone:
                stream.sleep(0.01)
            note("alone")
            stream.sleep(600)
        finally:
            note("closed")

    @expose("ndjson")
    def polite(self) -> Iterator[str]:
        watched()
        yield "one"
        while not stream.draining:
            stream.sleep(0.02)
        yield "off"

    @expose()
    def flood(self) -> Iterator[bytes]:
        watched()
        try:
            while True:
                yield b"x" * 65536
        finally:
            note("closed flood")

    @expose("ndjson")
    def blocks(self) -> Iterator[int]:
        watched()
        yield 1
        time.sleep(600)

    @expose("json")
    def blocked(self) -> None:
        note("begun")
        time.sleep(600)


class Async(TGController):
    @expose("sse", retry=2500)
    @expose("ndjson")
    async def idle(self) -> AsyncIterator[Event | int]:
        watched()
        try:
            yield 1
            yield Event("two", id=7)
            await stream.sleep(600)
        finally:
            note(f"closed {stream.draining}")

    @expose("ndjson", on_disconnect="detach")
    async def detached(self) -> AsyncIterator[int]:
        watched()
        try:
            yield 1
            while not stream.client_gone:
                await stream.sleep(0.01)
            note("alone")
            await stream.sleep(600)
        finally:
            note("closed")

    @expose("ndjson")
    async def polite(self) -> AsyncIterator[str]:
        watched()
        yield "one"
        while not stream.draining:
            await stream.sleep(0.02)
        yield "off"

    @expose()
    async def flood(self) -> AsyncIterator[bytes]:
        watched()
        try:
            while True:
                yield b"x" * 65536
        finally:
            note("closed flood")


class Root(TGController):
    sync = Sync()
    aio = Async()

    @expose("json")
    async def index(self) -> dict[str, int]:
        return {"process": os.getpid()}


limits = Settings(
    drain_timeout=float(os.environ.get("DRAIN", "1")), close_timeout=float(os.environ.get("CLOSE", "10"))
)
app = Millstream(Root(), limits)
mounted = Starlette(routes=[Mount("/below", app)])
impatient = Millstream(Root(), Settings(stall_timeout=0.3))
