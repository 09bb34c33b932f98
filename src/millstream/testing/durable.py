"""The check of a log's contract, for whoever writes an engine.

A check runs in any test; what is broken is an `AssertionError` that says so in one sentence::

    async def test_my_engine_keeps_the_contract(tmp_path):
        await check_log(lambda: MyEngine(tmp_path / "streams"))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from millstream.durable.log import Log
from millstream.testing import log_appends, log_crowds, log_lives, log_nodes, log_restores
from millstream.testing.log_restores import Save
from millstream.testing.log_streams import (
    Clock,
    MakeEngine,
    Streams,
)

__all__ = ["Clock", "check_log"]


async def check_log(
    engine: MakeEngine, *, keeps: bool = True, shared: bool = True, save: Save | None = None
) -> None:
    """Check that a log over an engine keeps its contract.

    Args:
        engine: makes an engine over the same storage each time; what is stored there already does no harm.
        keeps: whether another engine, made after this one was closed, finds what was stored.
        shared: whether two engines may be open over the storage at once.
        save: keeps the state that the storage has now, and returns what gives it that state back later, under
            the engines that are open. Storage whose state is lost with the process needs none.

    Raises:
        AssertionError: when the contract is broken.
    """
    for check in (*log_appends.CHECKS, *log_crowds.CHECKS, *log_lives.CHECKS):
        with _in_one_sentence(check):
            clock = Clock()
            async with Log(engine(), clock=clock) as log:
                await check(Streams(log, clock))
    for check_nodes in (*(log_nodes.KEPT if keeps else ()), *(log_nodes.SHARED if shared else ())):
        with _in_one_sentence(check_nodes):
            await check_nodes(engine)
    if save is not None:
        for check_restore in log_restores.CHECKS:
            with _in_one_sentence(check_restore):
                await check_restore(engine, save)


@contextmanager
def _in_one_sentence(check: Callable[..., Awaitable[None]]) -> Iterator[None]:
    """What a check did not expect is broken, too: its name says what was to be."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        promise = check.__name__.replace("_", " ").strip()
        raise AssertionError(f"it is promised that {promise}; instead, there was {error!r}") from error
