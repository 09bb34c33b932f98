"""Thousands of streams at once: each sleeps a second before each of five items, while twenty tickers watch.

Run: python benchmarks/scale.py [--quick] [--write]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from shutil import which

from crowd import Load, Report, send
from gauge import Gauge
from harness import Options, drain, machine, options, pin_client, progress, publish, table
from roster import BOTH, SCALE, Peer, packages, present
from servers import HOST, ServerFailed, raise_open_files, running

SLEEPS = {"sync": "sleep", "async": "asleep"}
CROWDS = (1_000, 5_000, 10_000)
FULL = Load(clients=0)
QUICK = replace(FULL, every=0.1, limit=10.0)
ENDLESS = 1_000_000  # ticks
SPARE = 200  # files besides the sockets of the crowd
HEADER = (
    "streams",
    "peer",
    "finished",
    "seconds",
    "items late p50 / p99",
    "tickers late p99",
    "once all are in",
    "KiB a stream",
    "CPU s",
)


@dataclass(frozen=True, slots=True)
class Cell:
    kind: str
    clients: int
    peer: Peer


@dataclass(frozen=True, slots=True)
class Run:
    report: Report
    cpu: float
    grown: int


def measure(chosen: Options) -> dict[Cell, Run | str]:
    """One run of each, with a new server; or the reason why there is none."""
    crowds, load = ((50,), QUICK) if chosen.quick else (CROWDS, FULL)
    raise_open_files(max(crowds) + SPARE)
    pin_client()
    cells = [
        Cell(kind, clients, peer)
        for kind in BOTH
        for clients in crowds
        for peer in present(SCALE)
        if kind in peer.kinds
    ]
    runs: dict[Cell, Run | str] = {}
    with progress("scale", len(cells)) as begin:
        for cell in cells:
            begin(f"{cell.clients:,} {cell.kind} streams on {cell.peer.name}")
            runs[cell] = _hopeless(cell, runs) or _run(cell, replace(load, clients=cell.clients))
    return runs


def _hopeless(cell: Cell, runs: dict[Cell, Run | str]) -> str:
    """Who has served less than half of a smaller crowd is not asked to serve a larger one."""
    smaller = [run for other, run in runs.items() if (other.kind, other.peer) == (cell.kind, cell.peer)]
    served = all(isinstance(run, Run) and run.report.finished * 2 > run.report.clients for run in smaller)
    return "" if served else "not tried after that"


def _run(cell: Cell, load: Load) -> Run | str:
    try:
        return _watched(cell, load)
    except (ServerFailed, OSError) as failed:
        return f"**0 of {load.clients:,}**: {failed}"


def _watched(cell: Cell, load: Load) -> Run:
    """The tickers are asynchronous where they can be: it is the event loop that a crowd of threads delays."""
    crowd, ticker = SLEEPS[cell.kind], SLEEPS[cell.peer.kinds[-1]]
    with running(cell.peer.launch, streams=load.clients + load.tickers) as server:
        address = f"http://{HOST}:{server.port}"
        for path in (crowd, ticker):
            drain(server.port, f"/{path}/5/1")
        with Gauge(server.pid).watching(every=0.2) as watch:
            report = send(
                load,
                crowd=f"{address}/{crowd}/{load.items}/{load.every * 1000:.0f}",
                ticker=f"{address}/{ticker}/{ENDLESS}/{load.tick * 1000:.0f}",
            )
    return Run(report, watch.cpu, watch.grown)


def rows(runs: dict[Cell, Run | str], kind: str) -> Iterator[list[str]]:
    for clients in dict.fromkeys(cell.clients for cell in runs):
        for peer in SCALE:
            cell = Cell(kind, clients, peer)
            named = [f"{clients:,}", peer.name]
            if kind not in peer.kinds:
                continue
            if peer.missing:
                yield [*named, peer.missing, *("–" for _ in HEADER[3:])]
            elif isinstance(run := runs[cell], Run):
                yield [*named, *_figures(run)]
            else:
                yield [*named, run, *("–" for _ in HEADER[3:])]


def _figures(run: Run) -> Iterator[str]:
    report = run.report
    if report.finished == report.clients:
        yield f"all {report.clients:,}"
    else:
        why = max(report.failures, key=lambda name: report.failures[name])
        yield f"**{report.finished:,} of {report.clients:,}**: {why}"
    yield f"{report.seconds:.1f}"
    yield " / ".join(f"{late:.2f} s" for late in report.lateness) or "–"
    for late in (report.delay, report.calm):
        yield f"{late[1] * 1000:,.0f} ms" if late else "–"
    yield f"{run.grown / 1024 / report.clients:.0f}"
    yield f"{run.cpu:.1f}"


def text(runs: dict[Cell, Run | str], chosen: Options) -> str:
    load = QUICK if chosen.quick else FULL
    client = "Go" if which("go") else "Python"
    about = (
        f"{machine(*packages(SCALE))}; load generator in {client}; {load.items} items, {load.every:g} s "
        f"before each, so {load.items * load.every:g} s at best; everybody leaves after {load.limit:.0f} s; "
        f"{load.tickers} tickers every {load.tick * 1000:.0f} ms."
    )
    tables = (f"### {kind.capitalize()} generators\n\n{table(HEADER, rows(runs, kind))}" for kind in BOTH)
    return "\n\n".join((about, *tables))


if __name__ == "__main__":
    chosen = options(__doc__)
    publish("scale", text(measure(chosen), chosen), chosen)
