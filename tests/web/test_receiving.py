from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from millstream.errors import HTTPError, Overloaded
from millstream.web import receiving
from millstream.web.receiving import IN_MEMORY, Kept, charset_of, in_time

GONE: Message = {"type": "http.disconnect"}


def arriving(*pieces: bytes, ends: bool = True, then: Message = GONE) -> Receive:
    last = len(pieces) - 1
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < last or not ends}
        for number, piece in enumerate(pieces)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else then

    return receive


async def offload(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


async def kept(*pieces: bytes, most: int | None = None) -> Kept:
    body = Kept(offload)
    await body.take_all(arriving(*pieces), most)
    return body


class Clock:
    """A client that sends a piece whenever the loop's clock is told to have gone on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._ahead = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self) -> Message:
        return {"type": "http.request", "body": await self._pieces.get(), "more_body": True}

    def send(self, piece: bytes, *, after: float) -> None:
        self._ahead += after
        self._pieces.put_nowait(piece)

    def is_silent(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.mark.parametrize("before", [0, 1, 1_000, 100_000, 15_000_000])
async def test_silence_has_one_deadline_however_much_came_before(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Clock(monkeypatch)
    receive = in_time(client.receive, 60.0, 240.0)
    if before:
        client.send(b"x" * before, after=0)
        await receive()
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    client.is_silent(61)
    with pytest.raises(HTTPError) as told:
        await waiting
    assert told.value.status == 408


async def test_a_client_that_sends_too_little_is_given_up_although_it_is_never_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Clock(monkeypatch)
    receive = in_time(client.receive, 60.0, 240.0)
    client.send(b"x", after=0)
    await receive()
    client.send(b"x", after=59)
    await receive()
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    client.is_silent(2)
    with pytest.raises(HTTPError):
        await waiting


async def test_a_client_that_keeps_the_rate_may_take_as_long_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Clock(monkeypatch)
    receive = in_time(client.receive, 60.0, 240.0)
    for _ in range(20):
        client.send(b"x" * 240 * 50, after=50)
        await receive()


async def test_without_a_limit_nothing_stands_between() -> None:
    receive = arriving(b"")
    assert in_time(receive, None, 240.0) is receive


@given(pieces=st.lists(st.binary(max_size=50), min_size=1), start=st.integers(0, 60), size=st.integers(0, 60))
async def test_what_is_kept_is_what_came_wherever_it_is_read(
    pieces: list[bytes], start: int, size: int
) -> None:
    whole = b"".join(pieces)
    for in_memory in (10, IN_MEMORY):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receiving, "IN_MEMORY", in_memory)
            patch.setattr(receiving, "PIECE", 7)
            body = await kept(*pieces)
            assert body.size == len(whole)
            assert b"".join(body.pieces()) == whole
            assert body.at(start, size) == whole[start : start + size]
            body.close()


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY])
async def test_a_body_arrives_again_as_often_as_it_is_asked_for(size: int) -> None:
    body = await kept(b"x" * size)
    for _ in range(2):
        again = Kept(offload)
        await again.take_all(body.again(), None)
        assert again.at(0, size + 1) == b"x" * size
        again.close()
    body.close()


async def test_after_the_body_the_server_is_asked_again() -> None:
    body = await kept(b"x")
    receive = body.again(arriving(then=GONE))
    assert (await receive())["body"] == b"x"
    assert await receive() == GONE


async def test_little_of_a_long_body_is_in_memory() -> None:
    body = Kept(offload)
    await body.take_all(arriving(*[b"x" * 50_000] * 40), None)
    assert len(body._memory) <= IN_MEMORY
    body.close()


async def test_a_body_is_refused_as_soon_as_it_is_too_long() -> None:
    receive = arriving(b"12", b"34", b"56")
    with pytest.raises(HTTPError) as told:
        await Kept(offload).take_all(receive, 3)
    assert told.value.status == 413
    assert (await receive())["body"] == b"56"


async def test_a_client_that_leaves_is_no_end_of_its_body() -> None:
    with pytest.raises(ClientDisconnect):
        await Kept(offload).take_all(arriving(b"1", ends=False), None)


async def test_a_full_disk_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> IO[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(receiving, "TemporaryFile", full)
    with pytest.raises(Overloaded):
        await kept(b"x" * (IN_MEMORY + 1))


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "latin-1", "cp1252", "shift_jis"])
def test_a_charset_is_known_by_any_of_its_names(name: str) -> None:
    assert charset_of(name) is not None


@pytest.mark.parametrize(
    "name",
    ["nonsense", "", "hex", "zip", "idna", "punycode", "undefined", "unicode_escape", "a\x00b", "rot13"],
)
def test_what_is_no_charset_of_texts_is_not_known(name: str) -> None:
    assert charset_of(name) is None
