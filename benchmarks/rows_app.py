"""A query's rows in every format: returned, and row by row through SQLAlchemy Core.

The database's address is in the environment variable BENCH_DATABASE.
"""

import os

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    select,
)

from millstream import Millstream, Settings, TGController, expose
from millstream.database import Database

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
        with database.engine.connect() as connection:
            streamed = connection.execution_options(yield_per=1000)
            for row in streamed.execute(select(rows).where(rows.c.id <= count)):
                yield row._mapping


app = Millstream(Root(), Settings(compression=False), participants=[database])
