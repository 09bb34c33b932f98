# ruff: noqa: UP031  the page prints its examples so

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, no_type_check

import pytest

from millstream import Millstream, TGController, expose, request, stream
from millstream.testing import BodyTruncated, WireClient

pytestmark = pytest.mark.wire

PAUSE = 0.01
TEN = b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
THREE = b"one two three"
BUFFER = bytearray(3)


class Words:
    """Neither a generator nor an iterator: an iterable with an `__iter__` of its own."""

    def __iter__(self) -> Iterator[str]:
        return iter(("one ", "two ", "three"))


class AsyncWords:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self._left = ["three", "two ", "one "]

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class InCharset(TGController):
    """Text in the three ways charsets come: several bytes a character, one, and a mark before the first."""

    @expose(content_type="text/plain; charset=utf-8")
    def utf8(self) -> Iterator[str]:
        yield from ("grün ", "süß ", "fertig")

    @expose(content_type="text/plain; charset=latin-1")
    def latin1(self) -> Iterator[str]:
        yield from ("grün ", "süß ", "fertig")

    @expose(content_type="text/plain; charset=utf-16")
    def utf16(self) -> Iterator[str]:
        yield from ("grün ", "süß ", "fertig")

    @expose(content_type="text/plain", charset="latin-1")
    def by_setting(self) -> Iterator[str]:
        yield from ("grün ", "süß ", "fertig")

    @expose(content_type="text/plain; charset=latin-1")
    def beyond(self) -> Iterator[str]:
        yield "5 "
        yield "€"


class AsyncInCharset(TGController):
    @expose(content_type="text/plain; charset=utf-8")
    async def utf8(self) -> AsyncIterator[str]:
        for word in ("grün ", "süß ", "fertig"):
            yield word

    @expose(content_type="text/plain; charset=latin-1")
    async def latin1(self) -> AsyncIterator[str]:
        for word in ("grün ", "süß ", "fertig"):
            yield word

    @expose(content_type="text/plain; charset=utf-16")
    async def utf16(self) -> AsyncIterator[str]:
        for word in ("grün ", "süß ", "fertig"):
            yield word

    @expose(content_type="text/plain", charset="latin-1")
    async def by_setting(self) -> AsyncIterator[str]:
        for word in ("grün ", "süß ", "fertig"):
            yield word

    @expose(content_type="text/plain; charset=latin-1")
    async def beyond(self) -> AsyncIterator[str]:
        yield "5 "
        yield "€"


class Sync(TGController):
    text = InCharset()

    # fmt: off
    @expose(content_type="application/json")
    @no_type_check
    def stream_list(self):
        def output_pause():
            num = 0
            yield "["
            while num < 9:
                num += 1
                yield "%s, " % num
                time.sleep(PAUSE)
            yield "10]"
        return output_pause()

    @expose(content_type="text/css")
    @no_type_check
    def stream(self):
        def output_pause(req):
            num = 0
            while num < 10:
                num += 1
                yield "%s/%s\n" % (req.path_info, num)
                time.sleep(PAUSE)
        return output_pause(request._current_obj())
    # fmt: on

    @expose()
    def itself(self) -> Iterator[str]:
        yield from Words()

    @expose()
    def returned(self) -> Iterator[str]:
        def words() -> Iterator[str]:
            yield from Words()

        return words()

    @expose()
    def iterator(self) -> Iterator[str]:
        return map(str, Words())

    @expose()
    def iterable(self) -> Iterable[str]:
        return Words()

    @expose()
    def collection(self) -> list[str]:
        return ["one ", "two ", "three"]

    @expose()
    def buffers(self) -> Iterator[Any]:
        yield b"one "
        yield bytearray(b"two ")
        yield memoryview(b"three")

    @expose()
    def wide_buffer(self) -> Iterator[Any]:
        yield memoryview(b"ab...cd...").cast("B")[::5]
        yield memoryview(b"\1\0\2\0").cast("H")

    @expose()
    def reused_buffer(self) -> Iterator[memoryview]:
        buffer = bytearray(3)
        for digit in b"12345":
            buffer[:] = bytes([digit]) * 3
            yield memoryview(buffer)
        buffer[:] = b"???"

    @expose()
    def wrong_at_once(self) -> Iterator[Any]:
        yield {"a": 1}

    @expose()
    def wrong_later(self) -> Iterator[Any]:
        yield "good"
        yield 2

    @expose("ndjson")
    def wrong_object(self) -> Iterator[Any]:
        yield object()


class Async(TGController):
    text = AsyncInCharset()

    # fmt: off
    @expose(content_type="application/json")
    @no_type_check
    def stream_list(self):
        async def output_pause():
            num = 0
            yield "["
            while num < 9:
                num += 1
                yield "%s, " % num
                await stream.sleep(PAUSE)
            yield "10]"
        return output_pause()

    @expose(content_type="text/css")
    @no_type_check
    def stream(self):
        async def output_pause(req):
            num = 0
            while num < 10:
                num += 1
                yield "%s/%s\n" % (req.path_info, num)
                await stream.sleep(PAUSE)
        return output_pause(request._current_obj())
    # fmt: on

    @expose()
    async def itself(self) -> AsyncIterator[str]:
        for word in Words():
            yield word

    @expose()
    async def returned(self) -> AsyncIterator[str]:
        async def words() -> AsyncIterator[str]:
            for word in Words():
                yield word

        return words()

    @expose()
    async def iterator(self) -> AsyncIterator[str]:
        return AsyncWords()

    @expose()
    def iterable(self) -> AsyncIterator[str]:
        return AsyncWords()

    @expose()
    async def collection(self) -> list[str]:
        return ["one ", "two ", "three"]

    @expose()
    async def buffers(self) -> AsyncIterator[Any]:
        yield b"one "
        yield bytearray(b"two ")
        yield memoryview(b"three")

    @expose()
    async def wide_buffer(self) -> AsyncIterator[Any]:
        yield memoryview(b"ab...cd...").cast("B")[::5]
        yield memoryview(b"\1\0\2\0").cast("H")

    @expose()
    async def reused_buffer(self) -> AsyncIterator[memoryview]:
        buffer = bytearray(3)
        for digit in b"12345":
            buffer[:] = bytes([digit]) * 3
            yield memoryview(buffer)
        buffer[:] = b"???"

    @expose()
    async def wrong_at_once(self) -> AsyncIterator[Any]:
        yield {"a": 1}

    @expose()
    async def wrong_later(self) -> AsyncIterator[Any]:
        yield "good"
        yield 2

    @expose("ndjson")
    async def wrong_object(self) -> AsyncIterator[Any]:
        yield object()


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


def test_the_pages_json_list_streams_as_printed(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/stream_list")
    chunks = [chunk.data for chunk in reply]
    assert b"".join(chunks) == TEN
    assert len(chunks) > 5
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.complete


def test_the_pages_css_sees_its_request_in_every_step(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/stream")
    assert reply.rest() == b"".join(b"/%b/stream/%d\n" % (kind.encode(), n) for n in range(1, 11))
    assert reply.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("way", ["itself", "returned", "iterator", "iterable", "collection", "buffers"])
def test_whatever_can_be_iterated_is_a_stream(wire: WireClient, kind: str, way: str) -> None:
    reply = wire.get(f"/{kind}/{way}")
    assert reply.rest() == THREE
    assert reply.complete
    assert reply.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("charset", ["utf8", "latin1", "utf16", "by_setting"])
def test_text_is_in_the_charset_that_the_head_declares(wire: WireClient, kind: str, charset: str) -> None:
    reply = wire.get(f"/{kind}/text/{charset}")
    declared = reply.headers["content-type"].partition("charset=")[2]
    body = reply.rest()
    assert body.decode(declared) == "grün süß fertig"
    assert body == "grün süß fertig".encode({"utf8": "utf-8", "utf16": "utf-16"}.get(charset, "latin-1"))


def test_a_character_the_charset_has_not_breaks_the_body_off(
    wire: WireClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/text/beyond").rest()
    assert truncated.value.received == b"5 "
    assert "latin-1" in caplog.text


def test_a_buffer_is_sent_as_its_bytes_whatever_its_shape(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/wide_buffer").rest() == b"ac\1\0\2\0"


def test_a_producer_may_use_its_buffer_again(wire: WireClient, kind: str) -> None:
    assert wire.get(f"/{kind}/reused_buffer").rest() == b"111222333444555"


@pytest.mark.parametrize(
    ("action", "item", "codec"), [("wrong_at_once", "dict", "raw"), ("wrong_object", "object", "ndjson")]
)
def test_a_first_item_of_the_wrong_type_is_a_500_and_a_clear_error_in_the_log(
    *, wire: WireClient, kind: str, action: str, item: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = wire.get(f"/{kind}/{action}")
    assert (reply.status, reply.headers["content-type"]) == (500, "application/problem+json")
    assert reply.rest() == b'{"type":"about:blank","title":"Internal Server Error","status":500}'
    [record] = [record for record in caplog.records if record.name == "millstream"]
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert isinstance(error, TypeError)
    assert f"{action} yielded {item}, but its codec {codec!r} takes " in str(error)


def test_a_later_item_of_the_wrong_type_breaks_the_body_off(
    wire: WireClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/wrong_later").rest()
    assert truncated.value.received == b"good"
    assert "wrong_later yielded int, but its codec 'raw' takes" in caplog.text
