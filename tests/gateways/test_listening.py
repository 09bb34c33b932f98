from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from starlette.types import Message
from tests.gateways.conftest import LEFT, PlainServer, Server, piece, turns

from millstream.gateways.listening import Alarm, ended, listen


class Ear:
    """Hears as much as it wants."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.heard: list[Message] = []
        self.alone = 0

    def wants(self) -> bool:
        return len(self.heard) < self.most

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    async def be_alone(self) -> None:
        self.alone += 1


async def test_uvicorn_is_heard_without_a_task_and_without_anybody_who_waits() -> None:
    server, ear, before = PlainServer(piece(b"a")), Ear(), asyncio.all_tasks()
    listening = listen(server.receive, ear)
    await turns()
    assert ear.heard == [piece(b"a")]
    assert (asyncio.all_tasks(), server.readers) == (before, 0)
    server.give(piece(b"b"), LEFT)
    await turns()
    assert ear.heard == [piece(b"a"), piece(b"b"), LEFT]
    assert not listening.done()


async def test_any_other_server_is_waited_for_in_a_task() -> None:
    server, ear, before = Server(piece(b"a")), Ear(), asyncio.all_tasks()
    listening = listen(server.receive, ear)
    assert len(asyncio.all_tasks() - before) == 1
    await turns()
    assert (ear.heard, ear.alone) == ([piece(b"a")], 1)
    listening.cancel()
    await ended(listening)
    assert listening.done()


async def test_a_uvicorn_whose_event_is_not_found_is_waited_for_in_a_task() -> None:
    server, before = PlainServer(), asyncio.all_tasks()
    del server.message_event
    listening = listen(server.receive, Ear())
    assert len(asyncio.all_tasks() - before) == 1
    listening.cancel()
    await ended(listening)


async def test_no_more_is_heard_than_is_wanted() -> None:
    for server in (Server(), PlainServer()):
        ear = Ear(most=2)
        listening = listen(server.receive, ear)
        server.give(*[piece(b"x")] * 5)
        await turns()
        assert (len(ear.heard), server.given) == (2, 2)
        listening.cancel()
        await ended(listening)


async def test_what_was_given_up_hears_nothing_more_and_is_an_event_still() -> None:
    server, ear = PlainServer(), Ear()
    listening = listen(server.receive, ear)
    server.give(piece(b"a"))  # its turn is on its way
    listening.cancel()
    await turns()
    assert (ear.heard, listening.done()) == ([], True)
    assert await server.receive() == piece(b"a")
    assert not server.message_event.is_set()


async def test_who_waits_for_the_event_receives_and_the_listener_does_not() -> None:
    server, ear = PlainServer(), Ear()
    listen(server.receive, ear)
    reader = asyncio.create_task(server.receive())
    await turns()
    server.give(piece(b"a"))
    server.message_event.set()
    assert await reader == piece(b"a")
    await turns()
    assert ear.heard == []
    server.give(LEFT)
    await turns()
    assert ear.heard == [LEFT]


async def test_what_came_for_a_reader_that_gave_up_is_heard() -> None:
    server, ear = PlainServer(), Ear()
    listen(server.receive, ear)
    reader = asyncio.create_task(server.receive())
    await turns()
    server.give(LEFT)
    reader.cancel()
    await turns()
    assert ear.heard == [LEFT]


async def test_an_alarm_that_was_replaced_hands_on_what_it_had() -> None:
    server, ear, later = PlainServer(), Ear(), Ear()
    first = listen(server.receive, ear)
    first.cancel()
    server.give(piece(b"a"))
    assert isinstance(listen(server.receive, later), Alarm)
    await turns()
    assert (ear.heard, later.heard) == ([], [piece(b"a")])


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_what_was_given_up_keeps_nothing_of_its_server_from_going() -> None:
    server, ear = PlainServer(), Ear()
    listening = listen(server.receive, ear)
    await turns()
    listening.cancel()
    del listening, server.connection
    gone = weakref.ref(server)
    del server
    assert gone() is None
