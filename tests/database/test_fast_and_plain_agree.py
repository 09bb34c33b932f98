"""One promise: a returned query and a loop over its rows are the same body, and fail in the same way.

Every built-in type of PostgreSQL with its edge values, and whatever SQLite holds in a column of any type, in
every format, by several shapes of a query. Record batches are compared with a loop whose columns are
declared, as by an annotation: without one the types of a loop come from a sample of its rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    Uuid,
    case,
    cast,
    column,
    create_engine,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    make_url,
    select,
    table,
    text,
    union_all,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Bundle, DeclarativeBase, Mapped, Session, aliased, mapped_column
from tests.database.roads import COPYING, FORMATS, TYPED, Arrived, columns_of, iterated, looped, returned

from millstream.database import Database
from millstream.errors import UnreadableValue

TEXTS: Final = (
    *(
        "''",
        "' '",
        "'NULL'",
        "'null'",
        "'\"'",
        "'\"\"'",
        "','",
        "'a,b;c|d'",
        "E'tab\\there'",
        "E'\\n'",
        "E'a\\nb'",
    ),
    *(
        "E'a\\rb'",
        "E'\\r'",
        "E'\\r\\n'",
        "E'\\\\.'",
        "E'\\\\'",
        "E'\\\\N'",
        "E'\\\\v'",
        "E'\"\\\\N\"'",
        "'é'",
    ),
    *(
        "'e\u0301'",
        "'\U0001f600'",
        "'\u2028\u2029\ufeff'",
        "'%s %b %% {c} \\:x'",
        "'=1+1'",
        "'<&>]]>'",
        "'_x0041_'",
    ),
    *("'NaN'", "'Infinity'", "repeat('\"\n,', 9000)"),
)
CONTROLS: Final = "".join(f"\\x{number:02x}" for number in (*range(1, 9), 11, 12, *range(14, 32), 127))
MOMENTS: Final = (
    "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'10000-01-01'", "'294276-12-31'", "'4713-01-01 BC'",
)  # fmt: skip
INFINITE: Final = ("'NaN'", "'Infinity'", "'-Infinity'")
FEW: Final = ("csv", "ndjson", "arrow")
MOOD: Final = pg.ENUM("sad", "ok", name="mood", create_type=False)

Cells = tuple[str, ...]
GOOD: Final[dict[str, tuple[Any, Cells]]] = {
    "boolean": (Boolean(), ("true", "false")),
    "smallint": (SmallInteger(), ("-32768", "32767", "0")),
    "integer": (Integer(), ("-2147483648", "2147483647")),
    "bigint": (BigInteger(), ("9223372036854775807", "-9223372036854775808", "9007199254740993")),
    "oid": (pg.OID(), ("4294967295",)),
    "numeric": (
        Numeric(),
        (
            *("0", "0.000000", "0.0000000", "-0.0000001", "0.000001", "1.0000000", "1.10", "1e100", "1e-100"),
            *("-1.5e-20", f"{'1234567890' * 4}", f"0.{'1234567890' * 4}", *INFINITE),
        ),
    ),
    "numeric(12, 2)": (Numeric(12, 2), ("1.10", "-0.01", "0", "9999999999.99", "'NaN'")),
    "numeric(30, 10)": (Numeric(30, 10), ("0.0000000001", "0", "1.1", "'NaN'")),
    "numeric(60, 30)": (Numeric(60, 30), ("1e-30", "1e29")),
    "numeric(3, -2)": (Numeric(3, -2), ("12345",)),
    "numeric(2, 5)": (Numeric(2, 5), ("0.00012",)),
    "real": (REAL(), ("0.1", "1e10", "'-0'", "1e-40", "3.4028235e38", "16777217", *INFINITE)),
    "double precision": (
        Double(),
        (
            *("1", "'-0'", "0.1", "1e15", "1e16", "1e23", "-1e300", "5e-324", "2.2250738585072014e-308"),
            *("1e-4", "1e-5", "9e-6", "1234567890123456.7", "9007199254740993", "1.7976931348623157e308"),
            *INFINITE,
        ),
    ),
    "money": (pg.MONEY(), ("1.5", "-1234567.89")),
    "text": (Text(), TEXTS),
    "varchar": (String(), TEXTS),
    "varchar(9)": (String(9), ("'x'", "''")),
    "char(4)": (pg.CHAR(4), ("'x'", "''", "'\"'")),
    "name": (Text(), ("'x'",)),
    '"char"': (Text(), ("'x'", "''")),
    "bytea": (LargeBinary(), ("''", "'\\x00ff'", "decode(repeat('ab', 200), 'hex')")),
    "date": (Date(), ("'2026-01-02'", "'0001-01-01'", "'9999-12-31'", "'1900-02-28'", "'1900-03-01'")),
    "timestamp": (
        DateTime(),
        ("'2026-01-02'", "'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'2026-01-02 3:4:5.5'"),
    ),
    "timestamptz": (
        DateTime(timezone=True),
        ("'2026-01-02 03:04:05+05:30'", "'0001-01-01Z'", "'9999-12-31 23:59:59.9Z'", "'2026-01-02 3:4:5.1Z'"),
    ),
    "time": (Time(), ("'00:00'", "'23:59:59.999999'", "'01:02:03.5'", "'01:02:03.000010'")),
    "timetz": (Time(timezone=True), ("'01:02:03+02'", "'01:02:03.5-05:30'")),
    "interval": (
        Interval(),
        (
            *("'1 day 02:03:04.5'", "'-1 day'", "'1 year 2 mons'", "'-1 day +02:00'", "'1234567:00'"),
            "'1 mon -1 day -00:00:00.000001'",
        ),
    ),
    "uuid": (Uuid(), ("'12345678-1234-5678-1234-567812345678'",)),
    "json": (
        JSON(),
        (
            *(
                '\'{"a" : [1, null, 1.50, "\\u00e9"]}\'',
                "'null'",
                "'\"x\"'",
                "'1'",
                "'[]'",
                "'1e400'",
                "'-1e-400'",
            ),
            *("'12345678901234567890123'", "'[0.12345678901234567890123, 0.1, 1e5, 123456789012345.67]'"),
        ),
    ),
    "jsonb": (pg.JSONB(), ("'{\"b\": 1e40}'", "'\"x\"'", "'null'", "'1'", "'[1, [2, {}]]'", "'true'")),
    "boolean[]": (pg.ARRAY(Boolean), ("'{t,f,NULL}'",)),
    "integer[]": (pg.ARRAY(Integer), ("'{1,2,NULL}'", "'{}'")),
    "bigint[]": (pg.ARRAY(BigInteger), ("'{9223372036854775807}'",)),
    "text[]": (pg.ARRAY(Text), ('\'{a,"b,c",NULL,""}\'', "'[2:3]={a,b}'")),
    "numeric[]": (pg.ARRAY(Numeric), ("'{1.5,NaN,1e-40}'",)),
    "double precision[]": (pg.ARRAY(Double), ("'{1.5,NaN,Infinity}'",)),
    "date[]": (pg.ARRAY(Date), ("'{2026-01-01}'",)),
    "timestamptz[]": (pg.ARRAY(DateTime(timezone=True)), ("'{2026-01-01Z}'",)),
    "uuid[]": (pg.ARRAY(Uuid), ("'{12345678-1234-5678-1234-567812345678}'",)),
    "jsonb[]": (pg.ARRAY(pg.JSONB), ("array['[1]'::jsonb, '\"x\"']",)),
    "bytea[]": (pg.ARRAY(LargeBinary), ("array['\\x00ff'::bytea]",)),
    "inet": (pg.INET(), ("'10.0.0.1'", "'10.0.0.0/8'", "'::1'")),
    "cidr": (pg.CIDR(), ("'10.0.0.0/8'",)),
    "macaddr": (pg.MACADDR(), ("'08:00:2b:01:02:03'",)),
    "int4range": (pg.INT4RANGE(), ("'[1,5)'", "'empty'", "'(,5)'")),
    "numrange": (pg.NUMRANGE(), ("'[1.5,2]'",)),
    "daterange": (pg.DATERANGE(), ("'[2026-01-01,infinity)'",)),
    "tstzrange": (pg.TSTZRANGE(), ("'[2026-01-01Z,)'",)),
    "int4multirange": (pg.INT4MULTIRANGE(), ("'{[1,5),[7,9)}'", "'{}'")),
    "bit(3)": (pg.BIT(3), ("B'101'",)),
    "varbit": (pg.BIT(varying=True), ("B'1'",)),
    "hstore": (pg.HSTORE(), ("'a=>1,b=>NULL'",)),
    "point": (None, ("'(1,2)'",)),
    "polygon": (None, ("'((0,0),(1,1),(2,0))'",)),
    "tsvector": (pg.TSVECTOR(), ("'a b'",)),
    "pg_lsn": (None, ("'16/B374D848'",)),
    "regclass": (pg.REGCLASS(), ("'pg_class'",)),
    "jsonpath": (None, ("'$.a'",)),
    "mood": (MOOD, ("'sad'", "'ok'")),
    "mood[]": (pg.ARRAY(MOOD), ("'{sad,ok}'",)),
    "positive": (Integer(), ("5",)),
    "pair": (None, ("row(1, 'a b')", "row(NULL, '')")),
}
"""Values that every format can carry, by their types, with the type that an author would say."""

BAD: Final[dict[str, tuple[Any, Cells]]] = {
    "date": (Date(), MOMENTS),
    "timestamp": (DateTime(), MOMENTS),
    "timestamptz": (DateTime(timezone=True), MOMENTS),
    "time": (Time(), ("'24:00'",)),
    "timetz": (Time(timezone=True), ("'24:00+00'",)),
    "interval": (Interval(), ("'infinity'", "'-infinity'", "'178000000 years'", "'2147483647 days'")),
    "date[]": (pg.ARRAY(Date), ("'{infinity}'",)),
    "integer[]": (pg.ARRAY(Integer), ("'{{1,2},{3,4}}'",)),
    "text": (Text(), (f"E'{CONTROLS}'", "'\uffff'", "repeat('a', 40000)")),
}
"""Values that some formats cannot carry."""

COPIED: Final = frozenset(
    """
    boolean smallint integer bigint oid numeric(12,2) numeric(30,10) text varchar varchar(9) char(4) date
    timestamp timestamptz time uuid positive
    """.split()  # noqa: SIM905  a list of words is read as a text
)
"""Types that PostgreSQL writes by itself in every format that it knows."""

SETUP: Final = (
    "create extension hstore",
    "create type mood as enum ('sad', 'ok')",
    "create domain positive as integer check (value > 0)",
    "create type pair as (a integer, b text)",
)


def named(kind: str, type_: str) -> str:
    """The table of a type."""
    return f"{kind}_{''.join(each if each.isalnum() else '_' for each in type_)}"


def created(name: str, type_: str, cells: Cells) -> Iterator[str]:
    """A table of one column of a type, beside the numbers of its rows; the first and the last are NULL."""
    values = ", ".join(
        f"({number}, ({cell})::{type_})" for number, cell in enumerate(["NULL", *cells, "NULL"])
    )
    yield f"create table {name} (n integer primary key, x {type_})"
    yield f"insert into {name} values {values}"  # noqa: S608  the values are ours


@pytest.fixture(scope="module")
def database(server: Any) -> Iterator[Database]:
    """A database of its own, with a table for each type."""
    admin = create_engine(
        make_url(server.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text("create database agree"))
    made = Database(make_url(server.url).set(database="agree"))
    with made.engine.begin() as connection:
        statements = list(SETUP)
        for kind, types in (("good", GOOD), ("bad", BAD)):
            for type_, (_, cells) in types.items():
                statements += created(named(kind, type_), type_, cells)
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    yield made
    made.engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database agree with (force)"))
    admin.dispose()


def queries(database: Database, name: str, type_: Any) -> dict[str, Any]:
    """The shapes in which an author asks for a table."""
    as_text = text(f"select n, x from {name} order by n")  # noqa: S608  the name is ours
    if type_ is None:
        return {"text": as_text}
    reflected = Table(name, MetaData(), autoload_with=database.engine)
    typed = table(name, column("n", Integer), column("x", type_))
    literal = select(literal_column("n", Integer).label("n"), literal_column("x", type_).label("x"))
    return {
        "reflected": select(reflected).order_by(reflected.c.n),
        "typed": select(typed).order_by(typed.c.n),
        "literal": literal.select_from(text(name)).order_by(text("1")),
        "text": as_text,
        "text with columns": as_text.columns(n=Integer, x=type_),
    }


def require_same(
    database: Database, query: Any, format_: str, batch: int | None = None, **options: Any
) -> Arrived:
    columns = columns_of(database, query) if format_ in TYPED else ()
    fast = returned(database, query, format_, batch, **options)
    for road in (looped, iterated):
        plain = road(database, query, format_, columns, **options)
        assert (fast.failure, fast.content) == (plain.failure, plain.content), (road.__name__, format_)
    return fast


@pytest.mark.parametrize("type_", GOOD)
def test_a_type_of_postgresql_is_the_same_on_every_road(database: Database, type_: str) -> None:
    for shape, query in queries(database, named("good", type_), GOOD[type_][0]).items():
        for format_ in FORMATS if shape == "typed" else FEW:
            found = require_same(database, query, format_)
            assert found.failure is None, (shape, format_)
            if type_.replace(" ", "") in COPIED and format_ in COPYING:
                assert found.written is (not shape.startswith("text")), (shape, format_)


@pytest.mark.parametrize("type_", BAD)
def test_what_a_format_cannot_carry_fails_at_the_same_row(database: Database, type_: str) -> None:
    said, cells = BAD[type_]
    query = queries(database, named("bad", type_), said)["typed"]
    for number in range(1, len(cells) + 1):
        for format_ in FORMATS:
            found = require_same(database, query.where(column("n").in_([0, number, len(cells) + 1])), format_)
            assert found.failure is None or found.failure == ("WrongItem", 2)


ANY: Final = Table(
    "anything",
    MetaData(),
    Column("n", Integer),
    Column("whole", BigInteger),
    Column("ratio", Double),
    Column("price", Numeric(12, 2)),
    Column("exact", Numeric),
    Column("name", Text),
    Column("yes", Boolean),
    Column("day", Date),
    Column("at", DateTime),
    Column("seen", DateTime(timezone=True)),
    Column("hour", Time),
    Column("data", LargeBinary),
    Column("key", Uuid),
    Column("any", pg.JSONB),
    Column("tags", pg.ARRAY(Text)),
)
LETTERS: Final = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
LEAVES: Final = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | LETTERS
)
CELLS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "ratio": st.floats(),
    "price": st.decimals(-(10**9), 10**9, places=2),
    "exact": st.decimals(-(10**40), 10**40, allow_nan=False),
    "name": LETTERS,
    "yes": st.booleans(),
    "day": st.dates(),
    "at": st.datetimes(),
    "seen": st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),  # noqa: DTZ001  bounds
    "hour": st.times(),
    "data": st.binary(max_size=60),
    "key": st.uuids(),
    "any": st.recursive(
        LEAVES, lambda inner: st.lists(inner) | st.dictionaries(LETTERS, inner), max_leaves=5
    ).filter(lambda value: "inf" not in repr(value).lower()),
    "tags": st.lists(st.none() | LETTERS, max_size=3),
}
ROWS: Final = st.lists(
    st.fixed_dictionaries({name: st.none() | cell for name, cell in CELLS.items()}), max_size=8
)
COPYABLE: Final = [each for each in ANY.c if each.name not in ("any", "tags")]


@pytest.fixture(scope="module")
def anything(database: Database) -> Database:
    with database.engine.begin() as connection:
        ANY.create(connection)
    return database


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, format_=st.sampled_from(FORMATS), copyable=st.booleans())
def test_any_rows_are_the_same_on_every_road(
    anything: Database, rows: list[dict[str, Any]], format_: str, copyable: bool
) -> None:
    with anything.engine.begin() as connection:
        connection.execute(delete(ANY))
        if rows:
            connection.execute(insert(ANY), [{"n": number, **row} for number, row in enumerate(rows)])
    query = select(*COPYABLE) if copyable else select(ANY)
    if rows or format_ not in ("csv", "xlsx"):  # a loop over nothing does not know its columns
        found = require_same(anything, query.order_by(ANY.c.n), format_)
        assert found.written is (copyable and format_ in ("csv", "json", "ndjson"))


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("the name")


OTHER: Final = aliased(Thing)
NAMED: Final[dict[str, Any]] = {
    "attributes": select(Thing.id, Thing.name),
    "an alias": select(OTHER.id, OTHER.name.label("n")),
    "a class": select(Thing),
    "an alias of a class": select(OTHER),
    "two classes": select(Thing, OTHER, OTHER.id).join(OTHER, OTHER.id == Thing.id),
    "bundles": select(Bundle("b", Thing.id, Bundle("c", Thing.name)), func.count()).group_by(Thing.id),
    "two of one name": select(Thing.id, OTHER.id).join(OTHER, OTHER.id == Thing.id),
    "functions": select(
        func.count(), func.count(Thing.id), func.max(Thing.id), func.coalesce(func.max(Thing.name), "")
    ),
    "functions of Core": select(func.count(), func.max(literal(1)), literal(2) + 1, literal("x")),
    "a group": select(Thing.id, func.count()).group_by(Thing.id),
    "expressions": select(
        Thing.id + 1, -Thing.id, Thing.name + "x", cast(Thing.id, String), case((Thing.id == 1, "a"))
    ),
    "a table": select(Base.metadata.tables["things"]),
    "a union": union_all(select(Thing.id), select(Thing.id)),
    "existence": exists(select(Thing.id)).select(),
    "a subquery": select(select(Thing.id, Thing.name, func.now().label("at")).subquery().c.name),
    "no rows": select(Thing.id, func.upper(Thing.name)).where(Thing.id < 0),
    "a text": text("select id, id + 1, count(*) as n from things group by id"),
}
"""Queries whose columns are called otherwise by Core, by a session, or by nobody."""


@pytest.fixture(params=["sqlite", "postgresql"])
def things(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A table of one row in either kind of database."""
    found = Database(request.getfixturevalue(request.param))
    Base.metadata.create_all(found.engine)
    with found.engine.begin() as connection:
        connection.execute(insert(Thing).values(id=1, name="x"))
    yield found
    found.engine.dispose()


def test_columns_have_one_name_on_every_road(things: Database) -> None:
    for said, query in NAMED.items():
        for format_ in ("csv", "ndjson", "xlsx", "arrow"):
            if said != "no rows":
                require_same(things, query, format_)
    empty = returned(things, NAMED["no rows"], "csv")
    assert empty.content == b"id,upper\r\n"


@pytest.mark.parametrize("format_", ["csv", "xlsx", *TYPED])
@pytest.mark.parametrize("fields", [["name", "id"], ["name"], ["id", "more"]])
def test_fields_choose_the_same_columns_on_every_road(
    things: Database, fields: list[str], format_: str
) -> None:
    require_same(things, select(Thing.id, Thing.name, Thing.id + 1), format_, fields=fields)


LOOSE: Final = Table(
    "loose",
    MetaData(),
    Column("id", Integer),
    Column("whole", Integer),
    Column("ratio", Float),
    Column("price", Numeric(10, 2)),
    Column("exact", Numeric(30, 10)),
    Column("name", Text),
    Column("yes", Boolean),
    Column("day", Date),
    Column("at", DateTime),
    Column("hour", Time),
    Column("any", JSON),
    Column("data", LargeBinary),
    Column("mood", Enum("sad", "ok")),
    Column("key", Uuid),
)
USUAL: Final = (
    *("1", "0.5", "1.1", "1.0000000001", "'a,b'", "1", "'2026-01-02'", "'2026-01-02 03:04:05.500000'"),
    *(
        "'01:02:03.000000'",
        "'{\"a\": [1.5, null]}'",
        "x'00ff'",
        "'sad'",
        "'12345678123456781234567812345678'",
    ),
)
ODD: Final = (
    *(
        "NULL",
        "0",
        "2",
        "-1",
        "9223372036854775807",
        "0.1",
        "1e20",
        "1e300",
        "9e999",
        "-9e999",
        "1.005",
        "''",
    ),
    *("'abc'", "'12'", "'1.5'", "'true'", "'2026-02-30'", "'2026-01-02 03:04:05+02:00'", "'2026-01-02'"),
    *(
        "'24:00'",
        "'null'",
        "'[1, NaN]'",
        "'0.12345678901234567890123'",
        "'\"'",
        "char(10)",
        "char(13)",
        "char(1)",
    ),
    *("char(0)", "x''", "x'ff'", "cast(x'ff' as text)", "cast(x'f09f9880' as text)"),
)
"""What SQLite stores in a column of any type."""


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A table with an odd value in its tenth row, a table for each column and value."""
    file = tmp_path_factory.mktemp("loose") / "loose.db"
    names = [each.name for each in LOOSE.c]
    with closing(sqlite3.connect(file)) as driver, driver:
        for at, name in enumerate(names[1:]):
            for number, value in enumerate(ODD):
                usual = ", ".join(USUAL)
                odd = ", ".join([*USUAL[:at], value, *USUAL[at + 1 :]])
                driver.execute(f'create table "{name}{number}" ({", ".join(names)})')
                for row in range(1, 15):
                    cells = odd if row == ODD_ROW else usual
                    driver.execute(f'insert into "{name}{number}" values ({row}, {cells})')  # noqa: S608  ours
    made = Database(f"sqlite:///{file}")
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("format_", ["csv", "json", "ndjson", "xml", "xlsx", "arrow"])
@pytest.mark.parametrize("name", [each.name for each in LOOSE.c if each.name != "id"])
def test_whatever_sqlite_holds_is_the_same_on_every_road(loose: Database, name: str, format_: str) -> None:
    for number in range(len(ODD)):
        query = select(LOOSE.to_metadata(MetaData(), name=f"{name}{number}"))
        found = require_same(loose, query, format_, batch=2)
        assert found.failure is None or found.failure[1] == ODD_ROW


ODD_ROW: Final = 10
"""Behind the rows after which SQLite may write the others by itself."""


def test_a_stored_value_that_is_none_of_its_type_is_named_with_column_and_row(loose: Database) -> None:
    number = ODD.index("''")
    with pytest.raises(UnreadableValue) as told:
        for _ in loose.rows(select(LOOSE.to_metadata(MetaData(), name=f"day{number}"))).batches():
            pass
    assert str(told.value).startswith("the column 'day' of row 10 holds '', which is no value of its type: ")
    with Session(loose.engine) as session, pytest.raises(UnreadableValue, match="the column 'day' holds ''"):
        session.execute(select(LOOSE.to_metadata(MetaData(), name=f"day{number}"))).all()
