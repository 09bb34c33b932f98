"""Rows a second, memory and time to first byte of a query over HTTP, from PostgreSQL and from SQLite.

The first ratio is to a generator of rows under the same codec, the second to what is written with FastAPI.

Run: python benchmarks/rows.py [--quick] [--write]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from sqlalchemy import create_engine, make_url, text

from harness import Drained, drain, machine, options, pin_client, progress, publish, serving, table
from millstream.testing.postgres import postgres
from roster import Peer
from servers import CORES, running, uvicorn

FORMATS = ("csv", "ndjson", "json", "arrow", "parquet")
FORMATS_BY_ROW = ("csv", "ndjson")
BY_ROW = "row by row"
FASTAPI = Peer(
    "FastAPI, row by row",
    lambda port, streams: [*uvicorn("rows_app:fastapi")(port, streams), "--factory"],
    ("fastapi",),
)
TABLE = """
    CREATE TABLE bench_rows (
        id INTEGER PRIMARY KEY, big BIGINT, ratio DOUBLE PRECISION, name TEXT, note TEXT, at TIMESTAMP,
        flag BOOLEAN, amount NUMERIC(12, 2)
    )
"""
IN_POSTGRESQL = """
    INSERT INTO bench_rows
    SELECT n, n * 4294967296, n / 7.0, 'name ' || n, 'a note about number ' || n,
           timestamp '2026-01-01' + n * interval '1 second', n % 2 = 0, n / 100.0
    FROM generate_series(1, :count) AS n
"""
IN_SQLITE = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
    INSERT INTO bench_rows
    SELECT n, n * 4294967296, n / 7.0, 'name ' || n, 'a note about number ' || n,
           datetime(1767225600 + n, 'unixepoch') || '.000000', n % 2 = 0, n / 100.0
    FROM numbers
"""


@dataclass(frozen=True, slots=True)
class Load:
    rounds: int
    rows: int
    rows_one_by_one: int  # fewer: it takes ten times as long, and its rate is the same
    rows_of_fastapi: int  # fewer still
    rows_for_memory: int


FULL = Load(
    rounds=5, rows=1_000_000, rows_one_by_one=200_000, rows_of_fastapi=50_000, rows_for_memory=5_000_000
)
QUICK = Load(rounds=1, rows=20_000, rows_one_by_one=5_000, rows_of_fastapi=2_000, rows_for_memory=50_000)


@dataclass(frozen=True, slots=True)
class Figure:
    rate: float  # rows a second
    first_byte: float


Figures = dict[tuple[str, str], Figure]
"""By format and by how it was had."""


def fill(url: str, count: int) -> None:
    is_sqlite = url.startswith("sqlite")
    address = make_url(url)
    engine = create_engine(address if is_sqlite else address.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(TABLE))
        connection.execute(text(IN_SQLITE if is_sqlite else IN_POSTGRESQL), {"count": count})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if is_sqlite else "VACUUM ANALYZE bench_rows"))
    engine.dispose()


def psql(url: str, count: int) -> Drained:
    """What PostgreSQL's own client takes, on the server's core, into a pipe that is drained."""
    query = f"\\copy (SELECT * FROM bench_rows WHERE id <= {count}) TO STDOUT CSV"
    started = time.perf_counter()
    command = [*(("taskset", "-c", str(CORES[0])) if len(CORES) > 1 and which("taskset") else ()), "psql"]
    with subprocess.Popen([*command, url, "-qc", query], stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        buffer = memoryview(bytearray(1 << 20))
        taken, first = process.stdout.readinto(buffer) or 0, time.perf_counter() - started
        while more := process.stdout.readinto(buffer):
            taken += more
    if process.returncode:
        raise SystemExit("psql failed")
    return Drained(time.perf_counter() - started, first, taken)


@contextmanager
def answering(url: str) -> Iterator[tuple[int, int]]:
    os.environ["BENCH_DATABASE"] = url
    with serving("rows_app:app") as (port, pid):
        for kind in FORMATS:
            drain(port, f"/returned.{kind}?count=1000")
        yield port, pid


def measured(url: str, load: Load, begin: Callable[[str], None]) -> Figures:
    """All formats in turns, so that a busy moment of the machine is everybody's."""
    runs: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    with ExitStack() as stack:
        port, _ = stack.enter_context(answering(url))
        fastapi = None if FASTAPI.missing else stack.enter_context(running(FASTAPI.launch)).port
        for _ in range(load.rounds):
            begin(make_url(url).get_backend_name())
            if not url.startswith("sqlite"):
                _note(runs["csv", "psql"], psql(url, load.rows), load.rows)
            for kind in FORMATS:
                _note(runs[kind, "returned"], drain(port, f"/returned.{kind}?count={load.rows}"), load.rows)
            for kind in FORMATS_BY_ROW:
                count = load.rows_one_by_one
                _note(runs[kind, BY_ROW], drain(port, f"/row_by_row.{kind}?count={count}"), count)
            for kind in FORMATS_BY_ROW if fastapi else ():
                count = load.rows_of_fastapi
                _note(runs[kind, FASTAPI.name], drain(fastapi, f"/row_by_row.{kind}?count={count}"), count)
    return {
        what: Figure(
            statistics.median(run.rate for run in found), statistics.median(run.first_byte for run in found)
        )
        for what, found in runs.items()
    }


def _note(runs: list[Figure], drained: Drained, count: int) -> None:
    runs.append(Figure(count / drained.seconds, drained.first_byte))


def growth(url: str, kind: str, count: int) -> float:
    """How far one large answer lifts the memory of a server that has answered a small one, in MB."""
    with answering(url) as (port, pid):
        drain(port, f"/returned.{kind}?count=20000")
        before = _status(pid, "VmRSS")
        drain(port, f"/returned.{kind}?count={count}")
        return (_status(pid, "VmHWM") - before) / 1024


def _status(pid: int, field: str) -> int:
    said = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(said.split(f"{field}:")[1].split()[0])


def lines(database: str, figures: Figures, grown: dict[str, float]) -> Iterator[list[str]]:
    for (kind, how), figure in figures.items():
        ratios = [_ratio(figure, figures.get((kind, other))) for other in (BY_ROW, FASTAPI.name)]
        rise = f"{grown[kind]:.0f} MB" if how == "returned" else ""
        first = f"{figure.first_byte * 1000:.0f} ms"
        yield [database, kind, how, f"{figure.rate:,.0f}", *ratios, first, rise]
    for kind in FORMATS_BY_ROW if FASTAPI.missing else ():
        yield [database, kind, FASTAPI.name, FASTAPI.missing, "", "", "", ""]


def _ratio(figure: Figure, slow: Figure | None) -> str:
    return "" if slow is None else f"{figure.rate / slow.rate:.1f} ×"


def section(load: Load) -> str:
    found: list[list[str]] = []
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        databases = {"PostgreSQL 18": server.url, "SQLite": f"sqlite:///{folder}/rows.db"}
        with progress("rows", len(databases) * (load.rounds + len(FORMATS) + 1)) as begin:
            for name, url in databases.items():
                begin(f"filling {name}")
                fill(url, load.rows_for_memory)
                figures = measured(url, load, begin)
                grown = {}
                for kind in FORMATS:
                    begin(f"memory, {name}, {kind}")
                    grown[kind] = growth(url, kind, load.rows_for_memory)
                found += lines(name, figures, grown)
    packages = machine("sqlalchemy", "psycopg", "pyarrow", *(() if FASTAPI.missing else FASTAPI.needs))
    header = ("from", "as", "how", "rows/s", "ratio", "to FastAPI", "first byte")
    header += (f"RSS at {load.rows_for_memory:,} rows",)
    told = f"{packages}; {load.rows:,} rows × 8 columns; median of {load.rounds} rounds in turns."
    return f"{told}\n\n{table(header, found)}"


if __name__ == "__main__":
    chosen = options(__doc__)
    pin_client()
    publish("rows", section(QUICK if chosen.quick else FULL), chosen)
