from __future__ import annotations

import asyncio

import pytest

from millstream.errors import HTTPError, HTTPRedirect
from millstream.pipeline.raised import no_failure, unless_ours


@pytest.mark.parametrize("error", [HTTPRedirect("/"), HTTPError(304), HTTPError(399)])
def test_a_status_that_is_no_failure_is_a_result(error: HTTPError) -> None:
    assert no_failure(error) is error


@pytest.mark.parametrize("error", [HTTPError(400), HTTPError(404), HTTPError(500)])
def test_a_failure_stays_one(error: HTTPError) -> None:
    with pytest.raises(HTTPError) as raised:
        no_failure(error)
    assert raised.value is error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), HTTPError(404)])
async def test_what_is_no_cancellation_stays_what_it_is(error: BaseException) -> None:
    assert unless_ours(error) is error


async def test_a_cancellation_of_this_task_stays_one() -> None:
    async def visit() -> BaseException:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as raised:
            return unless_ours(raised)
        raise AssertionError

    task = asyncio.create_task(visit())
    await asyncio.sleep(0)
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)


async def test_a_cancellation_of_something_else_is_a_failure_that_says_so() -> None:
    other = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    other.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await other
    failure = unless_ours(raised.value)
    assert isinstance(failure, RuntimeError)
    assert failure.__cause__ is raised.value


def test_without_a_task_nothing_is_told_apart() -> None:
    async def no_task() -> None:
        loop = asyncio.get_running_loop()
        cancelled = asyncio.CancelledError()
        seen: asyncio.Future[BaseException] = loop.create_future()
        loop.call_soon(lambda: seen.set_result(unless_ours(cancelled)))
        assert await seen is cancelled

    asyncio.run(no_task())
