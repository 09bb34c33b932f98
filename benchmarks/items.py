"""Items a second and time to first byte: Millstream, Starlette and a bare ASGI callable on the same server.

Run: python benchmarks/items.py
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from rich.progress import track

from harness import Drained, drain, machine, pin_client, serving, write_section

ROUNDS = 5
PEERS = ("millstream", "starlette", "bare")
KINDS = ("sync", "asynchronous")
LOADS = {"200,000 items of 20 B": (200_000, 20), "8,000 items of 64 KiB": (8_000, 65_536)}


def measure() -> dict[tuple[str, str, str], list[Drained]]:
    """Every peer, kind and load, in turns, so that a slow minute of the machine is everybody's."""
    results: dict[tuple[str, str, str], list[Drained]] = {}
    with ExitStack() as servers:
        ports = {peer: servers.enter_context(serving(f"apps:{peer}")) for peer in PEERS}
        pin_client()
        for turn in track(range(ROUNDS + 1), "items"):
            for load, (count, size) in LOADS.items():
                for peer, (port, _) in ports.items():
                    for kind in KINDS:
                        drained = drain(port, f"/{kind}/{count}/{size}")
                        if turn:  # the first round warms up
                            results.setdefault((load, kind, peer), []).append(drained)
    return results


def table(results: dict[tuple[str, str, str], list[Drained]]) -> str:
    lines = [
        machine() + f"; median of {ROUNDS} rounds in turns.",
        "",
        "| load | kind | peer | rate | Millstream's ratio | first byte |",
        "|---|---|---|---|---|---|",
    ]
    for load, (count, size) in LOADS.items():
        for kind in KINDS:
            ours = _median(results[load, kind, "millstream"])
            for peer in PEERS:
                took = _median(results[load, kind, peer])
                first = statistics.median(d.first_byte for d in results[load, kind, peer])
                rate = (
                    f"{count / took / 1e6:.2f} M items/s"
                    if size < 1024
                    else f"{count * size / took / 1e6:,.0f} MB/s"
                )
                lines.append(
                    f"| {load} | {kind} | {peer} | {rate} | {took / ours:.1f} × | {first * 1000:.1f} ms |"
                )
    return "\n".join(lines)


def _median(drained: list[Drained]) -> float:
    return statistics.median(d.seconds for d in drained)


if __name__ == "__main__":
    written = table(measure())
    write_section("items", written)
    print(written)
