"""Rows by batches, where source and codec both can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.codecs.arrow import Arrow
from millstream.codecs.arrowrows import ArrowRows
from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.sse import Sse
from millstream.codecs.xml import Xml
from millstream.engine.batches import Batches, batches_of, taken_apart
from millstream.engine.buffer import Outbox
from millstream.engine.holding import holding_of
from millstream.engine.source import source_of
from millstream.errors import ControllerError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Dialect, JsonLines, RecordBatches, Written
from millstream.protocol.ports import ManyRows


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


class Writing(Rows):
    """A source that writes JSON lines, and Arrow, but no CSV."""

    def written(
        self, dialect_of: Callable[[tuple[Column, ...]], Dialect | None]
    ) -> Generator[Sequence[Sequence[Any]] | Written, None, None]:
        self.columns = (Column("x", int),)
        match dialect_of(self.columns):
            case JsonLines(end):
                yield Written(b'{"x":1}' + end + b'{"x":2}' + end, 2)
                yield Written(b"", 0)
            case RecordBatches(schema):
                yield Written(pa.record_batch([pa.array([1, 2])], schema=schema), 2)
                yield [(3,)]
            case _:
                yield from self.batches()


def bodies(source: Rows, encoder: Any) -> tuple[Batches, bytes]:
    found = source_of(source)
    assert found is not None
    batches = batches_of(found, encoder)
    assert batches is not None
    pieces = [encoder.head(), *map(batches.encode, batches.source.iterator), encoder.tail()]
    return batches, b"".join(pieces)


def test_what_the_source_has_written_passes_and_its_rows_are_counted() -> None:
    source = Writing()
    batches, body = bodies(source, Ndjson(action="a", charset="utf-8"))
    assert body == b'{"x":1}\n{"x":2}\n'
    assert batches.more == 0  # two rows in two batches
    assert source.taken == [(2, 16), (0, 0)]


def test_an_array_has_its_commas_between_what_was_written() -> None:
    assert bodies(Writing(), Json(action="a", charset="utf-8"))[1] == b'[{"x":1},\n{"x":2}]'


def test_record_batches_go_to_the_encoder_that_takes_them_and_rows_may_follow() -> None:
    _, body = bodies(Writing(), Arrow(action="a", charset="utf-8"))
    assert pa.ipc.open_stream(body).read_all().to_pydict() == {"x": [1, 2, 3]}


def test_a_source_that_cannot_write_what_is_wanted_gives_rows() -> None:
    assert bodies(Writing(), Csv(action="a", charset="utf-8", fields=["x"]))[1] == b"x\r\n1\r\n2\r\n3\r\n"


@pytest.mark.parametrize("make", [Csv, Json, Ndjson, Xml, Sse])
def test_rows_before_one_that_cannot_be_written_leave_first_and_are_counted(make: type[Codec]) -> None:
    class Mixed(Rows):
        def batches(self) -> Generator[Sequence[Sequence[Any]], None, None]:
            self.columns = (Column("x"), Column("y"))
            yield [(1, 2), (3, 4)]
            yield [(5, 6), (7, 8), (9, object()), (10, 11)]

    encoder = make(action="a", charset="utf-8")
    found = source_of(Mixed())
    assert found is not None
    batches = batches_of(found, encoder)
    assert batches is not None
    pieces = [batches.encode(next(batches.source.iterator)) for _ in range(2)]
    with pytest.raises(WrongItem):
        next(batches.source.iterator)
    alone = make(action="a", charset="utf-8")
    assert b"".join(pieces) == b"".join([alone.item({"x": x, "y": x + 1}) for x in (1, 3, 5, 7)])
    assert len(pieces) + batches.more == 4


def test_an_encoder_that_takes_rows_alone_is_given_rows() -> None:
    class Sizes:
        def rows(self, _: object) -> Callable[[Sequence[object]], bytes]:
            return lambda batch: b"%d" % len(batch)

        def head(self) -> bytes:
            return b""

        tail = head

    assert bodies(Writing(), Sizes())[1] == b"21"


def test_rows_that_an_encoder_holds_back_are_weighed_when_it_lets_go_of_them() -> None:
    class Holding:
        def rows(self, _: object) -> Callable[[Sequence[object]], bytes]:
            pieces = iter([b"", b"12345"])
            return lambda _: next(pieces)

        def head(self) -> bytes:
            return b""

        tail = head

    source = Rows()
    bodies(source, Holding())
    assert source.taken == [(2, 0), (3, 5)]


def test_an_item_that_has_rows_is_pulled_by_batches_where_those_are_there() -> None:
    rows = Rows()
    source, encode = taken_apart(ManyRows(rows), Ndjson(action="a", charset="utf-8"), None)
    assert list(map(encode, source.iterator)) == [b'{"x":1}\n{"x":2}\n', b'{"x":3}\n']
    source.close()
    assert rows.closed == 1


def test_an_item_that_has_rows_is_pulled_row_by_row_else() -> None:
    source, encode = taken_apart(ManyRows([{"x": 1}]), Ndjson(action="a", charset="utf-8"), None)
    assert list(map(encode, source.iterator)) == [b'{"x":1}\n']


def test_asynchronous_rows_of_an_item_are_refused() -> None:
    async def rows() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ControllerError, match="iterate over them, and yield each"):
        taken_apart(ManyRows(rows()), Ndjson(action="a", charset="utf-8"), None)  # type: ignore[arg-type]  # that is the case


def test_rows_of_an_item_are_held_back_as_other_items_are() -> None:
    encoder = Arrow(action="a", charset="utf-8")
    holding = holding_of(encoder.item, encoder, Outbox(1))
    source, encode = taken_apart(ManyRows([{"x": 1}]), encoder, holding)
    assert holding is not None
    assert [encode(row) for row in source.iterator] == [b""]
    assert holding.holds


def test_record_batches_of_a_source_go_to_an_encoder_that_takes_them() -> None:
    table = pa.table({"x": pa.array([1, 2], pa.int8())})
    source = source_of(ArrowRows(table))
    assert source is not None
    encoder = Arrow(action="a", charset="utf-8")
    batches = batches_of(source, encoder)
    assert batches is not None
    body = b"".join([*map(batches.encode, batches.source.iterator), encoder.tail()])
    assert pa.ipc.open_stream(body).read_all().equals(table)
