"""Listening: how a `receive` that may wait for as long as its stream lives is waited for.

A task for each is the ordinary way, and costs a stream as much memory as all that Millstream itself keeps for
it. uvicorn's `receive` waits for an event that tells whenever there is something new: an alarm in its place
calls back instead, and nobody waits at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, Protocol, cast

from starlette.types import Message, Receive

from millstream.gateways.uvicorn import request_of


class Hearer(Protocol):
    """Who is told what a server has to say."""

    def wants(self) -> bool:
        """Whether a message would be taken now."""
        ...

    def hear(self, message: Message) -> None:
        """Take a message."""
        ...

    async def be_alone(self) -> None:
        """Wait until whoever listened before has ended: a server is asked by one at a time."""
        ...


class Listening(Protocol):
    """Somebody who hears what a server has to say."""

    def cancel(self) -> object:
        """Give it up; it may take a turn of the loop to end."""
        ...

    def done(self) -> bool:
        """Whether it has ended."""
        ...


def listen(receive: Receive, hearer: Hearer) -> Listening:
    """Hear all that is wanted of a server's messages."""
    request = request_of(receive)
    if request is None:
        return asyncio.get_running_loop().create_task(_listen(receive, hearer))
    alarm = request.message_event = Alarm(receive, hearer, is_set=request.message_event.is_set())
    return alarm


async def ended(listening: Listening) -> None:
    """Wait until one that was given up has ended."""
    if isinstance(listening, asyncio.Task) and not listening.done():
        await asyncio.wait({listening})


async def _listen(receive: Receive, hearer: Hearer) -> None:
    await hearer.be_alone()
    while hearer.wants():
        hearer.hear(await receive())


class Alarm:
    """An event, as uvicorn uses one, that has what came received in a turn of its own.

    Who waits for it goes first: then it is the reader of the body who receives.
    """

    __slots__ = ("_hearer", "_is_set", "_receive", "_waiter")

    def __init__(self, receive: Receive, hearer: Hearer, *, is_set: bool) -> None:
        self._receive: Receive | None = receive
        self._hearer: Hearer | None = hearer
        self._waiter: asyncio.Future[None] | None = None
        self._is_set = False
        if is_set:
            self.set()

    # As an event

    def set(self) -> None:
        """There is something new."""
        self._is_set = True
        if self._waiter is None:
            self._ring_soon()
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def is_set(self) -> bool:
        """Whether there is."""
        return self._is_set

    def clear(self) -> None:
        """It was received."""
        self._is_set = False

    async def wait(self) -> Literal[True]:
        """Wait until there is."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                if self._is_set:  # whoever waited may have given up
                    self._ring_soon()
        return True

    # As a listener

    def _ring_soon(self) -> None:
        if self._hearer is not None:
            asyncio.get_running_loop().call_soon(self._ring)

    def _ring(self) -> None:
        while (hearer := self._hearer) is not None and (receive := self._receive) is not None:
            if not self._is_set or self._waiter is not None or not hearer.wants():
                return
            hearer.hear(_at_once(cast("Coroutine[Any, Any, Message]", receive())))

    def cancel(self) -> None:
        """Be no more than an event, from now on."""
        self._hearer = self._receive = None  # which leads to whoever has this event: a circle, else

    def done(self) -> bool:
        """Whether it is no more than that."""
        return self._hearer is None


def _at_once(receiving: Coroutine[Any, Any, Message]) -> Message:
    """The message of a `receive` that has no reason to wait."""
    try:
        receiving.send(None)
    except StopIteration as received:
        message: Message = received.value
        return message
    receiving.close()
    raise AssertionError("a server that has something new waited for more")
