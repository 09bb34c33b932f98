"""Stepping: awaitables that were begun by hand, and are gone on with by a task.

`send(None)` says more than `await` does: whether an awaitable had to wait at all.
"""

from __future__ import annotations

from collections.abc import Generator
from types import coroutine
from typing import Any


@coroutine
def go_on(pending: Any, suspended_on: Any) -> Generator[Any, Any, Any]:
    """Await an awaitable that was already started and suspended."""
    try:
        while True:
            try:
                sent = yield suspended_on
            except BaseException as told:  # noqa: BLE001  whatever the task is told goes to the producer
                suspended_on = pending.throw(told)
            else:
                suspended_on = pending.send(sent)
    except StopIteration as produced:
        return produced.value
