"""Every kind of object that an author may return or yield, in every format and wherever it stands.

A reader of another make decodes what comes. What cannot be sent is refused by its name, and never sent as
something else.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import attrs
import duckdb
import lxml.etree  # type: ignore[import-untyped]  # its types are another package
import msgspec
import numpy as np
import openpyxl  # type: ignore[import-untyped]  # it ships no types
import pandas as pd  # type: ignore[import-untyped]  # as above
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.dataset  # type: ignore[import-untyped]  # as above
import pyarrow.parquet  # type: ignore[import-untyped]  # as above
import pydantic
import pytest
from sqlalchemy import ForeignKey, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, relationship
from sqlmodel import Field, SQLModel

from millstream import Millstream, TGController, expose
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
