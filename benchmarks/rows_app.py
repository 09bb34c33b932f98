"""A query's rows in every format: returned, and row by row through SQLAlchemy Core, also by FastAPI.

The database's address is in the environment variable BENCH_DATABASE.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    Numeric,
    Row,
    Table,
    Text,
    select,
)

from millstream import Millstream, Settings, TGController, expose
from millstream.database import Database

if TYPE_CHECKING:
    from fastapi import FastAPI

database = Database(os.environ["BENCH_DATABASE"])
rows = Table(
    "bench_rows",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("big", BigInteger),
    Column("ratio", Float),
    Column("name", Text),
    Column("note", Text),
    Column("at", DateTime),
    Column("flag", Boolean),
    Column("amount", Numeric(12, 2)),
)


class Root(TGController):
    @expose("parquet")
    @expose("arrow")
    @expose("json")
    @expose("ndjson")
    @expose("csv")
    def returned(self, count: int):
        return select(rows).where(rows.c.id <= count)

    @expose("ndjson")
    @expose("csv")
    def row_by_row(self, count: int):
        for row in selected(count):
            yield row._mapping


def selected(count: int) -> Iterator[Row]:
    with database.engine.connect() as connection:
        streamed = connection.execution_options(yield_per=1000)
        yield from streamed.execute(select(rows).where(rows.c.id <= count))


def as_csv(count: int) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(rows.c.keys())
    for row in selected(count):
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def as_ndjson(count: int) -> Iterator[str]:
    for row in selected(count):
        yield json.dumps(dict(row._mapping), default=str) + "\n"


def fastapi() -> "FastAPI":
    """What its documentation and many an answer show: a generator of lines in a `StreamingResponse`."""
    from fastapi import FastAPI  # noqa: PLC0415  it may not be installed
    from fastapi.responses import StreamingResponse  # noqa: PLC0415  as above

    served = FastAPI()

    @served.get("/row_by_row.csv")
    def csv_lines(count: int) -> StreamingResponse:
        return StreamingResponse(as_csv(count), media_type="text/csv")

    @served.get("/row_by_row.ndjson")
    def ndjson_lines(count: int) -> StreamingResponse:
        return StreamingResponse(as_ndjson(count), media_type="application/x-ndjson")

    return served


app = Millstream(Root(), Settings(compression=False), participants=[database])
