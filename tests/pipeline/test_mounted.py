from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope
from tests.engine.conftest import AsyncUnit, Unit, begun

from millstream.engine.stream import Stream
from millstream.errors import ControllerError, WrongLength
from millstream.gateways.connection import Connection
from millstream.pipeline.mounted import Mounted
from millstream.protocol.events import Reason
from millstream.protocol.lifecycle import State

COMMITTED = ["u.prepare", "u.commit"]


def start(status: int = 200, **headers: str) -> Message:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


def piece(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


END = piece(b"", more=False)


class Answer:
    """One response of an application, and what was committed when each of its messages was sent."""

    def __init__(self, *messages: Message, method: str = "GET", leaves: bool = False) -> None:
        self.messages = messages
        self.log: list[str] = []
        self.sent: list[tuple[Message, bool]] = []
        self.stream = Stream(route="/there")
        self.leaves = leaves
        scope = {"type": "http", "method": method, "path": "/", "headers": []}
        self.connection = Connection(scope, self.receive, self.send)

    async def receive(self) -> Message:
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append((message, "u.commit" in self.log))

    async def app(self, _scope: ASGIScope, receive: Receive, send: Send) -> None:
        if self.leaves:
            await receive()
        for message in self.messages:
            await send(message)

    async def deliver(self, *fails: str, app: ASGIApp | None = None) -> None:
        unit = (AsyncUnit if fails else Unit)("u", self.log, *fails)
        scope = await begun(self.stream, unit)
        await Mounted(scope, self.connection).deliver(app or self.app, {}, self.connection.receive)

    @property
    def body_before_the_commit(self) -> bytes:
        return b"".join(message.get("body", b"") for message, committed in self.sent if not committed)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message, _ in self.sent)


async def test_its_messages_pass_and_the_last_one_after_the_commit() -> None:
    answer = Answer(start(), piece(b"one"), piece(b"two", more=False))
    await answer.deliver()
    assert [message for message, _ in answer.sent] == list(answer.messages)
    assert [committed for _, committed in answer.sent] == [False, False, True]
    assert (answer.stream.state, answer.stream.reason) == (State.DELIVERED, Reason.COMPLETED)
    assert answer.stream.bytes == 6


async def test_a_response_that_is_sent_at_once_leaves_after_the_commit() -> None:
    answer = Answer(start(content_length="5"), piece(b"hello", more=False))
    await answer.deliver()
    assert [committed for _, committed in answer.sent] == [True, True]


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_nothing_is_sent_of_what_declares_its_length_and_is_not_committed(step: str) -> None:
    answer = Answer(start(content_length="5"), piece(b"hello", more=False))
    with pytest.raises(RuntimeError, match="u fails"):
        await answer.deliver(step)
    assert answer.sent == []


async def test_the_last_declared_byte_is_sent_after_the_commit() -> None:
    answer = Answer(start(content_length="5"), piece(b"hel"), piece(b"lo"), END)
    await answer.deliver()
    assert (answer.body_before_the_commit, answer.body) == (b"hell", b"hello")


@pytest.mark.parametrize("length", ["4", "6"])
async def test_a_body_of_another_length_is_a_failure_before_the_commit(length: str) -> None:
    answer = Answer(start(content_length=length), piece(b"hel"), piece(b"lo"), END)
    with pytest.raises(WrongLength):
        await answer.deliver()
    assert "u.commit" not in answer.log
    assert len(answer.body) < int(length)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", start(content_length="5")),
        ("GET", start(204)),
        ("GET", start(304, content_length="5")),
        ("GET", start(content_length="0")),
    ],
)
async def test_a_head_that_is_the_whole_response_is_sent_after_the_commit(method: str, head: Message) -> None:
    answer = Answer(head, piece(b""), END, method=method)
    await answer.deliver()
    assert [committed for _, committed in answer.sent] == [True, True]


async def test_a_file_that_the_server_sends_leaves_after_the_commit() -> None:
    answer = Answer(start(content_length="5"), {"type": "http.response.pathsend", "path": "/there"})
    await answer.deliver()
    assert [committed for _, committed in answer.sent] == [True, True]
    assert answer.stream.state is State.DELIVERED


async def test_what_follows_the_end_passes() -> None:
    trailers = {"type": "http.response.trailers", "headers": [], "more_trailers": False}
    answer = Answer(start(), END, trailers)
    await answer.deliver()
    assert answer.sent[-1][0] == trailers


@pytest.mark.parametrize("status", [200, 302])
async def test_what_it_does_after_its_end_is_committed_too(status: int) -> None:
    answer = Answer(start(status), END)
    await answer.deliver()
    assert answer.log == [*COMMITTED, *COMMITTED]


@pytest.mark.parametrize("status", [404, 500])
async def test_what_answers_with_an_error_is_undone(status: int) -> None:
    answer = Answer(start(status), END)
    await answer.deliver()
    assert answer.log[0] == "u.abort"


async def test_a_failure_goes_up_and_nothing_is_committed() -> None:
    async def fails(_scope: ASGIScope, _receive: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"one"))
        raise LookupError

    answer = Answer()
    with pytest.raises(LookupError):
        await answer.deliver(app=fails)
    assert (answer.log, answer.stream.state) == ([], State.FLOWING)


@pytest.mark.parametrize("messages", [(), (start(),), (start(), piece(b"one"))])
@pytest.mark.parametrize(("leaves", "error"), [(False, ControllerError), (True, ClientDisconnect)])
async def test_an_application_that_returns_before_its_end_has_failed_or_its_client_has_left(
    messages: tuple[Message, ...], error: type[Exception], *, leaves: bool
) -> None:
    answer: Any = Answer(*messages, leaves=leaves)
    with pytest.raises(error):
        await answer.deliver()
    assert answer.log == []
