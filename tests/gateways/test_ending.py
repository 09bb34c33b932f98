"""Signals of a process whose server handles them; what becomes of real servers stands in the wire tests."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from millstream.config import Settings
from millstream.engine.ledger import Ledger
from millstream.engine.stream import Stream
from millstream.gateways.ending import SIGNALS, Ending
from millstream.protocol.events import Reason


class Server:
    """A server's own handler."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def handle(self, number: int, _frame: FrameType | None) -> None:
        self.heard.append(number)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    before = {number: signal.signal(number, running.handle) for number in SIGNALS}
    yield running
    for number, handler in before.items():
        signal.signal(number, handler)


def nobody() -> None:
    """There is nobody to give up."""


async def heard() -> None:
    """A signal's handler runs soon, and asks the loop to run what follows."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_signal_begins_the_drain_and_is_the_servers_too(server: Server) -> None:
    ledger = Ledger(Settings())
    ending, stream = Ending(ledger, nobody), Stream()
    ledger.enter(stream)
    ending.listen()
    signal.raise_signal(signal.SIGTERM)
    await heard()
    assert (ledger.draining, stream.reason, server.heard) == (True, None, [signal.SIGTERM])
    ledger.leave(stream)


@pytest.mark.parametrize(
    ("signals", "is_over"),
    [
        ([signal.SIGTERM, signal.SIGTERM], True),
        ([signal.SIGTERM, signal.SIGINT], True),
        ([signal.SIGINT, signal.SIGINT], True),
        ([signal.SIGINT, signal.SIGTERM], False),  # a terminal told us, and then our supervisor
        ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], True),
    ],
)
async def test_a_second_wish_gives_no_more_time(
    server: Server, signals: list[signal.Signals], is_over: bool
) -> None:
    ledger = Ledger(Settings())
    ending, stream = Ending(ledger, nobody), Stream()
    ledger.enter(stream)
    ending.listen()
    for number in signals:
        signal.raise_signal(number)
    await heard()
    assert (stream.reason is Reason.SHUTDOWN) == is_over
    assert server.heard == signals
    ledger.leave(stream)


async def test_after_the_end_the_signals_are_the_servers_again(server: Server) -> None:
    ending = Ending(Ledger(Settings()), nobody)
    ending.listen()
    ending.leave()
    assert [signal.getsignal(number) for number in SIGNALS] == [server.handle, server.handle]


async def test_whoever_listened_after_us_is_not_pushed_aside(server: Server) -> None:
    first, second = Ending(Ledger(Settings()), nobody), Ending(Ledger(Settings()), nobody)
    first.listen()
    second.listen()
    first.leave()
    assert signal.getsignal(signal.SIGTERM) == second._told


async def test_without_a_server_the_signals_of_a_process_are_not_ours() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    assert not callable(before[0])
    Ending(Ledger(Settings()), nobody).listen()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_only_the_main_thread_has_signals(server: Server) -> None:
    ending = Ending(Ledger(Settings()), nobody)
    thread = threading.Thread(target=ending.listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == server.handle


def test_a_signal_after_the_loop_was_closed_is_the_servers_alone(server: Server) -> None:
    ending = Ending(Ledger(Settings()), nobody)

    async def listen() -> None:
        ending.listen()

    asyncio.run(listen())
    signal.raise_signal(signal.SIGTERM)
    assert server.heard == [signal.SIGTERM]


async def test_what_has_not_ended_when_it_should_have_is_given_up(server: Server) -> None:
    given_up = asyncio.Event()
    ledger = Ledger(Settings(drain_timeout=0.01, close_timeout=0.01))
    ending = Ending(ledger, given_up.set)
    ending.listen()
    signal.raise_signal(signal.SIGTERM)
    await heard()
    assert not given_up.is_set()  # also without a stream: an action may block
    async with asyncio.timeout(5):
        await given_up.wait()
    ending.leave()


async def test_what_has_ended_in_time_is_not(server: Server) -> None:
    given_up: list[str] = []
    ending = Ending(Ledger(Settings(drain_timeout=60)), lambda: given_up.append("all"))
    before = asyncio.all_tasks()
    ending.listen()
    signal.raise_signal(signal.SIGTERM)
    await heard()
    ending.leave()
    await heard()
    assert (given_up, asyncio.all_tasks()) == ([], before)
