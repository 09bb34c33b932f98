"""Weaving: what SQLite writes is, to the byte, what single rows become."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError

from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.database import Database
from millstream.engine.batches import batches_of
from millstream.engine.source import source_of
from millstream.errors import WrongItem
from millstream.protocol.dialects import Written

LOOSE = Table(
    "loose",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("n", Integer),
    Column("a", String),
    Column("b", String),
    Column("o\"d, %'", String),
    Column("x", Float),
    Column("amount", Numeric(12, 2)),
    Column("at", DateTime),
    Column("yes", Boolean),
    Column("data", LargeBinary),
    Column("any", JSON),
)
"""As SQLAlchemy sees it; in SQLite, its columns take whatever comes."""

PLAINLY_WRITTEN = select(*LOOSE.c[:5]).order_by(LOOSE.c.id)
WOVEN = select(*LOOSE.c["id", "n", "a", "b", "o\"d, %'", "x", "amount", "at", "yes"]).order_by(LOOSE.c.id)
OTHERS = select(*LOOSE.c["id", "n", "a", "b", "data", "any"]).order_by(LOOSE.c.id)
ONE_WOVEN = {
    name: select(*LOOSE.c["id", "n", "a", name, "b"]).order_by(LOOSE.c.id)
    for name in ("x", "amount", "at", "yes", "data", "any")
}
QUERIES = {"plain": PLAINLY_WRITTEN, "woven": WOVEN, "others": OTHERS, **ONE_WOVEN}
CODECS: dict[str, Callable[[], Csv | Ndjson | Json]] = {
    "csv": lambda: Csv(action="a", charset="utf-8"),
    "semicolons": lambda: Csv(action="a", charset="utf-8", delimiter=";"),
    "tabs": lambda: Csv(action="a", charset="utf-8", delimiter="\t"),
    "ndjson": lambda: Ndjson(action="a", charset="utf-8"),
    "json": lambda: Json(action="a", charset="utf-8"),
}
USUAL: dict[str, Any] = dict.fromkeys(LOOSE.c.keys()[1:]) | {
    "n": 7,
    "a": "text",
    "b": "more text",
    "x": 0.1,
    "amount": 1.5,
    "at": "2026-01-02 03:04:05.000000",
    "yes": 1,
    "data": b"\x00\xff",
    "any": '{"a": [1]}',
}
HARD: list[tuple[str, Any]] = [
    *(
        ("n", each)
        for each in (None, -(2**63), 2**63 - 1, "text", "", "1,2", 1.5, 1e300, math.inf, -math.inf)
    ),
    *(("n", each) for each in (-0.0, 1e15, 0.1 + 0.2, b"", b"\x00", b"\x0b")),
    *(
        ("a", each)
        for each in (None, "", " ", "null", ",null", "[null", "]", "[", "1.5", "Inf", "NaN", "true")
    ),
    *(
        ("a", each)
        for each in ("a,b", "a;b", 'say "x"', "\\", "\\N", '\\"', "'", "%", "%s", "%%", "\x7f", '"\x7f"')
    ),
    *(
        ("a", each)
        for each in (
            "line\nfeed",
            "a\rb",
            "a\tb",
            "\0",
            "a\0b",
            "\x1f",
            "\u2028",
            "ü",
            "\U0001f600",
            "\ufeff",
        )
    ),
    *(
        ("a", each)
        for each in ("1.5,x", "1.5}", "Inf,", "Inf]", "]\n[", '"', '""', "</script>", "\ud7ff", "x" * 9999)
    ),
    *(("a", each) for each in (5, 2.5, 1e22, b"text", b'{"a": 1}', b"\xff")),
    *(("b", each) for each in ("1.5", 1.5, "1.5,2", "\x7f", None)),
    *(("o\"d, %'", each) for each in ("x", "", "a,b", 1, 1.5, b"x")),
    *(
        ("x", each)
        for each in (None, 1, 1e16, 1e-7, 123456789.125, math.inf, -math.inf, -0.0, "text", "a,b", b"x")
    ),
    *(("amount", each) for each in (None, 1, 0.125, 0.375, -0.001, 1e20, 1e300, 0.005, 1.005, math.inf)),
    *(
        ("at", each)
        for each in (None, "2026-01-02 03:04:05", "2026-01-02 03:04:05.5", "2026-01-02 03:04:05.000600")
    ),
    *(("at", each) for each in ("2026-02-30 00:00:00.000000", "2026-01-02", "no moment", "")),
    *(("yes", each) for each in (None, 0, 1, 5, "text", "")),
    *(("data", each) for each in (None, b"", "text", 5)),
    *(("any", each) for each in (None, "null", '"a,b"', '"line\\nfeed"', "1.50", "[1, NaN]", "no json")),
]


class Loose:
    """A database whose table holds anything, and what becomes of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "loose.db"
        names = ", ".join(
            '"' + column.name.replace('"', '""') + '"' for column in LOOSE.c if column.name != "id"
        )
        self.insert = f"insert into loose ({names}) values ({', '.join('?' * (len(LOOSE.c) - 1))})"  # noqa: S608  the names are ours
        with closing(sqlite3.connect(self.file)) as driver:
            driver.execute(f"create table loose (id integer primary key, {names})")
        self.database = Database(f"sqlite:///{self.file}")

    def hold(self, rows: list[dict[str, Any]]) -> None:
        with closing(sqlite3.connect(self.file)) as driver, driver:
            driver.execute("delete from loose")
            driver.executemany(self.insert, [tuple((USUAL | row).values()) for row in rows])

    def singly(self, query: Any, codec: Codec) -> bytes | type[Exception]:
        try:
            with self.database.engine.connect() as connection:
                body = b"".join(map(codec.item, connection.execute(query)))
            return codec.head() + body + codec.tail()
        except (DBAPIError, WrongItem, ValueError, TypeError) as error:
            return type(error)

    def in_batches(self, query: Any, codec: Codec, size: int = 2) -> tuple[bytes | type[Exception], int]:
        """Also how many of the batches SQLite has written."""
        source = source_of(self.database.rows(query, batch=size))
        assert source is not None
        batches = batches_of(source, codec)
        assert batches is not None
        head, body, written = codec.head(), b"", 0
        try:
            with closing(batches.source.iterator) as pulled:  # type: ignore[type-var]  # a generator
                for batch in pulled:
                    body += batches.encode(batch)
                    written += isinstance(batch, Written)
        except (DBAPIError, WrongItem, ValueError, TypeError) as error:
            return type(error), written
        return head + body + codec.tail(), written


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Loose:
    return Loose(tmp_path_factory.mktemp("loose"))


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(("name", "value"), HARD, ids=lambda each: ascii(each)[:20])
def test_what_sqlite_writes_is_what_single_rows_are(loose: Loose, make: Any, name: str, value: Any) -> None:
    loose.hold([{}] * 12 + [{name: value}] + [{}] * 5)
    for query in QUERIES.values():
        if name in query.selected_columns:
            assert loose.in_batches(query, make())[0] == loose.singly(query, make())


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(("name", "value"), HARD, ids=lambda each: ascii(each)[:20])
def test_what_was_hard_from_the_start_is_what_single_rows_are(
    loose: Loose, make: Any, name: str, value: Any
) -> None:
    loose.hold([{name: value}] * 12)
    found, _ = loose.in_batches(PLAINLY_WRITTEN, make())
    assert found == loose.singly(PLAINLY_WRITTEN, make())


CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.binary(max_size=5),
)
TEXTS = st.one_of(st.none(), st.text(st.sampled_from('a,;."\\\n\r\t\x7f[]n1Iü%'), max_size=6))


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"n": st.integers(0, 9) | CELLS, "a": TEXTS | CELLS, "b": TEXTS, "x": st.floats()}
        ),
        min_size=9,
        max_size=14,
    )
)
@settings(deadline=None, max_examples=60)
def test_whatever_the_cells_are_the_bytes_are_those_of_single_rows(
    loose: Loose, make: Any, rows: list[dict[str, Any]]
) -> None:
    loose.hold(rows)
    for query in (PLAINLY_WRITTEN, WOVEN, ONE_WOVEN["x"]):
        assert loose.in_batches(query, make())[0] == loose.singly(query, make())


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
def test_a_long_result_is_written_by_sqlite(loose: Loose, make: Any) -> None:
    loose.hold([{}] * 20)
    assert loose.in_batches(PLAINLY_WRITTEN, make())[1] == 6  # all but the first four batches


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("query", ONE_WOVEN.values(), ids=ONE_WOVEN)
def test_a_cell_that_sqlite_cannot_write_is_woven_in(loose: Loose, query: Any, make: Any) -> None:
    loose.hold([{}] * 20)
    found, written = loose.in_batches(query, make())
    assert (found, written) == (loose.singly(query, make()), 6)


def test_what_has_to_be_quoted_is_quoted_and_the_next_rows_are_written_again(loose: Loose) -> None:
    loose.hold([{}] * 12 + [{"a": 'say "x", twice'}] + [{}] * 5)
    assert loose.in_batches(PLAINLY_WRITTEN, CODECS["csv"]())[1] == 4
    assert loose.in_batches(PLAINLY_WRITTEN, CODECS["ndjson"]())[1] == 5


@pytest.mark.parametrize("value", [1.5, b"x"])
def test_rows_from_a_float_or_a_blob_on_are_read(loose: Loose, value: Any) -> None:
    loose.hold([{}] * 12 + [{"n": value}] + [{}] * 5)
    for make in CODECS.values():
        assert loose.in_batches(PLAINLY_WRITTEN, make())[1] == 2


NOT_TWICE = {
    "sorted": select(*LOOSE.c[:5]).order_by(LOOSE.c.a),
    "distinct": select(*LOOSE.c["n", "a", "b"]).distinct(),
    "random": select(*LOOSE.c[:5]).where(func.random() != 0),
    "now": select(*LOOSE.c[:5]).where(LOOSE.c.a != func.current_timestamp()),
    "too wide": select(*(LOOSE.c.n.label(f"n{at}") for at in range(200))),
    "hardly anything to write": select(LOOSE.c.n, LOOSE.c.x, LOOSE.c.yes, LOOSE.c.at),
}


@pytest.mark.parametrize("query", NOT_TWICE.values(), ids=NOT_TWICE)
def test_a_query_that_may_not_run_twice_is_read(loose: Loose, query: Any) -> None:
    loose.hold([{"a": f"text {number}"} for number in range(18)])
    found, written = loose.in_batches(query, CODECS["ndjson"]())
    assert (found, written) == (loose.singly(query, CODECS["ndjson"]()), 0)


TWICE = {
    "ordered": PLAINLY_WRITTEN,
    "limited": select(*LOOSE.c[:5]).order_by(LOOSE.c.id.desc()).limit(18),
    "filtered": select(*LOOSE.c[:5]).where(LOOSE.c.a.like("t%"), LOOSE.c.n.in_([7, 8])),
    "joined": select(*LOOSE.c[:5], (other := LOOSE.alias()).c.a.label("z")).join(
        other, other.c.id == LOOSE.c.id
    ),
    "calculated": select(*LOOSE.c[:5], (LOOSE.c.a + "!").label("s"), literal("it's ?:x").label("l")),
}


@pytest.mark.parametrize("query", TWICE.values(), ids=TWICE)
def test_a_query_that_gives_its_rows_as_it_finds_them_is_written(loose: Loose, query: Any) -> None:
    loose.hold([{"a": f"text {number}"} for number in range(18)])
    found, written = loose.in_batches(query, CODECS["ndjson"]())
    assert (found, written) == (loose.singly(query, CODECS["ndjson"]()), 5)


def test_written_rows_are_those_that_were_there_when_the_query_began(loose: Loose) -> None:
    loose.hold([{}] * 20)
    codec = CODECS["ndjson"]()
    source = source_of(loose.database.rows(PLAINLY_WRITTEN, batch=2))
    batches = batches_of(source, codec) if source else None
    assert batches is not None
    pulled = batches.source.iterator
    body = batches.encode(next(pulled))
    with closing(sqlite3.connect(loose.file)) as driver, driver:
        driver.execute("update loose set a = 'later'")
    body += b"".join(map(batches.encode, pulled))
    assert (body.count(b"later"), body.count(b"\n")) == (0, 20)


def test_a_reader_that_leaves_among_written_rows_leaves_no_transaction(loose: Loose) -> None:
    loose.hold([{}] * 40)
    with closing(
        loose.database.rows(PLAINLY_WRITTEN, batch=2).written(CODECS["ndjson"]().dialect)
    ) as batches:
        while not isinstance(next(batches), Written):
            pass
    with loose.database.engine.connect() as connection:
        driver: Any = connection.connection
        assert not driver.in_transaction
