from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar

import pytest
from tests.engine.conftest import PATIENCE, raw

from millstream import Codec, Millstream, TGController, expose
from millstream.engine.buffer import Outbox
from millstream.engine.holding import Holding, holding_of
from millstream.testing import BodyTruncated, Client


class Lines(Codec):
    """Holds three items back and says them in one line."""

    name: ClassVar[str] = "lines"
    media_type: ClassVar[str] = "text/x-lines"

    def __init__(self, *, action: str, charset: str) -> None:
        super().__init__(action=action, charset=charset)
        self.held: list[str] = []

    def item(self, item: Any, /) -> bytes:
        self.held.append(str(item))
        return self.flush() if len(self.held) == 3 else b""

    def flush(self) -> bytes:
        held, self.held = self.held, []
        if "bad" in held:
            raise self.refusal("bad")
        return ("".join(held) + "\n").encode() if held else b""

    def tail(self) -> bytes:
        return self.flush()


def holding() -> tuple[Holding, Outbox]:
    outbox, codec = Outbox(100), Lines(action="", charset="utf-8")
    made = holding_of(codec.item, codec, outbox)
    assert made is not None
    return made, outbox


def put(made: Holding, outbox: Outbox, *items: str) -> None:
    """Do as a driver does."""
    for item in items:
        chunk = made.encode(item)
        outbox.put(chunk)
        outbox.produced += len(chunk)


def test_a_codec_that_holds_nothing_back_is_left_alone() -> None:
    codec = raw()
    assert holding_of(codec.item, codec, Outbox(1)) is None


def test_what_is_let_go_comes_before_what_is_encoded_next() -> None:
    made, outbox = holding()
    put(made, outbox, "a", "b")
    made.let_go()
    put(made, outbox, "c", "d", "e")
    assert outbox.take() == b"ab\ncde\n"


def test_items_are_counted_once_and_their_bytes_while_they_wait() -> None:
    made, outbox = holding()
    put(made, outbox, "a", "b")
    assert (made.holds, outbox.ahead) == (True, 0)
    made.let_go()
    assert (made.holds, outbox.ahead) == (False, 3)
    outbox.taken += len(outbox.take())
    assert (outbox.items, outbox.ahead) == (2, 0)


def test_where_nothing_is_held_nothing_is_let_go() -> None:
    made, outbox = holding()
    made.let_go()
    assert not outbox


def test_a_thread_encodes_while_the_loop_lets_go_and_nothing_is_lost_or_turned_round() -> None:
    made, outbox = holding()
    letters = [chr(ord("a") + number % 26) for number in range(5000)]
    producer = threading.Thread(target=put, args=(made, outbox, *letters))
    producer.start()
    taken = b""
    while producer.is_alive():
        made.let_go()
        taken += outbox.take()
    made.let_go()
    while outbox:
        taken += outbox.take()
    assert taken.replace(b"\n", b"").decode() == "".join(letters)


class Root(TGController):
    def __init__(self) -> None:
        self.gate = threading.Event()
        self.async_gate = asyncio.Event()

    @expose("lines")
    def sync(self) -> Iterator[str]:
        yield "a"
        yield "b"
        assert self.gate.wait(PATIENCE)
        yield "c"

    @expose("lines")
    async def aio(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"
        await self.async_gate.wait()
        yield "c"

    @expose("lines")
    def sync_bad(self) -> Iterator[str]:
        yield "bad"
        assert self.gate.wait(PATIENCE)

    @expose("lines")
    async def aio_bad(self) -> AsyncIterator[str]:
        yield "bad"
        try:
            await self.async_gate.wait()
        finally:
            self.gate.set()


@pytest.mark.parametrize(
    ("path", "go_on"), [("/sync", lambda root: root.gate.set()), ("/aio", lambda root: root.async_gate.set())]
)
async def test_a_pause_lets_go_what_is_held(path: str, go_on: Callable[[Root], None]) -> None:
    root = Root()
    async with Client(Millstream(root, codecs=[Lines])) as client, client.stream("GET", path) as reply:
        async with asyncio.timeout(PATIENCE):
            assert await reply.next_line() == "ab"
        go_on(root)
        assert await reply.next_line() == "c"


async def test_what_cannot_be_let_go_ends_the_stream_and_closes_its_producer() -> None:
    root = Root()
    async with Client(Millstream(root, codecs=[Lines])) as client:
        for path in ("/aio_bad", "/sync_bad"):
            async with client.stream("GET", path) as reply:
                with pytest.raises(BodyTruncated):
                    await reply.rest()
            assert root.gate.is_set()
