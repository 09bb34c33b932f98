from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.codecs import recordbatches
from millstream.codecs.arrow import Arrow
from millstream.errors import WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.events import Reason
from millstream.protocol.ports import Batches, EncodesArrow
from millstream.testing.contracts import check_codec

Rows = list[dict[str, Any]]
Comparable = Callable[[Any], Rows]


def codec(*columns: Column, **options: Any) -> Arrow:
    made = Arrow(action="Root.rows", charset="utf-8", **options)
    if columns:
        made.declare(columns)
    return made


def body_of(encoder: Arrow, rows: Rows) -> bytes:
    return b"".join([encoder.head(), *map(encoder.item, rows), encoder.tail()])


def read(body: bytes) -> Rows:
    rows: Rows = pa.ipc.open_stream(body).read_all().to_pylist()
    return rows


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row leaves because of the time."""
    monkeypatch.setattr(recordbatches, "LATENCY", float("inf"))


def test_arrow_keeps_the_contract(patient: None) -> None:
    check_codec(Arrow, [{"a": 1, "b": "é"}, {"a": None, "b": ""}, {"a": 3, "b": "\n"}], read=read)


def test_pyarrow_reads_every_value_of_undeclared_rows(
    hard_rows: Rows, expected_rows: Rows, comparable: Comparable
) -> None:
    assert comparable(read(body_of(codec(), hard_rows))) == comparable(expected_rows)


def test_pyarrow_and_polars_read_every_value_of_declared_rows(
    hard_rows: Rows, expected_rows: Rows, declared: tuple[Column, ...], comparable: Comparable
) -> None:
    body = body_of(codec(*declared), hard_rows)
    assert comparable(read(body)) == comparable(expected_rows)
    assert comparable(pl.read_ipc_stream(BytesIO(body)).to_dicts()) == comparable(expected_rows)


def test_duckdb_reads_the_same_values(hard_rows: Rows, expected_rows: Rows) -> None:
    table = pa.ipc.open_stream(body_of(codec(), hard_rows)).read_all()
    names = [name for name in table.column_names if name not in ("number", "moment")]
    found = duckdb.from_arrow(table).select(*names).fetchall()
    assert found == [tuple(row[name] for name in names) for row in expected_rows]


def test_a_schema_says_the_declared_types(hard_rows: Rows, declared: tuple[Column, ...]) -> None:
    schema = pa.ipc.open_stream(body_of(codec(*declared), hard_rows)).schema
    types = {field.name: str(field.type) for field in schema}
    assert types["small"] == "int16"
    assert types["exact"] == "decimal128(12, 2)"
    assert types["moment"] == "timestamp[us, tz=UTC]"
    assert types["reading"] == "timestamp[us]"


def test_an_empty_stream_has_the_declared_schema_and_no_rows() -> None:
    table = pa.ipc.open_stream(body_of(codec(Column("a", int), Column("b")), [])).read_all()
    assert (table.num_rows, table.schema) == (0, pa.schema([("a", pa.int64()), ("b", pa.utf8())]))


def test_an_empty_stream_of_unknown_rows_is_a_valid_stream() -> None:
    assert read(body_of(codec(), [])) == []


def test_a_declared_row_leaves_at_once() -> None:
    encoder = codec(Column("a", int))
    first = encoder.item({"a": 1})
    assert read(first + encoder.tail()) == [{"a": 1}]
    assert pa.ipc.open_stream(first).read_next_batch().to_pylist() == [{"a": 1}]


def test_rows_that_wait_leave_when_they_pause(patient: None) -> None:
    encoder = codec()
    assert isinstance(encoder, Batches)
    assert [encoder.item({"a": number}) for number in range(3)] == [b"", b"", b""]
    stream = pa.ipc.open_stream(encoder.flush())
    assert stream.read_next_batch().num_rows == 3
    assert encoder.flush() == b""


@pytest.mark.parametrize("columns", [(), (Column("a", int),)])
def test_a_pause_before_the_first_row_settles_nothing(columns: tuple[Column, ...]) -> None:
    encoder = codec(*columns)
    assert encoder.flush() == b""
    assert read(encoder.item({"a": 1}) + encoder.tail()) == [{"a": 1}]


def test_rows_that_come_slowly_leave_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordbatches, "LATENCY", 0.0)
    encoder = codec(Column("a", int))
    assert all(encoder.item({"a": number}) for number in range(3))


def test_many_rows_leave_as_a_few_messages(patient: None) -> None:
    encoder = codec(Column("a", int))
    chunks = [encoder.item({"a": number}) for number in range(20_000)]
    batches = list(pa.ipc.open_stream(b"".join([*chunks, encoder.tail()])))
    assert [batch.num_rows for batch in batches] == [1, 8192, 8192, 3615]
    assert sum(map(bool, chunks)) == 3


def test_heavy_rows_are_not_gathered(patient: None) -> None:
    encoder = codec(Column("a", str))
    sent = sum(len(encoder.item({"a": "x" * 100_000})) for _ in range(1000))
    assert sent > 90_000_000


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_a_body_that_is_cut_off_between_two_messages_cannot_be_read(count: int) -> None:
    encoder = codec(Column("a", int))
    cut = b"".join([encoder.head(), *(encoder.item({"a": n}) + encoder.flush() for n in range(count))])
    with pytest.raises(pa.ArrowInvalid):
        read(cut)
    assert len(read(cut + encoder.tail())) == count


def test_polars_notices_a_body_that_was_cut_off() -> None:
    with pytest.raises(OSError, match="fill whole buffer"):
        pl.read_ipc_stream(BytesIO(codec(Column("a", int)).item({"a": 1})))


@pytest.mark.parametrize("words", [lambda e: e.failed({"status": 500}), lambda e: e.goodbye(Reason.STOPPED)])
def test_last_words_bring_the_rows_that_waited(words: Callable[[Arrow], bytes], patient: None) -> None:
    encoder = codec()
    encoder.item({"a": 1})
    encoder.item({"a": 2})
    body = words(encoder)
    assert pa.ipc.open_stream(body).read_next_batch().to_pylist() == [{"a": 1}, {"a": 2}]
    with pytest.raises(pa.ArrowInvalid):
        read(body)


def test_a_row_that_does_not_fit_is_named_and_those_before_it_leave(patient: None) -> None:
    encoder = codec()
    sent = b"".join(encoder.item({"a": number}) for number in range(9000))
    encoder.item({"a": "x"})
    with pytest.raises(WrongItem, match=r"in row 9001, the column 'a' holds the str 'x', .* int64"):
        encoder.tail()
    stream = pa.ipc.open_stream(sent + encoder.failed({}))
    assert sum(stream.read_next_batch().num_rows for _ in range(2)) == 9000


def test_last_words_do_not_fail_with_a_row_that_waited(patient: None) -> None:
    encoder = codec()
    encoder.item({"a": 1})
    encoder.item({"a": "x"})
    encoder.item({"a": {1j}})
    assert encoder.failed({}) == b""


def test_a_first_row_that_cannot_be_written_is_refused_at_once() -> None:
    with pytest.raises(WrongItem, match="in row 1, the column 'a' holds the str 'x'"):
        codec(Column("a", int)).item({"a": "x"})


def test_a_batch_of_rows_is_a_message() -> None:
    encoder = codec()
    encode = encoder.rows((Column("a", int), Column("b", str)))
    chunks = [encode([]), encode([(1, "x"), (2, None)]), encode([(3, "y")]), encoder.tail()]
    assert [batch.num_rows for batch in pa.ipc.open_stream(b"".join(chunks))] == [2, 1]


def test_what_a_query_knows_completes_what_is_declared() -> None:
    encoder = codec(Column("a", int), Column("b"))
    encode = encoder.rows((Column("a", int, bits=16), Column("b", float)))
    schema = pa.ipc.open_stream(encode([(1, 2)]) + encoder.tail()).schema
    assert schema == pa.schema([("a", pa.int16()), ("b", pa.float64())])


def test_batches_with_other_columns_are_taken_by_name() -> None:
    encoder = codec(fields=["b", "a"])
    chunks = [encoder.rows((Column("a"), Column("b")))([(1, 2)]), encoder.tail()]
    assert read(b"".join(chunks)) == [{"b": 2, "a": 1}]


def test_record_batches_are_passed_on() -> None:
    encoder = codec()
    assert isinstance(encoder, EncodesArrow)
    batch = pa.record_batch({"a": [1, 2], "b": pa.array(["x", "x"]).dictionary_encode()})
    chunks = [*map(encoder.record_batches(batch.schema), [batch[:0], batch]), encoder.tail()]
    assert read(b"".join(chunks)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    assert chunks[1]


def test_record_batches_have_the_settled_columns_in_their_order() -> None:
    encoder, batch = codec(fields=["b", "a"]), pa.record_batch({"a": [1], "b": ["x"]})
    body = encoder.record_batches(batch.schema)(batch) + encoder.tail()
    assert pa.ipc.open_stream(body).read_all().to_pydict() == {"b": ["x"], "a": [1]}


@pytest.mark.parametrize("names", [["a", "a"], ["a", "c"], ["a"]])
def test_record_batches_with_other_columns_are_refused(names: list[str]) -> None:
    with pytest.raises(WrongItem, match=r"two columns named 'a'|are not a, b"):
        codec(fields=["a", "b"]).record_batches(pa.schema([(name, pa.int8()) for name in names]))


def test_record_batches_without_a_row_leave_their_schema() -> None:
    encoder = codec()
    schema = pa.schema([("a", pa.int8())])
    encoder.record_batches(schema)
    assert pa.ipc.open_stream(encoder.tail()).read_all().schema == schema


@dataclass
class Point:
    x: int
    y: int


def test_rows_of_several_classes_fill_one_table() -> None:
    rows: list[Any] = [Point(1, 2), {"x": 3, "y": 4}, {"y": 6}]
    assert read(body_of(codec(), rows)) == [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": None, "y": 6}]


def nested(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize("levels", [32, 33, 500])
def test_lists_are_nested_as_deep_as_readers_go_and_then_text(levels: int) -> None:
    (row,) = read(body_of(codec(), [{"a": nested(levels)}]))
    assert row["a"] == (nested(levels) if levels == 32 else "[" * levels + "1" + "]" * levels)


def test_lists_that_nobody_can_write_are_refused_with_their_row() -> None:
    with pytest.raises(WrongItem, match="in row 1, the column 'a' holds the list "):
        codec().item({"a": nested(5000)})
