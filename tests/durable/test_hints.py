from __future__ import annotations

import asyncio

from millstream.durable.hints import Hints


async def test_a_hint_before_the_sleep_spares_it() -> None:
    hints = Hints()
    with hints.watching("s") as watch:
        hints.awake("s")
        await asyncio.wait_for(watch.wait_hinted(None), 1)
        sleeper = asyncio.create_task(watch.wait_hinted(None))
        await asyncio.sleep(0)
        assert not sleeper.done()
        hints.awake("s")
        await sleeper


async def test_everybody_is_woken_when_it_may_be_any_stream() -> None:
    hints = Hints()
    with hints.watching("a") as one, hints.watching("b") as other:
        hints.awake(None)
        await asyncio.gather(one.wait_hinted(None), other.wait_hinted(None))


async def test_only_those_who_watch_that_stream_are_woken() -> None:
    hints = Hints()
    with hints.watching("a") as watch:
        hints.awake("b")
        sleeper = asyncio.create_task(watch.wait_hinted(None))
        await asyncio.sleep(0)
        assert not sleeper.done()
        sleeper.cancel()


async def test_a_sleep_ends_with_its_time() -> None:
    began = asyncio.get_running_loop().time()
    with Hints().watching("s") as watch:
        await asyncio.wait_for(watch.wait_hinted(0.01), 5)
    assert asyncio.get_running_loop().time() - began >= 0.009


async def test_nothing_is_kept_of_those_who_are_gone() -> None:
    hints = Hints()
    with hints.watching("s"), hints.watching("s"):
        pass
    assert hints._watches == {}
