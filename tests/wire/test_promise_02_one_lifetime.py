from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from contextvars import ContextVar, Token
from typing import Any

import pytest
from tests.wire.conftest import Probe, here, watched

from millstream import Millstream, TGController, expose, request, response, stream, tmpl_context
from millstream.errors import OutsideRequest
from millstream.testing import Server, WireClient, connect

pytestmark = pytest.mark.wire

CROWD = 50

before: ContextVar[str] = ContextVar("before", default="unset")
action: ContextVar[str] = ContextVar("action", default="unset")
producer: ContextVar[str] = ContextVar("producer", default="unset")


def seen_now() -> tuple[Any, ...]:
    """What the proxies lead to at this moment."""
    return (
        request.path_info,
        request.params["who"],
        response.headers["x-who"],
        tmpl_context.who,
        stream.id,
    )


def introduce() -> None:
    response.headers["x-who"] = tmpl_context.who = request.params["who"]


class Sync(TGController):
    def _before(self, *_: Any, **__: Any) -> None:
        before.set("set in _before")

    @expose("ndjson")
    def proxies(self, who: str) -> Iterator[int]:
        seen = here()
        introduce()
        stream.on_end(lambda *_: seen.note("step", seen_now()))
        try:
            for step in range(3):
                seen.note("step", seen_now())
                yield step
        finally:
            seen.note("step", seen_now())

    @expose()
    def interleaved(self, who: str) -> Iterator[str]:
        introduce()
        yield f"{request.params['who']},"
        here().pass_gate()
        for _ in range(3):
            yield f"{request.params['who']}{tmpl_context.who}{response.headers['x-who']},"
            stream.sleep(0)

    @expose()
    def variables(self) -> Iterator[str]:
        seen = watched()
        given: Token[str] = action.set("set in action")

        def produced() -> Iterator[str]:
            own = producer.set("set in producer")
            try:
                yield f"{before.get()},"
                seen.pass_gate()
                yield f"{action.get()},"
                yield producer.get()
            finally:
                producer.reset(own)
                action.reset(given)
                seen.note("reset", (action.get(), producer.get(), before.get()))

        return produced()

    @expose()
    def passed_on(self) -> Iterator[str]:
        seen = here()

        def produced(req: Any) -> Iterator[str]:
            try:
                yield req.path_info
            finally:
                seen.note("same", req is request._current_obj())

        return produced(request._current_obj())


class Async(TGController):
    async def _before(self, *_: Any, **__: Any) -> None:
        before.set("set in _before")

    @expose("ndjson")
    async def proxies(self, who: str) -> AsyncIterator[int]:
        seen = here()
        introduce()
        stream.on_end(lambda *_: seen.note("step", seen_now()))
        try:
            for step in range(3):
                seen.note("step", seen_now())
                yield step
        finally:
            seen.note("step", seen_now())

    @expose()
    async def interleaved(self, who: str) -> AsyncIterator[str]:
        introduce()
        yield f"{request.params['who']},"
        await here().passed_gate()
        for _ in range(3):
            yield f"{request.params['who']}{tmpl_context.who}{response.headers['x-who']},"
            await stream.sleep(0)

    @expose()
    async def variables(self) -> AsyncIterator[str]:
        seen = watched()
        given: Token[str] = action.set("set in action")

        async def produced() -> AsyncIterator[str]:
            own = producer.set("set in producer")
            try:
                yield f"{before.get()},"
                await seen.passed_gate()
                yield f"{action.get()},"
                yield producer.get()
            finally:
                producer.reset(own)
                action.reset(given)
                seen.note("reset", (action.get(), producer.get(), before.get()))

        return produced()

    @expose()
    async def passed_on(self) -> AsyncIterator[str]:
        seen = here()

        async def produced(req: Any) -> AsyncIterator[str]:
            try:
                yield req.path_info
            finally:
                seen.note("same", req is request._current_obj())

        return produced(request._current_obj())


class Crossed(TGController):
    """Sync before async and the other way round: one context all the same."""

    @expose()
    def from_thread_to_task(self) -> AsyncIterator[str]:
        action.set("set in action")

        async def produced() -> AsyncIterator[str]:
            yield action.get()

        return produced()

    @expose()
    async def from_task_to_thread(self) -> Iterator[str]:
        action.set("set in action")

        def produced() -> Iterator[str]:
            yield action.get()

        return produced()


class Root(TGController):
    sync = Sync()
    aio = Async()
    crossed = Crossed()


app = Millstream(Root())


def test_every_proxy_works_in_every_step_in_the_cleanup_and_at_the_end(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/proxies?who=me", probe.headers).rest()
    *_, name = probe.wait("step", times=5)
    assert probe.values("step") == [(f"/{kind}/proxies", "me", "me", "me", name)] * 5


def test_a_producer_left_by_its_client_still_sees_its_own_request(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/interleaved?who=left", probe.headers).next_chunk()
    wire.close()
    probe.wait("at gate")
    probe.open()


@pytest.mark.parametrize("others", [1, CROWD - 1])
def test_interleaved_streams_never_see_each_others_request(
    server: Server, kind: str, probe: Probe, others: int
) -> None:
    with ExitStack() as crowd:
        wires = [crowd.enter_context(connect(server.host, server.port)) for _ in range(others + 1)]
        replies = [
            wire.get(f"/{kind}/interleaved?who={who}", probe.headers) for who, wire in enumerate(wires)
        ]
        probe.wait("at gate", times=others + 1)
        probe.open()
        bodies = [reply.rest().decode() for reply in replies]
    assert bodies == [f"{who}," + f"{who}{who}{who}," * 3 for who in range(others + 1)]


def test_what_the_author_sets_in_context_variables_lasts_and_can_be_reset(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/variables", probe.headers)
    probe.wait("at gate")
    probe.open()
    assert reply.rest() == b"set in _before,set in action,set in producer"
    assert probe.wait("reset") == ("unset", "unset", "set in _before")


def test_a_token_can_be_reset_in_the_cleanup_after_the_client_has_left(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    wire.get(f"/{kind}/variables", probe.headers).next_chunk()
    probe.wait("at gate")
    wire.reset()
    probe.open()
    assert probe.wait("reset") == ("unset", "unset", "set in _before")


@pytest.mark.parametrize("way", ["from_thread_to_task", "from_task_to_thread"])
def test_a_context_is_one_also_where_action_and_producer_are_of_different_kinds(
    wire: WireClient, way: str
) -> None:
    assert wire.get(f"/crossed/{way}").rest() == b"set in action"


def test_the_request_that_is_passed_by_hand_is_the_one_the_proxy_means(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    assert wire.get(f"/{kind}/passed_on", probe.headers).rest() == f"/{kind}/passed_on".encode()
    assert probe.wait("same") is True


def test_variables_of_one_request_are_not_those_of_the_next(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    probe.open()
    for _ in range(2):
        wire.get(f"/{kind}/variables", probe.headers).rest()
    assert probe.wait("reset", times=2) == ("unset", "unset", "set in _before")


def test_outside_a_request_the_proxies_say_so() -> None:
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(OutsideRequest, match="request was used outside a request"):
        _ = request.path_info
