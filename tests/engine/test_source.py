from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from millstream.engine.source import AsyncSource, SyncSource, source_of


class Result:
    """An iterable that has to be closed, as a query's result is."""

    def __init__(self, *items: int) -> None:
        self.items = items
        self.started = 0
        self.closed = 0

    def __iter__(self) -> Iterator[int]:
        self.started += 1
        return iter(self.items)

    def close(self) -> None:
        self.closed += 1


class AsyncResult:
    """An asynchronous iterator that is no generator."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.number = 0
        self.closed = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        if self.number == self.last:
            raise StopAsyncIteration
        self.number += 1
        return self.number

    async def aclose(self) -> None:
        self.closed += 1


class Feed:
    """An asynchronous iterable, each time anew."""

    def __aiter__(self) -> AsyncIterator[int]:
        return self.steps()

    async def steps(self) -> AsyncIterator[int]:
        for number in (1, 2):
            yield number


def counting(log: list[str]) -> Iterator[int]:
    log.append("started")
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")


async def acounting(log: list[str]) -> AsyncIterator[int]:
    log.append("started")
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")


def sync(produced: object) -> SyncSource:
    source = source_of(produced)
    assert isinstance(source, SyncSource)
    return source


def asynchronous(produced: object) -> AsyncSource:
    source = source_of(produced)
    assert isinstance(source, AsyncSource)
    return source


@pytest.mark.parametrize("produced", [None, 3, object(), len, int, 1.5])
def test_what_cannot_be_iterated_is_no_source(produced: object) -> None:
    assert source_of(produced) is None


@pytest.mark.parametrize(
    "make",
    [lambda: [1, 2], lambda: (1, 2), lambda: iter([1, 2]), lambda: (n for n in (1, 2)), lambda: Result(1, 2)],
)
def test_anything_that_can_be_iterated_is_pulled(make: Callable[[], Any]) -> None:
    assert list(sync(make()).iterator) == [1, 2]


@pytest.mark.parametrize("make", [lambda: acounting([]), Feed, lambda: AsyncResult(2)])
async def test_anything_that_can_be_iterated_asynchronously_is_pulled(make: Callable[[], Any]) -> None:
    assert [item async for item in asynchronous(make()).generator] == [1, 2]


def test_an_iterables_work_begins_when_it_is_pulled_and_not_before() -> None:
    result = Result(1)
    source = sync(result)
    assert result.started < 1
    next(source.iterator)
    assert result.started == 1


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_generator_is_closed_wherever_it_stands(steps: int) -> None:
    log: list[str] = []
    source = sync(counting(log))
    for _ in range(steps):
        next(source.iterator)
    source.close()
    assert log == (["started", "closed"] if steps else [])
    assert next(source.iterator, None) is None


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_an_asynchronous_generator_is_closed_wherever_it_stands(steps: int) -> None:
    log: list[str] = []
    source = asynchronous(acounting(log))
    for _ in range(steps):
        await anext(source.generator)
    await source.close()
    assert log == (["started", "closed"] if steps else [])
    assert await anext(source.generator, None) is None


@pytest.mark.parametrize("steps", [0, 1])
def test_what_was_returned_is_closed_once_started_or_not(steps: int) -> None:
    result = Result(1, 2)
    source = sync(result)
    for _ in range(steps):
        next(source.iterator)
    source.close()
    assert result.closed == 1


def test_what_was_returned_is_closed_even_when_its_iterator_refuses() -> None:
    class Stubborn(Result):
        def __iter__(self) -> Iterator[int]:
            try:
                yield 1
            finally:
                raise OSError("the cursor is broken")

    result = Stubborn()
    source = sync(result)
    next(source.iterator)
    with pytest.raises(OSError, match="the cursor is broken"):
        source.close()
    assert result.closed == 1


def test_a_list_needs_no_closing() -> None:
    sync([1]).close()


def test_a_file_is_pulled_by_lines_and_closed(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nb\n")
    with contextlib.closing((tmp_path / "lines").open()) as file:
        source = sync(file)
        assert next(source.iterator) == "a\n"
        source.close()
        assert file.closed


async def test_an_asynchronous_iterator_is_closed_in_the_midst() -> None:
    result = AsyncResult(3)
    source = asynchronous(result)
    await anext(source.generator)
    await source.close()
    assert result.closed == 1


class Response:
    """An asynchronous iterable that has to be closed itself, as the response of an HTTP client."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def __aiter__(self) -> AsyncIterator[int]:
        return acounting([])


class ClosedAtOnce(Response):
    def close(self) -> None:
        self.closed.append("close")


class ClosedInTime(Response):
    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed.append("close")


class ClosedByEither(ClosedAtOnce):
    async def aclose(self) -> None:
        self.closed.append("aclose")


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(
    ("kind", "closed"), [(ClosedAtOnce, "close"), (ClosedInTime, "close"), (ClosedByEither, "aclose")]
)
async def test_an_asynchronous_iterable_is_itself_closed_once_started_or_not(
    kind: type[Response], closed: str, steps: int
) -> None:
    response = kind()
    source = asynchronous(response)
    for _ in range(steps):
        await anext(source.generator, None)
    await source.close()
    assert response.closed == [closed]


@pytest.mark.parametrize("steps", [0, 1, 4])
async def test_an_asynchronous_iterator_is_closed_once_started_or_not(steps: int) -> None:
    result = AsyncResult(3)
    source = asynchronous(result)
    for _ in range(steps):
        await anext(source.generator, None)
    await source.close()
    assert result.closed == 1


async def test_an_asynchronous_iterator_that_cannot_be_closed_is_left_alone() -> None:
    class Plain:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> int:
            return 1

    source = asynchronous(Plain())
    assert await anext(source.generator) == 1
    await source.close()
