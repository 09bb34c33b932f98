"""The flights on Millstream; the database's address is in the environment variable BENCH_DATABASE."""

import os

from sqlalchemy import select

from flights import flights as table
from millstream import Millstream, Settings, TGController, expose
from millstream.database import Database


class Root(TGController):
    @expose("ndjson")
    @expose("csv")
    def flights(self, count: int):
        return select(table).where(table.c.id <= count)


app = Millstream(Root(), Settings(compression=False), participants=[Database(os.environ["BENCH_DATABASE"])])
