"""Fetching: plain tuples hold what SQLAlchemy's rows do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy.exc import DBAPIError

from millstream.codecs.csv import Csv
from millstream.codecs.ndjson import Ndjson
from millstream.database import Database
from millstream.database.fetching import fetching
from millstream.engine.batches import batches_of
from millstream.engine.source import source_of


class Colour(Enum):
    RED = "rouge"


class Loud(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value.upper()


KINDS: dict[str, tuple[Any, list[Any]]] = {
    "integer": (Integer(), [1, -1, 2**63 - 1]),
    "bigint": (BigInteger(), [2**40]),
    "float": (Float(), [0.1, 1e23, -0.0, 1e300, math.inf]),
    "text": (String(), ["", "a,b", 'say "x"', "line\nfeed", "\\N", "\U0001f600", "=1+1", "\x01\x7f"]),
    "truth": (Boolean(), [True, False]),
    "numeric": (Numeric(12, 2), [Decimal("1.10"), Decimal("-0.01"), Decimal(0), Decimal("1e20")]),
    "unlimited": (Numeric(), [Decimal("1.5"), Decimal("0.0000001")]),
    "many_digits": (Numeric(20, 10), [Decimal("0.0000000001")]),
    "as_float": (Numeric(asdecimal=False), [Decimal("1.5")]),
    "float_as_decimal": (Float(asdecimal=True), [1.5]),
    "datetime": (DateTime(), [datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 5, 600)]),  # noqa: DTZ001  as the column
    "date": (Date(), [date(2026, 1, 2)]),
    "time": (Time(), [time(1, 2, 3, 400)]),
    "interval": (Interval(), [timedelta(days=1, seconds=2)]),
    "uuid": (Uuid(), [UUID(int=7)]),
    "bytes": (LargeBinary(), [b"", b"\x00\xff"]),
    "json": (JSON(), [{"a": [1, None, 1.5]}, "x"]),
    "enum": (EnumType(Colour), [Colour.RED]),
    "decorated": (Loud(), ["quiet"]),
}
TABLE = Table(
    "kinds", MetaData(), Column("n", Integer), *(Column(name, kind) for name, (kind, _) in KINDS.items())
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'kinds.db'}")
    TABLE.metadata.create_all(made)
    most = max(len(values) for _, values in KINDS.values())
    rows = [{name: values[at % len(values)] for name, (_, values) in KINDS.items()} for at in range(most)]
    with made.begin() as connection:
        connection.execute(insert(TABLE), [{"n": at, **row} for at, row in enumerate(rows)])
        connection.execute(insert(TABLE), [{"n": most}])  # NULL everywhere else
    yield made
    made.dispose()


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("name", KINDS)
def test_a_cell_is_what_sqlalchemy_makes_of_it(engine: Engine, name: str, size: int) -> None:
    query = select(TABLE.c.n, TABLE.c[name]).order_by(TABLE.c.n)
    with engine.connect() as connection:
        expected = [tuple(row) for row in connection.execute(query)]
        with connection.execute(query) as result:
            fetch, found = fetching(query, result, digits=False), []
            while batch := fetch(size):
                found += list(batch)
    assert found == expected


@pytest.mark.parametrize("make", [Csv, Ndjson])
@pytest.mark.parametrize("name", KINDS)
def test_the_bytes_are_those_of_single_rows(engine: Engine, name: str, make: Any) -> None:
    query = select(TABLE.c.n, TABLE.c[name]).order_by(TABLE.c.n)
    single, codec = make(action="a", charset="utf-8"), make(action="a", charset="utf-8")
    with engine.connect() as connection:
        expected = b"".join(single.item(row) for row in connection.execute(query))
    source = source_of(Database(engine).rows(query, batch=3))
    assert source is not None
    batches = batches_of(source, codec)
    assert batches is not None
    assert b"".join(map(batches.encode, batches.source.iterator)) == expected


def test_digits_that_are_no_number_are_null_in_json(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("insert into kinds (n, numeric) values (99, 9e999), (99, -9e999), (99, null)")
        )
    query = select(TABLE.c.n, TABLE.c.numeric).where(TABLE.c.n == 99)
    codec = Ndjson(action="a", charset="utf-8")
    with engine.connect() as connection, connection.execute(query) as result:
        batch = fetching(query, result, digits=True)(9)
    assert [str(cell) for _, cell in batch] == ["Infinity", "-Infinity", "None"]
    assert codec.encode(list(batch)).count(b"null") == 3


def test_digits_are_written_and_not_calculated_with(engine: Engine) -> None:
    query = select(TABLE.c.n, TABLE.c.numeric).where(TABLE.c.n < 2)
    with engine.connect() as connection, connection.execute(query) as result:
        cells = [cell for _, cell in fetching(query, result, digits=True)(9)]
    assert [type(cell) for cell in cells] == [msgspec.Raw] * 2
    assert list(map(bytes, cells)) == [b"1.10", b"-0.01"]


def test_the_rows_of_a_text_are_sqlalchemy_s(engine: Engine) -> None:
    query = text("select n from kinds order by n limit 1")
    with engine.connect() as connection, connection.execute(query) as result:
        assert fetching(query, result, digits=True)(9)[0]._mapping == {"n": 0}  # type: ignore[attr-defined]  # a Row's


def test_an_error_in_mid_read_is_one_of_sqlalchemy_s(engine: Engine) -> None:
    numbers = func.json_each("[" + "1," * 500 + "1]").table_valued("value")
    query = select(
        numbers.c.value, func.json(func.iif(numbers.c.value.is_(None), "", func.substr("]", func.abs(1))))
    )
    with pytest.raises(DBAPIError):
        list(Database(engine).rows(query).batches())
