from __future__ import annotations

import pytest
from starlette.datastructures import MutableHeaders
from tests.engine.conftest import AsyncUnit, Unit, Wire, begun

from millstream.engine.stream import Stream
from millstream.engine.whole import deliver_whole
from millstream.errors import HTTPError
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import State
from millstream.protocol.ports import ChunkTransform, Head


class Dots:
    def chunk(self, data: bytes, /) -> bytes:
        return data + b"."

    def end(self) -> bytes:
        return b"!"


def dotted(_head: Head) -> ChunkTransform:
    return Dots()


def head(status: int = 200, method: str = "GET") -> Head:
    return Head(status, MutableHeaders({"content-length": "5"}), method)


async def test_it_settles_and_then_leaves_in_one_go() -> None:
    class Witness(Unit):
        def step(self, step: str) -> None:
            super().step(step)
            assert wire.head is None

    log: list[str] = []
    wire, scope = Wire(), await begun(Stream(), Witness("u", log))
    await deliver_whole(head(), b"hello", (), scope, wire)
    assert log == ["u.prepare", "u.commit"]
    assert (wire.writes, wire.ended, scope.stream.bytes) == ([b"hello"], True, 5)
    assert (scope.stream.state, scope.stream.reason) == (State.DELIVERED, Reason.COMPLETED)
    await scope.close()


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_nothing_is_sent_of_what_was_not_committed(step: str) -> None:
    wire, scope = Wire(), await begun(Stream(), AsyncUnit("u", [], step))
    with pytest.raises(RuntimeError, match="u fails"):
        await deliver_whole(head(), b"hello", (), scope, wire)
    assert wire.head is None


async def test_nothing_is_settled_or_sent_of_what_was_ended_early() -> None:
    log: list[str] = []
    wire, scope = Wire(), await begun(Stream(), AsyncUnit("u", log))
    scope.stream.interrupt(Reason.STOPPED)
    with pytest.raises(HTTPError) as told:
        await deliver_whole(head(), b"hello", (), scope, wire)
    assert (told.value.status, wire.head, log) == (503, None, [])


@pytest.mark.parametrize(("method", "body"), [("GET", b"hello.!"), ("HEAD", b"")])
async def test_a_transform_sees_the_body_and_its_length_is_told(method: str, body: bytes) -> None:
    wire, scope = Wire(), await begun(Stream())
    await deliver_whole(head(method=method), b"hello", (dotted,), scope, wire)
    assert wire.head is not None
    assert (wire.head.headers["content-length"], wire.body) == ("7", body)
    assert scope.stream.bytes == len(body)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_gets_none_from_a_transform(status: int) -> None:
    wire, scope = Wire(), await begun(Stream())
    await deliver_whole(Head(status, MutableHeaders(), "GET"), b"", (dotted,), scope, wire)
    assert wire.head is not None
    assert ("content-length" in wire.head.headers, wire.body, wire.ended) == (False, b"", True)
