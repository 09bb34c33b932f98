"""What was raised, told apart: not every exception is a failure, not every cancellation meant for us."""

from __future__ import annotations

import asyncio
from typing import Final

from millstream.errors import HTTPError


def no_failure(raised: HTTPError) -> HTTPError:
    """A redirect is a result like others: its transaction commits, its cookies are set.

    Raises:
        HTTPError: the same, when it is a failure.
    """
    if raised.status >= FIRST_FAILURE:
        raise raised
    return raised


def unless_ours(raised: BaseException) -> BaseException:
    """A cancellation that nobody asked of this task came out of what the author awaited: a failure."""
    task = asyncio.current_task()
    if not isinstance(raised, asyncio.CancelledError) or task is None or task.cancelling():
        return raised
    failure = RuntimeError("something that the action awaited was cancelled")
    failure.__cause__ = raised
    return failure


FIRST_FAILURE: Final = 400
