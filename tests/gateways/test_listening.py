from __future__ import annotations

import asyncio

import pytest
from tests.gateways.conftest import PlainServer, Server, turns

from millstream.gateways.listening import ByHand, ended, listen


async def test_a_server_that_waits_for_plain_futures_costs_no_task() -> None:
    gate, before = asyncio.Event(), asyncio.all_tasks()

    async def wait() -> None:
        await gate.wait()

    listening = listen(PlainServer().receive, wait())
    assert asyncio.all_tasks() == before
    assert not listening.done()
    gate.set()
    await turns()
    assert listening.done()


async def test_any_other_server_is_waited_for_in_a_task() -> None:
    gate, before = asyncio.Event(), asyncio.all_tasks()

    async def wait() -> None:
        await gate.wait()

    listening = listen(Server().receive, wait())
    assert len(asyncio.all_tasks() - before) == 1
    listening.cancel()
    await ended(listening)
    assert listening.done()


async def test_by_hand_it_is_taken_on_from_wait_to_wait_in_order() -> None:
    log: list[int] = []
    gates = [asyncio.get_running_loop().create_future() for _ in range(3)]

    async def wait() -> None:
        for number, gate in enumerate(gates):
            await gate
            log.append(number)

    by_hand = ByHand(wait())
    by_hand()
    for number, gate in enumerate(gates):
        gate.set_result(None)
        await turns()
        assert log == list(range(number + 1))
    assert by_hand.done()


async def test_what_was_given_up_is_closed_at_once_and_never_taken_on() -> None:
    gate, log = asyncio.get_running_loop().create_future(), list[str]()

    async def wait() -> None:
        try:
            await gate
            log.append("went on")
        finally:
            log.append("closed")

    by_hand = ByHand(wait())
    by_hand()
    gate.set_result(None)  # its wake-up is on its way
    by_hand.cancel()
    assert log == ["closed"]
    await turns()
    assert (log, by_hand.done()) == (["closed"], True)
    by_hand.cancel()


async def test_a_failure_is_told_to_the_loop() -> None:
    told: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    gate = loop.create_future()

    async def wait() -> None:
        await gate
        raise ValueError("garbled")

    by_hand = ByHand(wait())
    by_hand()
    gate.set_result(None)
    await turns()
    assert [str(each) for each in told] == ["garbled"]
    assert by_hand.done()


async def test_a_failed_wait_reaches_the_coroutine() -> None:
    gate = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        with pytest.raises(OSError, match="reset"):
            await gate
        log.append("caught")

    log: list[str] = []
    by_hand = ByHand(wait())
    by_hand()
    gate.set_exception(OSError("reset"))
    await turns()
    assert log == ["caught"]
