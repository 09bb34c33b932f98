"""Every kind of object that an author may return or yield, in every format and wherever it stands.

A reader of another make decodes what comes. What cannot be sent is refused by its name, and never sent as
something else.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from math import inf, isnan, nan
from typing import Any, Final, NamedTuple
from xml.etree.ElementTree import Element

import attrs
import duckdb
import httpx
import lxml.etree  # type: ignore[import-untyped]  # its types are another package
import markupsafe
import msgspec
import numpy as np
import openai
import openpyxl  # type: ignore[import-untyped]  # it ships no types
import pandas as pd  # type: ignore[import-untyped]  # as above
import pendulum
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.dataset  # type: ignore[import-untyped]  # as above
import pyarrow.parquet  # type: ignore[import-untyped]  # as above
import pydantic
import pytest
from sqlalchemy import ForeignKey, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, relationship
from sqlmodel import Field, SQLModel

from millstream import Millstream, TGController, expose
from millstream.errors import ConfigurationError
from millstream.testing import SyncClient

FORMATS: Final = ("json", "ndjson", "sse", "xml", "csv", "xlsx", "arrow", "parquet")
ROW: Final = {"a": 1, "b": "x"}


# The kinds


class Pydantic(pydantic.BaseModel):
    a: int
    b: str


class Excluding(Pydantic):
    hidden: str = pydantic.Field(default="s", exclude=True)


class SqlModel(SQLModel):
    a: int
    b: str


class SqlTable(SQLModel, table=True):
    a: int = Field(primary_key=True)
    b: str


class Base(DeclarativeBase):
    pass


class Entity(Base):
    __tablename__ = "entities"
    a: Mapped[int] = mapped_column(primary_key=True)
    b: Mapped[str]
    hidden: Mapped[str] = mapped_column(default="s", deferred=True)
    parent_a: Mapped[int | None] = mapped_column(ForeignKey("entities.a"), deferred=True)
    parent: Mapped[Any] = relationship("Entity", remote_side=[a])


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class DataEntity(DataBase):
    __tablename__ = "data"
    a: Mapped[int] = mapped_column(primary_key=True)
    b: Mapped[str]
    others: Mapped[list[Any]] = relationship("Other", default_factory=list)


class Other(DataBase):
    __tablename__ = "others"
    id: Mapped[int] = mapped_column(primary_key=True)
    data_a: Mapped[int] = mapped_column(ForeignKey("data.a"))


@attrs.define
class Attrs:
    a: int
    b: str
    _hidden: str = "s"


@dataclass
class Data:
    a: int
    b: str


class Struct(msgspec.Struct):
    a: int
    b: str


class Named(NamedTuple):
    a: int
    b: str


OldNamed = namedtuple("OldNamed", "a b")  # noqa: PYI024  authors still write them


class Json:
    def __json__(self) -> Any:
        return {"a": 1, "b": "x"}


class Hiding(Entity):
    def __json__(self) -> Any:
        return {"a": self.a, "b": self.b}


class Own:
    pass


class OwnData(Data):
    pass


class Unknown:
    pass


ENGINE = create_engine("sqlite://")
Base.metadata.create_all(ENGINE)
SQLModel.metadata.create_all(ENGINE)
DataBase.metadata.create_all(ENGINE)
with Session(ENGINE) as session:
    session.add_all([Entity(a=1, b="x"), SqlTable(a=1, b="x"), DataEntity(a=1, b="x")])
    session.commit()


def stored(kind: Any) -> Any:
    with Session(ENGINE) as session:
        return session.get(kind, 1)


def row_of(query: Any) -> Any:
    with ENGINE.connect() as connection:
        return connection.execute(query).one()


def orm_row(query: Any) -> Any:
    with Session(ENGINE) as session:
        return session.execute(query).one()


RECORDS: dict[str, Callable[[], Any]] = {
    "dict": lambda: dict(ROW),
    "pydantic": lambda: Pydantic(a=1, b="x"),
    "pydantic, a field excluded": lambda: Excluding(a=1, b="x"),
    "pydantic, a root": lambda: pydantic.RootModel[dict[str, Any]]({"a": 1, "b": "x"}),
    "sqlmodel": lambda: SqlModel(a=1, b="x"),
    "sqlmodel, a table": lambda: stored(SqlTable),
    "mapped": lambda: stored(Entity),
    "mapped dataclass": lambda: stored(DataEntity),
    "attrs": lambda: Attrs(1, "x"),
    "dataclass": lambda: Data(1, "x"),
    "struct": lambda: Struct(1, "x"),
    "named tuple": lambda: Named(1, "x"),
    "old named tuple": lambda: OldNamed(1, "x"),
    "row": lambda: row_of(text("select 1 as a, 'x' as b")),
    "row mapping": lambda: row_of(text("select 1 as a, 'x' as b"))._mapping,
    "row of an entity": lambda: orm_row(select(Entity)),
    "numpy": lambda: np.array([(1, "x")], dtype=[("a", "i4"), ("b", "U1")])[0],
    "pandas row": lambda: pd.DataFrame([ROW]).iloc[0],
    "__json__": Json,
    "__json__ of an entity": lambda: Hiding(a=1, b="x"),
    "own": Own,
    "own dataclass": lambda: OwnData(2, "y"),
}

ADAPTERS = {Own: lambda _: {"a": 1, "b": "x"}, OwnData: lambda _: Named(1, "x")}


def query_of_duckdb() -> Any:
    return duckdb.connect().sql("select 1 as a, 'x' as b")


ARROW = pa.table({"a": [1], "b": ["x"]})
FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame([ROW]),
    "pandas with an index": lambda: pd.DataFrame([ROW], index=["i"]),
    "polars": lambda: pl.DataFrame([ROW]),
    "table": lambda: ARROW,
    "record batch": lambda: ARROW.to_batches()[0],
}
LAZY: dict[str, Callable[[], Any]] = {
    "lazy polars": lambda: pl.LazyFrame([ROW]),
    "reader": ARROW.to_reader,
    "dataset": lambda: pyarrow.dataset.dataset(ARROW),
    "scanner": lambda: pyarrow.dataset.dataset(ARROW).scanner(),
    "duckdb": query_of_duckdb,
}


# The places


def yielded(thing: Any) -> Iterator[Any]:
    yield thing


class Root(TGController):
    result: Any = None


for name in FORMATS:

    def action(self: Any) -> Any:
        return self.result

    setattr(Root, name, expose(name)(action))


def _xml(element: Any) -> Any:
    if element.get("{http://www.w3.org/2001/XMLSchema-instance}nil"):
        return None
    if len(element):
        if element[0].tag == "item":
            return [_xml(each) for each in element]
        return {each.tag: _xml(each) for each in element}
    return element.text or ""


def _xlsx(body: bytes) -> Any:
    header, *rows = openpyxl.load_workbook(io.BytesIO(body)).active.iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


READERS: dict[str, Callable[[bytes], Any]] = {
    "json": lambda body: found if isinstance(found := json.loads(body), list) else [found],
    "ndjson": lambda body: [json.loads(line) for line in body.splitlines()],
    "sse": lambda body: [
        json.loads(line.removeprefix("data: "))
        for block in body.decode().split("\n\n")
        for line in block.splitlines()
        if line.startswith("data: ") and "event: " not in block
    ],
    "xml": lambda body: [_xml(each) for each in lxml.etree.fromstring(body)],
    "csv": lambda body: list(csv.DictReader(io.StringIO(body.decode()))),
    "xlsx": _xlsx,
    "arrow": lambda body: pa.ipc.open_stream(body).read_all().to_pylist(),
    "parquet": lambda body: pa.parquet.read_table(io.BytesIO(body)).to_pylist(),
}

TEXT = '{"a":1,"b":"x"}'
AS_ROW = dict.fromkeys(FORMATS, ROW) | {"csv": {"a": "1", "b": "x"}, "xml": {"a": "1", "b": "x"}}
AS_CELL = (
    dict.fromkeys(FORMATS, TEXT) | dict.fromkeys(("json", "ndjson", "sse"), ROW) | {"xml": AS_ROW["xml"]}
)
IN_LIST = {name: [AS_CELL[name]] for name in FORMATS} | {"csv": f"[{TEXT}]", "xlsx": f"[{TEXT}]"}


@pytest.fixture(scope="module")
def client() -> Iterator[Callable[[str, Any], Any]]:
    root = Root()
    with SyncClient(Millstream(root, adapters=ADAPTERS)) as opened:

        def get(name: str, result: Any) -> Any:
            Root.result = result
            reply = opened.get(f"/{name}")
            return READERS[name](reply.body) if reply.status == 200 else reply.status

        yield get


Get = Callable[[str, Any], Any]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_is_the_same_wherever_it_stands(client: Get, kind: str, name: str) -> None:
    make = RECORDS[kind]
    assert client(name, make()) == [AS_ROW[name]]
    assert client(name, yielded(make())) == [AS_ROW[name]]
    assert client(name, [make(), make()]) == [AS_ROW[name]] * 2
    cell = {"in": AS_CELL[name]}
    assert client(name, {"in": make()}) == [cell]
    assert client(name, yielded({"in": make()})) == [cell]
    assert client(name, {"in": [make()]}) == [{"in": IN_LIST[name]}]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", FRAMES | LAZY)
def test_a_table_is_its_rows(client: Get, kind: str, name: str) -> None:
    make = (FRAMES | LAZY)[kind]
    assert client(name, make()) == [AS_ROW[name]]
    assert client(name, yielded(make())) == [AS_ROW[name]]
    assert client(name, [make(), make()]) == [AS_ROW[name]] * 2


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_in_memory_is_a_list_inside_of_other_objects(client: Get, kind: str, name: str) -> None:
    assert client(name, {"in": FRAMES[kind]()}) == [{"in": IN_LIST[name]}]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", LAZY)
def test_a_table_that_is_read_later_is_refused_inside_of_other_objects(
    client: Get, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "millstream"):
        assert client(name, {"in": LAZY[kind]()}) == 500
    assert "whose rows are read while they are sent: return it alone" in caplog.text


# Values: what stands for one of the plain types, in a column of its own


MOMENT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  a reading without a zone
ISO, SQL = "2026-01-02T03:04:05", "2026-01-02 03:04:05"


def written(
    text: str, value: Any, *, csv: str | None = None, xlsx: Any = ..., json: Any = ...
) -> dict[str, Any]:
    """What stands for a value in each format."""
    in_json = text if json is ... else json
    return {
        **dict.fromkeys(("json", "ndjson", "sse"), in_json),
        **dict.fromkeys(("arrow", "parquet"), value),
        "xml": text,
        "csv": text if csv is None else csv,
        "xlsx": value if xlsx is ... else xlsx,
    }


NOTHING = {**dict.fromkeys(FORMATS, None), "csv": ""}
NUMBER = written("1.5", 1.5, json=1.5)
WHOLE = written("3", 3, json=3)
READING = written(ISO, MOMENT, csv=SQL)
ZONED = written(f"{ISO}Z", MOMENT.replace(tzinfo=UTC), csv=f"{SQL}+00:00", xlsx=MOMENT)
DAY = written("2026-01-02", date(2026, 1, 2), xlsx=datetime(2026, 1, 2))  # noqa: DTZ001  as it is read
DURATION = written("PT90S", timedelta(seconds=90))
WORD = written("x", "x")
LISTED = {name: [1, None] for name in FORMATS} | {"csv": "[1,null]", "xlsx": "[1,null]", "xml": ["1", None]}
FINE, MOMENTLY = f"{ISO}.000000001", "PT0.000000001S"
FLOAT_NAN = NOTHING | {"csv": "NaN", "xml": "NaN", "arrow": "NaN", "parquet": "NaN"}
WORDS = {name: ["x"] for name in FORMATS} | dict.fromkeys(("csv", "xlsx"), '["x"]')


class Word(str):
    __slots__ = ()


class Colour(Enum):
    RED = "x"


class Text(StrEnum):
    X = "x"


class Level(IntEnum):
    HIGH = 3


VALUES: dict[str, tuple[Any, dict[str, Any]]] = {
    "None": (None, NOTHING),
    "NaT": (pd.NaT, NOTHING),
    "NA": (pd.NA, NOTHING),
    "NaT of datetime64": (np.datetime64("NaT"), NOTHING),
    "NaT of timedelta64": (np.timedelta64("NaT"), NOTHING),
    "masked": (np.ma.masked, NOTHING),
    "float32": (np.float32(1.5), NUMBER),
    "float64": (np.float64(1.5), NUMBER),
    "float16": (np.float16(1.5), NUMBER),
    "longdouble": (np.longdouble(1.5), NUMBER),
    "int8": (np.int8(3), WHOLE),
    "uint64": (np.uint64(3), WHOLE),
    "IntEnum": (Level.HIGH, WHOLE),
    "bool_": (np.bool_(True), written("true", value=True, json=True)),
    "datetime64": (np.datetime64(ISO), READING),
    "datetime64 of a day": (np.datetime64("2026-01-02"), DAY),
    "datetime64, finer than Python's": (np.datetime64(FINE), written(FINE, FINE)),
    "datetime64, later than Python's": (np.datetime64("12026-01-02"), written("12026-01-02", "12026-01-02")),
    "timedelta64": (np.timedelta64(90, "s"), DURATION),
    "timedelta64, finer than Python's": (
        np.timedelta64(1, "ns"),
        written("PT0.000000001S", "PT0.000000001S"),
    ),
    "Timestamp": (pd.Timestamp(MOMENT), READING),
    "Timestamp with a zone": (pd.Timestamp(MOMENT, tz="UTC"), ZONED),
    "Timestamp, finer than Python's": (pd.Timestamp(FINE), written(FINE, FINE)),
    "Timedelta": (pd.Timedelta(seconds=90), DURATION),
    "pendulum.DateTime": (pendulum.datetime(2026, 1, 2, 3, 4, 5), ZONED),
    "pendulum.Date": (pendulum.date(2026, 1, 2), DAY),
    "pendulum.Duration": (pendulum.duration(seconds=90), DURATION),
    "pendulum.Time": (pendulum.time(3, 4), written("03:04:00", time(3, 4))),
    "str_": (np.str_("x"), WORD),
    "a subclass of str": (Word("x"), WORD),
    "Markup": (markupsafe.Markup("x"), WORD),
    "Enum": (Colour.RED, WORD),
    "StrEnum": (Text.X, WORD),
    "array": (np.array([1, None]), LISTED),
    "masked array": (np.ma.array([1, 2], mask=[False, True]), LISTED),
    "Series": (pd.Series([1, None], dtype="Int64"), LISTED),
    "Series of polars": (pl.Series([1, None]), LISTED),
    "chunked array": (pa.chunked_array([[1, None]]), LISTED),
    "Arrow array": (pa.array([1, None]), LISTED),
    "Arrow scalar": (pa.scalar(3), WHOLE),
    "Index": (pd.Index([1, None], dtype=object), LISTED),
    "Categorical": (
        pd.Categorical(["x"]),
        {n: ["x"] for n in FORMATS} | dict.fromkeys(("csv", "xlsx"), '["x"]'),
    ),
    "URL of pydantic": (pydantic.HttpUrl("http://x/"), written("http://x/", "http://x/")),
    "secret of pydantic": (pydantic.SecretStr("x"), written("**********", "**********")),
    "NaN": (nan, NOTHING | {"csv": "NaN", "xml": "NaN", "arrow": "NaN", "parquet": "NaN"}),
    "NaN of float32": (
        np.float32(nan),
        NOTHING | {"csv": "NaN", "xml": "NaN", "arrow": "NaN", "parquet": "NaN"},
    ),
    "NaN of Decimal": (Decimal("NaN"), NOTHING | {"csv": "NaN", "xml": "NaN"}),
    "infinity": (-inf, NOTHING | {"csv": "-Infinity", "xml": "-INF", "arrow": -inf, "parquet": -inf}),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_what_its_class_is(client: Get, kind: str, name: str) -> None:
    value, expected = VALUES[kind]
    (row,) = client(name, {"in": value, "n": 1})
    found = "NaN" if isinstance(row["in"], float) and isnan(row["in"]) else row["in"]
    assert found == expected[name]
    assert type(found) is type(expected[name])


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_value_is_missing_in_the_rows_of_pandas_either_way(client: Get, name: str) -> None:
    frame = pd.DataFrame(
        {
            "k": ["x", "x"],
            "n": pd.array([3, None], dtype="Int64"),
            "t": [pd.Timestamp(MOMENT), None],
            "w": pd.Series(["x", None], dtype=object),
        }
    )
    expected = [
        {"k": "x", "n": WHOLE[name], "t": READING[name], "w": "x"},
        {"k": "x", **dict.fromkeys("ntw", NOTHING[name])},
    ]
    assert client(name, frame) == expected
    assert client(name, yielded(frame)) == expected
    assert client(name, iter(frame.to_dict("records"))) == expected


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_what_stands_for_a_list_has_the_same_values_in_a_list_of_arrow(client: Get, name: str) -> None:
    structured = np.array([(1, "x")], dtype=[("a", "i4"), ("b", "U1")])
    assert client(name, {"in": structured}) == [{"in": ['{"a":1,"b":"x"}']}]
    assert client(name, {"in": pd.Series([1.5, nan])}) == [{"in": [1.5, None]}]
    assert client(name, {"in": {"a": 1}.values()}) == [{"in": [1]}]


# What is refused, and by what name

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (Unknown, "it holds a tests.test_items.Unknown: yield a dict of it, or say what it is"),
    "class": (lambda: Pydantic, "it holds the class Pydantic: an object of it is meant"),
    "generator": (lambda: yielded(1), "it holds a generator: put list(...) of it there"),
    "iterator": (lambda: map(int, []), "it holds a map: put list(...) of it there"),
    "query": (lambda: select(Entity), "it holds a query: return it"),
    "insert": (lambda: insert(Entity).returning(Entity), "it holds a statement that only a session can run"),
    "grouping": (lambda: pd.DataFrame([ROW]).groupby("a"), "it holds a grouping of pandas: aggregate it"),
    "complex": (lambda: 1j, "it holds a complex: yield a dict of it"),
    "connection": (duckdb.connect, "it holds a connection of duckdb"),
    "element": (lambda: Element("a"), "it holds an element of XML: return ElementTree.tostring"),
    "key": (lambda: {(1, 2): 3}, "it holds a dict with a tuple for a key: make a text of the key"),
    "columns of one name": (
        lambda: pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
        "it has two columns named 'a': give one a label of its own",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_format_can_write_is_refused_by_its_name(
    client: Get, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, why = REFUSED[kind]
    with caplog.at_level(logging.ERROR, "millstream"):
        assert client(name, {"in": make()}) == 500
        assert client(name, {"in": [make()]}) == 500
        assert client(name, yielded({"in": make()})) == 500
    assert caplog.text.count(why.replace("tests.test_items", Unknown.__module__)) >= 3


@pytest.mark.parametrize(
    ("make", "instead"),
    [
        (lambda: Pydantic, "return None, str"),
        (lambda: Colour, "return None, str"),
        (lambda: pd.DataFrame([ROW]).groupby("a"), "aggregate it into a frame"),
        (duckdb.connect, "return the relation"),
        (lambda: httpx.Response(200), "return response.json()"),
        (lambda: Session(ENGINE), "return a query of it"),
        (lambda: select(Entity), "with its Database among the participants"),
        (lambda: np.float64(1), "return None, str"),
        (pd.DataFrame, "it has no columns"),
        (lambda: pd.DataFrame({"a": [1, "x"]}), "its columns are none of Arrow's"),
        (
            lambda: pd.DataFrame({"a": pd.period_range("2026-01", periods=1, freq="M")}),
            "its column 'a' holds objects",
        ),
        (lambda: pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "its column 'a' holds objects"),
        (lambda: pl.LazyFrame({"a": pl.Series([object()], dtype=pl.Object)}), "its column 'a' holds objects"),
        (lambda: Element("a"), "return ElementTree.tostring"),
        (lambda: lxml.etree.Element("a"), "return etree.tostring"),
    ],
)
def test_what_would_only_be_iterated_into_nonsense_is_refused_when_it_is_returned(
    client: Get, make: Callable[[], Any], instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in FORMATS:
        with caplog.at_level(logging.ERROR, "millstream"):
            assert client(name, make()) == 500
        assert instead in caplog.text
        caplog.clear()


# Tables that come in parts


@pytest.mark.parametrize("name", FORMATS)
def test_the_chunks_of_a_table_are_its_rows(client: Get, name: str) -> None:
    chunks = (pd.DataFrame([ROW]) for _ in range(3))
    assert client(name, chunks) == [AS_ROW[name]] * 3


@pytest.mark.parametrize("name", FORMATS)
def test_rows_and_tables_may_follow_each_other(client: Get, name: str) -> None:
    assert client(name, iter([dict(ROW), pd.DataFrame([ROW]), dict(ROW)])) == [AS_ROW[name]] * 3
    assert client(name, iter([pd.DataFrame([ROW]), dict(ROW), pl.DataFrame([ROW])])) == [AS_ROW[name]] * 3


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_without_rows_is_a_table(client: Get, name: str) -> None:
    assert client(name, ARROW.slice(0, 0)) == []


def test_a_later_table_has_the_types_of_the_first(client: Get) -> None:
    chunks = [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2.0, None]})]
    assert client("arrow", iter(chunks)) == [{"a": 1}, {"a": 2}, {"a": None}]


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_record_batches_keep_the_types_of_their_table(client: Get, name: str) -> None:
    table = pa.table(
        {
            "small": pa.array([1], pa.int8()),
            "fine": pa.array([1], pa.timestamp("ns")),
            "word": pa.array(["x"]).dictionary_encode(),
            "exact": pa.array([Decimal("1.50")], pa.decimal128(7, 2)),
        }
    )
    Root.result = table
    with SyncClient(Millstream(Root())) as opened:
        body = opened.get(f"/{name}").body
    read = pa.ipc.open_stream(body).read_all() if name == "arrow" else pa.parquet.read_table(io.BytesIO(body))
    assert read.schema.types == table.schema.types
    assert read.equals(table)


# Objects of clients, and what holds a connection


class Closing:
    """An iterable that has to be closed, as the response of a client."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("items", [[{"a": 1}], [object()], []])
def test_what_was_returned_is_closed_once_on_every_way_out(client: Get, items: list[Any]) -> None:
    returned = Closing(items)
    client("json", returned)
    assert returned.closed == 1


class Endless:
    """A reader of a table without end, which notes how far it was read and whether it was closed."""

    def __init__(self) -> None:
        self.read = 0
        self.closed = threading.Event()

    def reader(self) -> Any:
        def batches() -> Iterator[Any]:
            try:
                while True:
                    self.read += 1
                    yield pa.record_batch({"a": ["x" * 1000] * 1000})
            finally:
                self.closed.set()

        return pa.RecordBatchReader.from_batches(pa.schema({"a": pa.string()}), batches())


@pytest.mark.parametrize("place", ["returned", "yielded", "in_task"])
@pytest.mark.parametrize("name", ["ndjson", "csv", "arrow"])
def test_a_lazy_table_is_read_as_its_client_reads_and_closed_when_that_leaves(name: str, place: str) -> None:
    endless = Endless()

    class Readers(TGController):
        @expose("ndjson")
        @expose("csv")
        @expose("arrow")
        def returned(self) -> Any:
            return endless.reader()

        @expose("ndjson")
        @expose("csv")
        @expose("arrow")
        def yielded(self) -> Any:
            yield endless.reader()

        @expose("ndjson")
        @expose("csv")
        @expose("arrow")
        async def in_task(self) -> Any:
            yield endless.reader()

    with SyncClient(Millstream(Readers())) as opened:
        with opened.stream("GET", f"/{place}.{name}") as reply:
            for _ in range(5):
                assert reply.next_chunk()
            assert endless.read < 20
        assert endless.closed.wait(10)
    assert endless.read < 20


def chunk(text: str) -> Any:
    return openai.types.chat.ChatCompletionChunk.model_validate(
        {
            "id": "c",
            "created": 1,
            "model": "m",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": text}}],
        }
    )


@pytest.mark.parametrize("name", ["json", "ndjson", "sse"])
def test_the_chunks_of_a_models_answer_are_what_they_serialize_to(client: Get, name: str) -> None:
    found = client(name, iter([chunk("a"), chunk("b")]))
    assert found == [chunk("a").model_dump(mode="json"), chunk("b").model_dump(mode="json")]


# Models of pydantic


class Rich(pydantic.BaseModel):
    number: int
    price: Decimal = pydantic.Field(default=Decimal("1.50"), max_digits=8, decimal_places=2)
    at: datetime = MOMENT.replace(tzinfo=UTC)
    url: pydantic.HttpUrl = pydantic.HttpUrl("http://x/")
    word: str = "x"

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as its documentation has it
    @property
    def twice(self) -> int:
        return self.number * 2

    @pydantic.field_serializer("word")
    def loud(self, word: str) -> str:
        return word.upper()


@pytest.mark.parametrize("rows", ["yielded", "annotated"])
def test_a_model_is_what_it_serializes_to_as_json_and_with_its_types_in_tables(rows: str) -> None:
    class Models(TGController):
        @expose("json")
        @expose("csv")
        @expose("arrow")
        def yielded(self) -> Any:
            yield Rich(number=1)

        @expose("json")
        @expose("csv")
        @expose("arrow")
        def annotated(self) -> Iterator[Rich]:
            yield {"number": "1"}  # type: ignore[misc]  # it is converted

    with SyncClient(Millstream(Models())) as opened:
        bodies = {name: opened.get(f"/{rows}.{name}").body for name in ("json", "csv", "arrow")}
    assert json.loads(bodies["json"]) == [Rich(number=1).model_dump(mode="json")]
    assert bodies["csv"].decode() == f"number,price,at,url,word,twice\r\n1,1.50,{SQL}+00:00,http://x/,X,2\r\n"
    table = pa.ipc.open_stream(bodies["arrow"]).read_all()
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert pa.types.is_decimal(table.schema.field("price").type)
    if rows == "annotated":
        assert table.schema.field("price").type == pa.decimal128(8, 2)


def test_rows_of_a_model_are_refused_at_start_up_where_the_format_has_none() -> None:
    class Lines(TGController):
        @expose("text")
        def index(self) -> Iterator[Rich]:
            yield Rich(number=1)

    with pytest.raises(ConfigurationError, match=r"Lines\.index: rows of Rich do not fit the codec 'text'"):
        Millstream(Lines())
