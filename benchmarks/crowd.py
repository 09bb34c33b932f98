"""Many clients at once: the load generator of `load/`, compiled where there is Go, and what it reports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from shutil import which

from servers import HERE, compiled


@dataclass(frozen=True, slots=True)
class Load:
    clients: int
    items: int = 5
    every: float = 1.0  # seconds before each item
    tickers: int = 20
    tick: float = 0.05
    limit: float = 30.0  # seconds after which everybody leaves


@dataclass(frozen=True, slots=True)
class Report:
    """Times are seconds, pairs the median and the 99th percentile; nothing where nothing came."""

    clients: int
    finished: int
    seconds: float
    lateness: list[float]
    delay: list[float]  # of the tickers
    calm: list[float]  # of the tickers, since the last client was let in
    failures: dict[str, int]


def send(load: Load, crowd: str, ticker: str) -> Report:
    """Let the clients in on one URL, with the tickers on the other."""
    command = [str(compiled("load"))] if which("go") else [sys.executable, str(HERE / "load/fallback.py")]
    command += [
        f"--crowd={crowd}",
        f"--ticker={ticker}",
        f"--clients={load.clients}",
        f"--items={load.items}",
    ]
    command += [f"--every={load.every}", f"--tickers={load.tickers}", f"--tick={load.tick}"]
    command += [f"--limit={load.limit}"]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=load.limit + 60)
    return Report(**json.loads(ran.stdout))
