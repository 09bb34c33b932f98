from __future__ import annotations

import asyncio

from millstream.engine.loops import one_for_each_loop


class Made:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop


def test_a_loop_has_its_own_as_long_as_it_is_the_last_that_asked() -> None:
    of = one_for_each_loop(Made)
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    first = of(one)
    assert of(one) is first
    assert of(other).loop is other
    assert of(one) is not first
    one.close()
    other.close()
