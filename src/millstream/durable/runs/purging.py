"""Purging: a run is forgotten before its time, so that its key is free."""

from __future__ import annotations

from millstream.durable.log import Log
from millstream.durable.refusals import LogRefused
from millstream.durable.runs.names import stream_of
from millstream.durable.runs.remembered import forget


async def purge(log: Log, run: str) -> bool:
    """Forget a run and its request, whether it has ended or not; False when there is none of that id."""
    try:
        state = await log.describe(stream_of(run))
        await log.delete(state.name)
    except LogRefused:
        return False
    await forget(log, state)
    return True
