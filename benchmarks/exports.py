"""336,776 flights from a database over HTTP: the speed, cost and honesty of an export, side by side.

Run: python benchmarks/exports.py [--quick] [--write]
"""

from __future__ import annotations

import csv
import http.client
import io
import json
import lzma
import statistics
import tempfile
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psycopg
from rich.console import Console
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from flights import NAMES, flights
from gauge import Gauge
from harness import (
    END,
    Drained,
    Options,
    drain,
    machine,
    options,
    pin_client,
    progress,
    publish,
    requested,
    table,
)
from millstream.demo.data import FLIGHTS, SOURCE, build
from millstream.testing.postgres import postgres
from roster import EXPORTS, OURS, Peer, packages, present
from servers import HOST, Server, running

ROUNDS = 3
FORMATS = ("csv", "ndjson")
FEW = 2_000  # rows of the answer that warms up and is compared
HEADER = ("database", "as", "peer", "rows/s", "MB/s", "Millstream's ratio", "first byte", "CPU s")
HEADER += ("growth of RSS", "database lost half way")
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class Cell:
    database: str
    kind: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Sample:
    drained: Drained
    cpu: float
    grown: int


def measure(url: str, database: str, *, count: int, rounds: int) -> dict[Cell, list[Sample]]:
    """Every peer and format, in turns, so that a slow minute of the machine is everybody's."""
    samples: dict[Cell, list[Sample]] = defaultdict(list)
    with ExitStack() as stack:
        environment = {"BENCH_DATABASE": url}
        servers = {
            peer: stack.enter_context(running(peer.launch, env=environment)) for peer in present(EXPORTS)
        }
        pin_client()
        cells = [Cell(database, kind, peer) for kind in FORMATS for peer in servers]
        begin = stack.enter_context(progress(f"exports from {database}", rounds * len(cells) + 1))
        begin("comparing what they send")
        for kind in FORMATS:
            compare(kind, {peer.name: server for peer, server in servers.items()})
        for _ in range(rounds):
            for cell in cells:
                begin(f"{cell.peer.name}, {cell.kind}")
                samples[cell].append(_sample(servers[cell.peer], cell.kind, count))
    return samples


def _sample(server: Server, kind: str, count: int) -> Sample:
    with Gauge(server.pid).watching() as watch:
        drained = drain(server.port, f"/flights.{kind}?count={count}")
    return Sample(drained, watch.cpu, watch.grown)


def compare(kind: str, servers: dict[str, Server]) -> None:
    """Whoever sends other rows than we do is not measured against us.

    Raises:
        SystemExit: when anybody does.
    """
    wanted: list[object] = []
    for name, server in servers.items():
        try:
            with urllib.request.urlopen(f"http://{HOST}:{server.port}/flights.{kind}?count={FEW}") as answer:
                text = answer.read().decode()
        except (OSError, http.client.HTTPException) as failed:
            raise SystemExit(f"{name} does not send {kind}: {failed}") from None
        if kind == "csv":
            rows: list[object] = list(csv.reader(io.StringIO(text, newline="")))
        else:
            rows = [json.loads(line) for line in text.splitlines()]
        wanted = wanted or rows
        if rows != wanted:
            raise SystemExit(f"{name} sends other {kind} than {OURS}")


def lose_database(url: str, peers: tuple[Peer, ...]) -> dict[Cell, str]:
    """What everybody's client sees; each time with a new server, whose pool holds nothing cut before."""
    cells = [Cell("PostgreSQL", kind, peer) for peer in present(peers) for kind in FORMATS]
    ends = {}
    with progress("losing the database", len(cells)) as begin:
        for cell in cells:
            begin(f"{cell.peer.name}, {cell.kind}")
            with running(cell.peer.launch, env={"BENCH_DATABASE": url}) as server:
                ends[cell] = _cut(url, server, cell.kind)
    return ends


def _cut(url: str, server: Server, kind: str) -> str:
    """What the end of an export looks like when its connection to the database is cut half way."""
    with requested(server.port, f"/flights.{kind}?count={FLIGHTS}") as client:
        received = client.recv(65_536)
        lines, end = received.count(b"\n"), received
        if not received.startswith(b"HTTP/1.1 200"):
            return f"answered {received[9:12].decode()}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(CUT)
        try:
            while received := client.recv(1 << 20):
                lines += received.count(b"\n")
                end = (end[-5:] + received)[-5:]
        except ConnectionResetError:
            return "broken off"
    if lines > FLIGHTS:
        return "was sent before it was cut"
    return "**ends as if complete**" if end == END else "broken off"


def fill(url: str) -> None:
    """The demo's flights, in PostgreSQL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(str(CreateTable(flights).compile(dialect=postgresql.dialect())))
        copy = f"COPY flights ({', '.join(NAMES)}) FROM STDIN (FORMAT csv, HEADER, NULL 'NA')"
        with lzma.open(SOURCE) as unpacked, connection.cursor().copy(copy) as copying:
            while block := unpacked.read(1 << 20):
                copying.write(block)
        connection.execute("VACUUM ANALYZE flights")


def rows(samples: dict[Cell, list[Sample]], ends: dict[Cell, str], count: int) -> Iterator[list[str]]:
    for database, kind in product(("SQLite", "PostgreSQL"), FORMATS):
        ours = _seconds(samples[Cell(database, kind, EXPORTS[0])])
        for peer in EXPORTS:
            cell = Cell(database, kind, peer)
            named = [database, kind, peer.name]
            if peer.missing:
                yield [*named, peer.missing, *("–" for _ in HEADER[4:])]
            else:
                yield [*named, *_figures(samples[cell], count, ours), ends.get(cell, "–")]


def _seconds(taken: list[Sample]) -> float:
    return statistics.median(sample.drained.seconds for sample in taken)


def _figures(taken: list[Sample], count: int, ours: float) -> Iterator[str]:
    seconds = _seconds(taken)
    yield f"{count / seconds:,.0f}"
    yield f"{taken[0].drained.bytes / seconds / 1e6:.0f}"
    yield f"{seconds / ours:.1f} ×"
    yield f"{statistics.median(sample.drained.first_byte for sample in taken) * 1000:.0f} ms"
    yield f"{statistics.median(sample.cpu for sample in taken):.2f}"
    yield f"{max(sample.grown for sample in taken) / 1e6:.1f} MB"


def report(chosen: Options) -> str:
    count, rounds = (FEW * 10, 1) if chosen.quick else (FLIGHTS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder, postgres() as server:
        file = Path(folder) / "flights.sqlite"
        with Console(stderr=True).status("making the databases"):
            build(file)
            fill(server.url)
        samples = measure(f"sqlite:///{file}", "SQLite", count=count, rounds=rounds)
        samples |= measure(server.url, "PostgreSQL", count=count, rounds=rounds)
        ends = lose_database(server.url, EXPORTS[:1] if chosen.quick else EXPORTS)
    about = machine("sqlalchemy", "psycopg", *packages(EXPORTS))
    about += f"; PostgreSQL 18; {count:,} rows × {len(NAMES) + 1} columns; median of {rounds} in turns."
    return f"{about}\n\n{table(HEADER, rows(samples, ends, count))}"


if __name__ == "__main__":
    chosen = options(__doc__)
    publish("exports", report(chosen), chosen)
