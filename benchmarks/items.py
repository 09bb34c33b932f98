"""Items a second and time to first byte, of tiny and of big items.

Run: python benchmarks/items.py [--quick] [--write]
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

from gauge import Gauge
from harness import Drained, Options, drain, machine, options, pin_client, progress, publish, table
from roster import BOTH, ITEMS, Peer, packages, present
from servers import Server, running

ROUNDS = 5
PATHS = {"sync": "sync", "async": "asynchronous"}
SIZES = {"20 B": 20, "64 KiB": 65_536}
MOST = 4_000_000  # items of one response
LARGEST = 1_500_000_000  # bytes of one response
HEADER = ("items of", "generator", "peer", "rate", "Millstream's ratio", "CPU s", "first byte")


@dataclass(frozen=True, slots=True)
class Cell:
    size: str
    kind: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Sample:
    count: int
    drained: Drained
    cpu: float

    @property
    def rate(self) -> float:
        return self.count / self.drained.seconds


def measure(chosen: Options) -> dict[Cell, list[Sample]]:
    """Every peer, kind and size, in turns, so that a slow minute of the machine is everybody's."""
    rounds, seconds = (1, 0.02) if chosen.quick else (ROUNDS, 0.7)
    samples: dict[Cell, list[Sample]] = defaultdict(list)
    with ExitStack() as stack:
        servers = {peer: stack.enter_context(running(peer.launch)) for peer in present(ITEMS)}
        pin_client()
        cells = [Cell(*each) for each in product(SIZES, BOTH, servers) if each[1] in each[2].kinds]
        begin = stack.enter_context(progress("items", (rounds + 1) * len(cells)))
        counts = {}
        for cell in cells:
            begin(f"{cell.peer.name}, warming up")
            counts[cell] = _fitting(servers[cell.peer], cell, seconds)
        for _ in range(rounds):
            for cell in cells:
                begin(cell.peer.name)
                samples[cell].append(_sample(servers[cell.peer], cell, counts[cell]))
    return samples


def _fitting(server: Server, cell: Cell, seconds: float) -> int:
    """How many items take about so many seconds: what is fast needs more of them to be measured at all."""
    count = 100
    while True:
        took = _sample(server, cell, count).drained.seconds
        most = min(MOST, LARGEST // SIZES[cell.size])
        if took > seconds / 4 or count == most:
            return max(100, min(most, int(count * seconds / took)))
        count = min(most, count * 4)


def _sample(server: Server, cell: Cell, count: int) -> Sample:
    gauge = Gauge(server.pid)
    # Who has waited for the others' turns is woken first: the system may have taken its pages away.
    drain(server.port, f"/{PATHS[cell.kind]}/100/{SIZES[cell.size]}")
    before = gauge.cpu()
    drained = drain(server.port, f"/{PATHS[cell.kind]}/{count}/{SIZES[cell.size]}")
    return Sample(count, drained, gauge.cpu() - before)


def rows(samples: dict[Cell, list[Sample]]) -> Iterator[list[str]]:
    rates = {cell: statistics.median(sample.rate for sample in taken) for cell, taken in samples.items()}
    for size, kind in product(SIZES, BOTH):
        ours = rates[Cell(size, kind, ITEMS[0])]
        for peer in ITEMS:
            cell = Cell(size, kind, peer)
            if peer.missing:
                yield [size, kind, peer.name, peer.missing, "–", "–", "–"]
            elif cell in rates:
                yield [size, kind, peer.name, *_figures(cell, rates[cell], ours, samples[cell])]


def _figures(cell: Cell, rate: float, ours: float, taken: list[Sample]) -> list[str]:
    size = SIZES[cell.size]
    first = statistics.median(sample.drained.first_byte for sample in taken)
    if size < 1024:
        cpu = statistics.median(sample.cpu / sample.count for sample in taken) * 1e6
        figures = [f"{rate:,.0f} items/s", f"{ours / rate:.1f} ×", f"{cpu:.2f} a million"]
    else:
        cpu = statistics.median(sample.cpu / (sample.count * size) for sample in taken) * 1e9
        figures = [f"{rate * size / 1e6:,.0f} MB/s", f"{ours / rate:.1f} ×", f"{cpu:.2f} a GB"]
    return [*figures, f"{first * 1000:.1f} ms"]


def report(samples: dict[Cell, list[Sample]], chosen: Options) -> str:
    rounds = "one round" if chosen.quick else f"medians of {ROUNDS} rounds in turns"
    return f"{machine(*packages(ITEMS))}; {rounds}.\n\n{table(HEADER, rows(samples))}"


if __name__ == "__main__":
    chosen = options(__doc__)
    publish("items", report(measure(chosen), chosen), chosen)
