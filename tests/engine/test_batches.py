"""Rows by batches, where source and codec both can."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from millstream.codecs.ndjson import Ndjson
from millstream.engine.batches import batches_of
from millstream.engine.source import source_of
from millstream.protocol.columns import Column


class Rows:
    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.taken: list[tuple[int, int]] = []
        self.closed = 0

    def batches(self) -> Generator[Sequence[Sequence[Any]], None, None]:
        self.columns = (Column("x"),)  # known with the first batch, and not before
        yield [(1,), (2,)]
        yield [(3,)]

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("row by row, where there are batches")

    def took(self, rows: int, size: int) -> None:
        self.taken.append((rows, size))

    def close(self) -> None:
        self.closed += 1


def test_a_batch_is_encoded_at_once_and_its_rows_are_counted() -> None:
    rows = Rows()
    source = source_of(rows)
    assert source is not None
    batches = batches_of(source, Ndjson(action="a", charset="utf-8"))
    assert batches is not None
    assert list(map(batches.encode, batches.source.iterator)) == [b'{"x":1}\n{"x":2}\n', b'{"x":3}\n']
    assert batches.more == 1  # three rows in two batches
    assert rows.taken == [(2, 16), (1, 8)]


def test_the_source_of_batches_is_closed_as_any_other() -> None:
    rows = Rows()
    source = source_of(rows)
    assert source is not None
    batches = batches_of(source, Ndjson(action="a", charset="utf-8"))
    assert batches is not None
    batches.source.close()
    assert rows.closed == 1


def test_other_sources_and_codecs_go_item_by_item() -> None:
    numbers, rows = source_of([1, 2]), source_of(Rows())
    assert numbers is not None
    assert rows is not None
    assert batches_of(numbers, Ndjson(action="a", charset="utf-8")) is None
    plain: Any = type("Plain", (), {"item": bytes})()
    assert batches_of(rows, plain) is None
