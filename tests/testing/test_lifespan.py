from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from millstream.testing.client import Client
from millstream.testing.failures import LifespanFailed, TimedOut

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


class Recorded:
    """A Starlette application that notes its life, and fails where it is told to."""

    def __init__(self, *, fails: str = "") -> None:
        self.life: list[str] = []
        self.fails = fails
        self.app = Starlette(routes=[Route("/", self.index)], lifespan=self.live)

    @asynccontextmanager
    async def live(self, _: Starlette) -> AsyncIterator[dict[str, str]]:
        self.note("start")
        yield {"greeting": "hello"}
        self.note("stop")

    def note(self, phase: str) -> None:
        self.life.append(phase)
        if phase == self.fails:
            raise ValueError(f"cannot {phase}")

    async def index(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.greeting)


async def test_the_application_is_started_and_shut_down_around_the_block_and_its_state_is_shared() -> None:
    recorded = Recorded()
    async with Client(recorded.app) as client:
        assert recorded.life == ["start"]
        assert (await client.get("/")).text == "hello"
    assert recorded.life == ["start", "stop"]


async def test_a_shutdown_is_sent_once() -> None:
    recorded = Recorded()
    async with Client(recorded.app) as client:
        await client.shutdown()
        await client.shutdown()
    assert recorded.life == ["start", "stop"]


async def test_a_failing_start_is_raised_with_its_cause() -> None:
    with pytest.raises(LifespanFailed, match=r"(?s)start-up failed.*cannot start") as caught:
        await Client(Recorded(fails="start").app).__aenter__()
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_failing_shutdown_is_raised_but_does_not_hide_an_earlier_error() -> None:
    with pytest.raises(LifespanFailed, match="shutdown failed"):
        async with Client(Recorded(fails="stop").app):
            pass
    with pytest.raises(KeyError):
        async with Client(Recorded(fails="stop").app):
            raise KeyError


async def test_a_shutdown_that_was_told_is_not_told_again() -> None:
    async with Client(Recorded(fails="stop").app) as client:
        with pytest.raises(LifespanFailed):
            await client.shutdown()


async def raises_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    await send(START)
    await send({"type": "http.response.body"})


async def answers_without_looking(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body"})


async def asks_and_answers_without_looking(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await answers_without_looking(scope, receive, send)


@pytest.mark.parametrize("app", [raises_at_once, answers_without_looking, asks_and_answers_without_looking])
async def test_an_application_that_knows_no_lifespan_is_served_without(app: Any) -> None:
    async with Client(app) as client:
        assert (await client.get("/")).status == 200


async def test_an_application_that_asked_and_ended_has_failed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(LifespanFailed, match="it ended without saying why"):
        await Client(app).__aenter__()


async def test_an_answer_out_of_turn_is_a_failure() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with pytest.raises(
        LifespanFailed, match=r"lifespan\.shutdown\.complete was sent, which is no answer then"
    ):
        await Client(app).__aenter__()


async def test_a_shutdown_that_ends_without_an_answer_has_failed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    with pytest.raises(LifespanFailed, match="shutdown failed: it ended without saying why"):
        async with Client(app):
            pass


async def test_a_failure_while_serving_is_told_at_the_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("background")

    with pytest.raises(LifespanFailed, match="background"):
        async with Client(app):
            await asyncio.sleep(0)


async def test_a_start_that_does_not_end_is_timed_out_and_leaves_no_task() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimedOut, match=r"lifespan: waited 0\.01 s for the application's start-up"):
        await Client(app, timeout=0.01).__aenter__()
    assert len(asyncio.all_tasks()) == 1


async def test_open_streams_may_be_drained_by_a_shutdown() -> None:
    draining = asyncio.Event()
    drained = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await draining.wait()
            await send({"type": "http.response.body", "body": b"bye"})
            drained.set()
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        draining.set()
        await drained.wait()
        await send({"type": "lifespan.shutdown.complete"})

    async with Client(app) as client, client.stream("GET", "/") as reply:
        await client.shutdown()
        assert await reply.rest() == b"bye"
