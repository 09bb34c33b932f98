"""What was raised, told apart: not every exception is a failure, not every cancellation meant for us."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.exceptions import HTTPException

from millstream.errors import HTTPError
from millstream.web.problems import error_of


def redirect_of(raised: Exception) -> HTTPError | None:
    """A status that leads elsewhere: no failure, and no other exception is one."""
    if not isinstance(raised, RAISED):
        return None
    error = error_of(raised)
    return error if FIRST_ELSEWHERE <= error.status < FIRST_FAILURE else None


def no_failure(raised: HTTPError | HTTPException) -> HTTPError:
    """A redirect is a result like others: its transaction commits, its cookies are set.

    Raises:
        HTTPError: the same, or Starlette's, when it is a failure.
    """
    if (elsewhere := redirect_of(raised)) is None:
        raise raised
    return elsewhere


def unless_ours(raised: BaseException) -> BaseException:
    """A cancellation that nobody asked of this task came out of what the author awaited: a failure."""
    task = asyncio.current_task()
    if not isinstance(raised, asyncio.CancelledError) or task is None or task.cancelling():
        return raised
    failure = RuntimeError("something that the action awaited was cancelled")
    failure.__cause__ = raised
    return failure


RAISED: Final = (HTTPError, HTTPException)
"""What says a status by being raised."""

FIRST_ELSEWHERE: Final = 300
FIRST_FAILURE: Final = 400
