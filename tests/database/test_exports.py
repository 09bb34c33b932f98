"""Exports: what PostgreSQL writes by itself is byte for byte what would become of its rows otherwise."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import psycopg
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest
from psycopg.types.string import TextLoader
from sqlalchemy import (
    DateTime,
    Enum,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
    column,
    create_engine,
    event,
    func,
    insert,
    literal,
    make_url,
    select,
    text,
    union_all,
)
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

from millstream.codecs.arrow import Arrow
from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.database import Database, RowSource
from millstream.engine.batches import batches_of
from millstream.engine.source import source_of
from millstream.errors import WrongItem
from millstream.protocol.dialects import Written

MakeCodec = Callable[[], Codec]


def csv(**options: Any) -> Codec:
    return Csv(action="a", charset="utf-8", **options)


def ndjson() -> Codec:
    return Ndjson(action="a", charset="utf-8")


def json_array() -> Codec:
    return Json(action="a", charset="utf-8")


CODECS: dict[str, MakeCodec] = {
    "csv": csv,
    "headless": lambda: csv(header=False),
    "tabs": lambda: csv(delimiter="\t"),
    "ndjson": ndjson,
    "json": json_array,
}


@dataclass
class Exported:
    body: bytes
    written: bool = False  # whether the database wrote it
    rows: int = 0


def exported(source: RowSource, codec: Codec) -> Exported:
    """As the engine has it."""
    found = source_of(source)
    assert found is not None
    batches = batches_of(found, codec)
    assert batches is not None
    result = Exported(codec.head())
    try:
        for batch in batches.source.iterator:
            result.written = isinstance(batch, Written)
            result.rows += batch.rows if isinstance(batch, Written) else len(batch)
            result.body += batches.encode(batch)
    finally:
        batches.source.close()
    result.body += codec.tail()
    return result


def read(source: RowSource, codec: Codec) -> bytes:
    """The plain way: rows, encoded by batches."""
    encode, body = None, codec.head()
    with closing(source.batches()) as batches:
        for batch in batches:
            encode = encode or codec.rows(source.columns)
            body += encode(batch)
    return body + codec.tail()


@pytest.fixture(scope="module")
def engine(server: Any) -> Iterator[Engine]:
    made = create_engine(make_url(server.url).set(drivername="postgresql+psycopg"))
    yield made
    made.dispose()


@pytest.fixture
def database(engine: Engine) -> Database:
    return Database(engine)


def require_same(database: Database, statement: Any, make: MakeCodec, *, written: bool = True) -> bytes:
    found = exported(database.rows(statement), make())
    assert found.body == read(database.rows(statement), make())
    assert found.written is written
    return found.body


def table_of(type_: str, *cells: str) -> Any:
    """A query of one column of a type, beside the numbers of its rows; the last one is NULL."""
    listed = ", ".join(f"({number}, ({cell})::{type_})" for number, cell in enumerate([*cells, "NULL"]))
    return select(column("n", Integer), column("x")).select_from(text(f"(VALUES {listed}) AS t (n, x)"))


ODD_TEXTS = [
    "''",
    "' '",
    "'NULL'",
    "'\"'",
    "'\"\"'",
    "','",
    "'a,b;c|d'",
    "E'tab\\there'",
    "E'line\\nfeed'",
    "E'\\n'",
    "E'carriage\\rreturn'",
    "E'\\r\\n'",
    "E'\\\\.'",
    "E'\\\\'",
    "E'\\\\\\\\'",
    "E'\\\\N'",
    "E'\\\\n'",
    "E'\\\\v'",
    "E'\\\\\\v'",
    "E'\"\\\\N\"'",
    "E':\\\\N,'",
    "E'\"x\":\\\\N'",
    "E'\\b\\f\\v'",
    "E'\\x01\\x1f\\x7f'",
    "'é'",
    "'e\u0301'",
    "'\U0001f600'",
    "'\u2028\u2029\ufeff'",
    "'%s %b %% {c} \\:x'",
    "'=1+1'",
    "repeat('\"\n,', 50000)",
]
SAME: dict[str, list[str]] = {
    "text": ODD_TEXTS,
    "varchar": ODD_TEXTS,
    "varchar(9)": ["'x'", "''"],
    "char(4)": ["'x'", "''", "'\"'"],
    "smallint": ["-32768", "0"],
    "integer": ["-2147483648", "7"],
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "oid": ["4294967295"],
    "boolean": ["true", "false"],
    "double precision": [
        "1", "'-0'", "0.1", "1e15", "1e16", "1e23", "-1e23", "1e300", "5e-324", "1e-4", "1e-5", "1.5e-05",
        "9e-6", "1e-7", "1234567890123456.7", "9007199254740993", "18014398509481988", "9223372036854775807",
        "1e100", "'NaN'", "'Infinity'", "'-Infinity'",
    ],
    "numeric": [
        "0", "0.000000", "0.0000000", "-0.0000001", "0.000001", "0.00000012", "1.0000000", "1e100", "1e-100",
        "123456789012345678901234567890.123456789", "'NaN'", "'Infinity'", "'-Infinity'", "-1.5e-20",
    ],
    "numeric(12, 2)": ["1.10", "-0.01", "0", "'NaN'"],
    "numeric(30, 10)": ["0", "0.0000000001", "1.1"],
    "date": ["'2026-01-02'", "'0001-01-01'", "'9999-12-31'"],
    "time": ["'00:00'", "'23:59:59.999999'", "'01:02:03.5'", "'01:02:03.000010'"],
    "timestamp": ["'2026-01-02'", "'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'2026-01-02 3:4:5.5'"],
    "timestamptz": ["'2026-01-02 03:04:05+05:30'", "'0001-01-01 00:00Z'", "'9999-12-31 23:59:59.9Z'"],
    "uuid": ["'12345678-1234-5678-1234-567812345678'"],
    "bytea": ["''", "'\\x00ff'", "decode(repeat('ab', 200), 'hex')"],
}  # fmt: skip
OTHERS: dict[str, list[str]] = {
    "interval": ["'1 day 02:03:04.5'", "'-1 day'"],
    "json": ['\'{"a" : [1, null, 1.50, "\\u00e9"]}\'', "'null'"],
    "jsonb": ["'{\"b\": 1e400}'", "'\"x\"'"],
    "integer[]": ["'{1,2,NULL}'", "'{}'", "'{{1,2},{3,4}}'"],
    "text[]": ['\'{a,"b,c",NULL,""}\''],
    "real": ["0.1", "1e10", "'NaN'"],
    "timetz": ["'01:02:03+02'"],
    "inet": ["'10.0.0.1'"],
    "money": ["1.5"],
    "int4range": ["'[1,5)'"],
    "name": ["'x'"],
    '"char"': ["'x'"],
}


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("type_", SAME)
def test_a_value_is_the_same_either_way(database: Database, type_: str, make: MakeCodec) -> None:
    require_same(database, table_of(type_, *SAME[type_]), make)


@pytest.mark.parametrize("make", [csv, ndjson], ids=["csv", "ndjson"])
@pytest.mark.parametrize("type_", OTHERS)
def test_a_type_that_is_written_otherwise_is_read(database: Database, type_: str, make: MakeCodec) -> None:
    try:
        require_same(database, table_of(type_, *OTHERS[type_]), make, written=False)
    except WrongItem:  # either way
        with pytest.raises(WrongItem):
            read(database.rows(table_of(type_, *OTHERS[type_])), make())


@pytest.mark.parametrize(
    "type_",
    [
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "text",
        "char(4)",
        "real",
        "double precision",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "numeric(12, 2)",
    ],
)
def test_record_batches_hold_what_the_rows_do(database: Database, type_: str) -> None:
    cells = [cell for cell in (SAME | OTHERS)[type_] if "repeat" not in cell]
    bodies = [
        way(database.rows(table_of(type_, *cells)), Arrow(action="a", charset="utf-8"))
        for way in (record_batches, read)
    ]
    tables = [pa.ipc.open_stream(body).read_all() for body in bodies]
    assert tables[0].schema == tables[1].schema
    assert str(tables[0].to_pylist()) == str(tables[1].to_pylist())  # NaN is not equal to itself


def record_batches(source: RowSource, codec: Codec) -> bytes:
    found = exported(source, codec)
    assert found.written
    return found.body


@pytest.mark.parametrize("type_", ["numeric", "uuid", "bytea", "json"])
def test_what_no_record_batch_says_is_read_or_text(database: Database, type_: str) -> None:
    query = table_of(type_, *(SAME | OTHERS)[type_][:1])
    body = exported(database.rows(query), Arrow(action="a", charset="utf-8")).body
    again = read(database.rows(query), Arrow(action="a", charset="utf-8"))
    assert pa.ipc.open_stream(body).read_all().equals(pa.ipc.open_stream(again).read_all())


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "rouge"


class Loud(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value.upper()


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("the name")
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    at: Mapped[datetime]
    seen: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    colour: Mapped[Colour] = mapped_column(Enum(Colour), deferred=True)
    shout: Mapped[str] = mapped_column(Loud, deferred=True)


THINGS = cast("Table", Thing.__table__)
HOSTILE = "x'); DROP TABLE things; -- \\' %s %(a)s \"\n"


@pytest.fixture(scope="module")
def things(engine: Engine) -> Iterator[None]:
    Base.metadata.create_all(engine)
    at = datetime(2026, 1, 2, 3, 4, 5, 60000)  # noqa: DTZ001  the column has no zone
    with engine.begin() as connection:
        rows = [
            {
                "id": n,
                "the name": HOSTILE if n == 2 else f"t{n}",
                "price": n,
                "at": at + timedelta(days=n),
                "colour": "RED",
                "shout": "a",
            }
            for n in range(1, 5)
        ]
        connection.execute(insert(THINGS), rows)
        connection.execute(text("analyze things"))
    yield
    Base.metadata.drop_all(engine)


OTHER = aliased(Thing)
PERCENT = (THINGS.c.id % 3).label('a "label" of 100%s')
QUERIES: dict[str, Any] = {
    "entities": select(Thing).order_by(Thing.id),
    "a hostile parameter": select(Thing).where(Thing.name == HOSTILE),
    "many parameters": select(Thing.id, Thing.at)
    .where(Thing.id.in_([1, 2]))
    .where(Thing.price > Decimal("0.5")),
    "a parameter as a cell": select(
        Thing.id, literal(HOSTILE), literal(1.5), literal(7), literal(Decimal("1.50")), literal(value=True)
    ),
    "a join": select(Thing, OTHER.id).join(OTHER, OTHER.id == Thing.id + 1).order_by(Thing.id),
    "a union": union_all(select(Thing.id, Thing.name), select(OTHER.id, OTHER.name)).order_by("id"),
    "no rows": select(Thing).where(Thing.id < 0),
    "a limit": select(Thing).order_by(Thing.id).limit(2).offset(1),
    "labels": select(Thing.id.label("SELECT"), PERCENT, Thing.name.label("\\ é")).order_by(Thing.id),
    "aggregates": select(func.count(), func.sum(Thing.price), func.avg(Thing.id), func.max(Thing.at)),
    "groups": select(Thing.at, func.count()).group_by(Thing.at).order_by(Thing.at),
    "a cte": select(select(Thing.id, Thing.name).cte("c")).order_by(text("1")),
    "distinct": select(Thing.price, Thing.colour.is_(None)).distinct().order_by(Thing.price),
}


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_any_query_is_the_same_either_way(database: Database, query: Any, make: MakeCodec) -> None:
    require_same(database, query, make)


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    "query",
    [
        select(Thing.id, Thing.colour),
        select(Thing.id, Thing.shout),
        select(Thing.id, Thing.id.cast(Numeric(asdecimal=False))),
        select(Thing.id),
        text('select id, "the name" from things'),
        text("select id, at from things").columns(Thing.id, Thing.at),
    ],
    ids=[
        "an enum",
        "a type of the author's",
        "floats of decimals",
        "one column",
        "a text",
        "a text with columns",
    ],
)
def test_what_sqlalchemy_has_a_hand_in_is_read(database: Database, query: Any) -> None:
    require_same(database, query, csv, written=False)


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize(
    "make",
    [
        lambda: csv(guard_formulas=True),
        lambda: csv(fields=["name", "id"]),
        lambda: csv(delimiter="."),
        lambda: Csv(action="a", charset="utf-16"),
        lambda: Csv(action="a", charset="utf-8-sig"),
    ],
    ids=["guarded", "other fields", "dots", "utf-16", "byte order mark"],
)
def test_an_option_that_no_database_knows_is_the_codec_s(database: Database, make: MakeCodec) -> None:
    require_same(database, select(Thing.id, Thing.name).order_by(Thing.id), make, written=False)


@pytest.mark.usefixtures("things")
def test_fields_that_are_those_of_the_query_are_no_obstacle(database: Database) -> None:
    query = select(Thing.id, Thing.name).order_by(Thing.id)
    assert require_same(database, query, lambda: csv(fields=["id", "name"])).startswith(
        b"id,name\r\n1,t1\r\n"
    )


@pytest.mark.usefixtures("things")
def test_the_rows_are_counted(database: Database) -> None:
    counted = [exported(database.rows(select(Thing)), make()).rows for make in CODECS.values()]
    assert counted == [4] * len(CODECS)
    many = select(column("n", Integer), literal(HOSTILE)).select_from(
        text("generate_series(1, 20000) AS t (n)")
    )
    assert exported(database.rows(many), csv()).rows == 20000


@pytest.mark.parametrize("make", [csv, ndjson], ids=["csv", "ndjson"])
def test_two_columns_of_one_name_are_refused(database: Database, make: MakeCodec) -> None:
    with pytest.raises(WrongItem, match="two columns named 'x'"):
        exported(database.rows(select(literal(1).label("x"), literal(2).label("x"))), make())


def setting(engine: Engine, **options: str) -> Database:
    """A database whose role has settings of its own."""
    said = " ".join(f"-c {name}={value}" for name, value in options.items())
    return Database(create_engine(engine.url, connect_args={"options": said}))


@pytest.mark.parametrize("make", CODECS.values(), ids=CODECS)
def test_settings_of_a_role_do_not_show(engine: Engine, make: MakeCodec) -> None:
    database = setting(
        engine, datestyle="German", extra_float_digits="-10", bytea_output="escape", intervalstyle="iso_8601"
    )
    for type_ in ("timestamp", "date", "double precision", "bytea"):
        require_same(database, table_of(type_, *SAME[type_][:4]), make)
    database.engine.dispose()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "<+03>-03"])
def test_moments_of_another_zone_are_read_but_for_arrow(
    engine: Engine, zone: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = setting(engine, timezone=zone)
    query = table_of("timestamptz", "'2026-07-02 03:04:05.5Z'", "'2026-01-02Z'")
    require_same(database, query, csv, written=False)
    require_same(database, query, ndjson, written=False)
    assert exported(database.rows(query), Arrow(action="a", charset="utf-8")).written
    database.engine.dispose()
    del caplog  # psycopg warns of a zone it does not know


def test_moments_that_python_cannot_hold_are_written_as_postgresql_writes_them(database: Database) -> None:
    query = table_of("timestamp", "'infinity'", "'0044-03-15 BC'")
    assert (
        exported(database.rows(query), csv(header=False)).body
        == b"0,infinity\r\n1,0044-03-15 00:00:00 BC\r\n2,\r\n"
    )
    lines = b'{"n":0,"x":"infinity"}\n{"n":1,"x":"0044-03-15 00:00:00 BC"}\n{"n":2,"x":null}\n'
    assert exported(database.rows(query), ndjson()).body == lines


def test_a_driver_that_was_taught_otherwise_is_asked(engine: Engine) -> None:
    class Shouting(TextLoader):
        def load(self, data: Any) -> str:
            return str(super().load(data)).upper()

    taught = create_engine(engine.url)

    @event.listens_for(taught, "connect")
    def _teach(driver: psycopg.Connection[Any], _: object) -> None:
        driver.adapters.register_loader("text", Shouting)

    database = Database(taught)
    assert b"0,X\r\n" in require_same(database, table_of("text", "'x'"), csv, written=False)
    taught.dispose()
