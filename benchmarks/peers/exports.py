"""What the peers without a database layer of their own export: SQLAlchemy Core, well used.

A cursor on the server, a thousand rows at a time, and one chunk of body for each thousand: a chunk for each
row would cost every framework several times as much. The database's address is in the environment variable
BENCH_DATABASE.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, create_engine, make_url, select

from flights import NAMES, flights

BATCH = 1_000
_url = make_url(os.environ.get("BENCH_DATABASE", "sqlite://"))
engine = create_engine(_url.set(drivername=_url.drivername.replace("postgresql", "postgresql+psycopg")))


def as_csv(count: int) -> Iterator[bytes]:
    header: list[Sequence[Any]] = [("id", *NAMES)]
    for rows in _batches(count):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows(header)
        writer.writerows(rows)
        header = []
        yield text.getvalue().encode()


def as_ndjson(count: int) -> Iterator[bytes]:
    names = ("id", *NAMES)
    line = orjson.OPT_APPEND_NEWLINE
    for rows in _batches(count):
        yield b"".join([orjson.dumps(dict(zip(names, row, strict=True)), option=line) for row in rows])


def _batches(count: int) -> Iterator[Sequence[Row[Any]]]:
    with engine.connect() as connection:
        streamed = connection.execution_options(yield_per=BATCH)
        yield from streamed.execute(select(flights).where(flights.c.id <= count)).partitions()
