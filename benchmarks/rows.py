"""Rows a second, memory and time to first byte of a query over HTTP, from a real PostgreSQL.

Run: python benchmarks/rows.py
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from rich.console import Console
from rich.progress import track
from sqlalchemy import create_engine, make_url, text

from harness import Drained, drain, machine, pin_client, serving, write_section
from millstream.testing.postgres import postgres

ROUNDS = 3
MILLION = 1_000_000
LARGEST = 5 * MILLION
FILL = """
    CREATE TABLE bench_rows AS
    SELECT n::integer AS id, (n * 4294967296)::bigint AS big, n / 7.0::double precision AS ratio,
           'name ' || n AS name, 'a note about number ' || n AS note,
           timestamp '2026-01-01' + n * interval '1 second' AS at, n % 2 = 0 AS flag,
           (n / 100.0)::numeric(12, 2) AS amount
    FROM generate_series(1, :count) AS n
"""


def fill(url: str, count: int) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(FILL), {"count": count})
        connection.execute(text("ALTER TABLE bench_rows ADD PRIMARY KEY (id)"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE bench_rows"))
    engine.dispose()


def resident(pid: int) -> float:
    """A process' resident memory in MB."""
    fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(fields.split("VmRSS:")[1].split()[0]) / 1024


def peak(pid: int) -> float:
    """The most that was resident since the start, in MB."""
    fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(fields.split("VmHWM:")[1].split()[0]) / 1024


def memory(count: int, kind: str) -> tuple[float, Drained]:
    """How far one large answer lifts the memory of a server that has answered a small one."""
    with serving("rows_app:app") as (port, pid):
        drain(port, f"/returned.{kind}?count=10000")
        before = resident(pid)
        drained = drain(port, f"/returned.{kind}?count={count}")
        return peak(pid) - before, drained


def rates() -> dict[tuple[str, str], list[Drained]]:
    results: dict[tuple[str, str], list[Drained]] = {}
    with serving("rows_app:app") as (port, _):
        for turn in track(range(ROUNDS + 1), "rows"):
            for kind in ("csv", "ndjson"):
                for action in ("returned", "row_by_row"):
                    drained = drain(port, f"/{action}.{kind}?count={MILLION}")
                    if turn:
                        results.setdefault((kind, action), []).append(drained)
    return results


def table() -> str:
    lines = [
        machine("sqlalchemy", "psycopg") + f"; PostgreSQL 18; median of {ROUNDS} rounds in turns.",
        "",
        "| 1,000,000 rows × 8 columns as | how | rows/s | a returned query's ratio | first byte |",
        "|---|---|---|---|---|",
    ]
    measured = rates()
    for kind in ("csv", "ndjson"):
        ours = statistics.median(d.seconds for d in measured[kind, "returned"])
        for action in ("returned", "row_by_row"):
            took = statistics.median(d.seconds for d in measured[kind, action])
            first = statistics.median(d.first_byte for d in measured[kind, action])
            how = action.replace("_", " ")
            lines.append(
                f"| {kind} | {how} | {MILLION / took:,.0f} | {took / ours:.1f} × | {first * 1000:.0f} ms |"
            )
    lines += ["", "| rows returned | as | growth of RSS (peak) | first byte |", "|---|---|---|---|"]
    for count in (MILLION, LARGEST):
        for kind in ("csv", "ndjson"):
            grown, drained = memory(count, kind)
            lines.append(f"| {count:,} | {kind} | {grown:.1f} MB | {drained.first_byte * 1000:.0f} ms |")
    return "\n".join(lines)


if __name__ == "__main__":
    with postgres() as server:
        with Console().status(f"making a table of {LARGEST:,} rows"):
            fill(server.url, LARGEST)
        os.environ["BENCH_DATABASE"] = server.url
        pin_client()
        written = table()
    write_section("rows", written)
    print(written)
