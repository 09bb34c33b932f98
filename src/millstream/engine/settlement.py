"""Settlement: all units of work commit, or all abort.

Prepare all, then commit all: what can fail should fail while everything can still be undone. A unit
whose `commit` raises after another's succeeded cannot be undone by anybody; the rest abort and the
error goes up, so that the body at least does not end well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from millstream.protocol.ports import Call, UnitOfWork

_LOG: Final = logging.getLogger("millstream")


async def commit(units: Sequence[UnitOfWork], call: Call) -> None:
    """Prepare and commit, in the order the units began.

    A unit may join while the others vote; then it votes, too.

    Raises:
        Exception: whatever a unit raised; every unit that had not committed was then aborted.
    """
    committed = 0
    try:
        for unit in units:
            await call(unit.prepare)
        for unit in units:
            await call(unit.commit)
            committed += 1
    except BaseException:
        await abort(units[committed:], call)
        raise


async def rest(units: Sequence[UnitOfWork], call: Call) -> None:
    """Let all give back what they do not need for now."""
    for unit in units:
        await call(unit.rest)


async def abort(units: Sequence[UnitOfWork], call: Call) -> None:
    """Abort all, whatever one of them says."""
    await _each([unit.abort for unit in units], call)


async def close(units: Sequence[UnitOfWork], call: Call) -> None:
    """Close all in reverse, whatever one of them says."""
    await _each([unit.close for unit in reversed(units)], call)


async def _each(steps: Sequence[object], call: Call) -> None:
    """Take all steps: one that fails, or is cancelled, must not keep the others from being taken."""
    cancelled: BaseException | None = None
    for step in steps:
        try:
            await call(step)
        except Exception:  # noqa: BLE001  it is logged, and the end stands already
            _LOG.exception("a participant failed while it was given up: %r", step)
        except BaseException as raised:  # noqa: BLE001  raised again, once everything is given up
            cancelled = raised
    if cancelled is not None:
        raise cancelled
