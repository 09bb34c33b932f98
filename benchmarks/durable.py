"""Durable streams beside the reference server of their protocol: appending, following, catching up.

Run: python benchmarks/durable.py [--quick] [--write]

Needs Go, node and npm; says so where they are missing. The reference server is installed from the npm
registry, once, into a temporary folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from gauge import Gauge
from harness import machine, options, pin_client, progress, publish, table
from servers import HERE, HOST, Launch, Server, compiled, raise_open_files, running, uvicorn

REFERENCE = HERE / "peers" / "durable"
CONNECTIONS = 64
KINDS = {"binary": "application/octet-stream", "JSON": "application/json"}
SPARE = 200  # files besides the sockets of the followers
SETTLING = 5  # seconds; the load generator's
LONGEST = 120.0  # seconds of one load


@dataclass(frozen=True, slots=True)
class Load:
    rounds: int
    seconds: float  # of appending; of following at a steady rate, twice as many
    followers: int
    rate: float  # messages a second that they are sent
    flood: float  # seconds of sending them as fast as they are taken
    size: int  # bytes to catch up with


FULL = Load(rounds=3, seconds=2.0, followers=1_000, rate=5.0, flood=2.0, size=50_000_000)
QUICK = Load(rounds=1, seconds=0.2, followers=20, rate=20.0, flood=0.2, size=2_000_000)


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    launch: Callable[[Path], Launch]  # with a folder of its own


@dataclass(frozen=True, slots=True)
class Report:
    """What the load generator prints; see there."""

    seconds: float
    count: int
    missing: int
    bytes: int
    took: list[float]
    flood: float


Samples = dict[str, dict[str, list[float]]]
"""By figure, then by peer."""


def missing() -> str:
    """Why there can be no run here, if there cannot."""
    absent = [name for name in ("go", "node", "npm") if which(name) is None]
    return f"{', '.join(absent)} not found" if absent else ""


def measure(load: Load) -> Samples:
    """Every peer in turns, so that a slow minute of the machine is everybody's."""
    raise_open_files(load.followers + SPARE)
    installed()
    compiled("load/durable")
    samples: Samples = defaultdict(lambda: defaultdict(list))
    pin_client()
    with progress("durable", 3 * load.rounds * len(PEERS)) as begin:
        for part in (appends, catching_up, followers):
            part(load, samples, begin)
    return samples


def appends(load: Load, samples: Samples, begin: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        servers = {peer: stack.enter_context(_served(peer)) for peer in PEERS}
        for server in servers.values():
            _send(server, "warm", "append", clients=CONNECTIONS, seconds=load.seconds / 2)
        for number in range(load.rounds):
            for peer, server in servers.items():
                begin(f"appending to {peer.name}")
                for clients in (CONNECTIONS, 1):
                    gauge = Gauge(server.pid)
                    before = gauge.cpu()
                    report = _send(
                        server, f"{clients}-{number}", "append", clients=clients, seconds=load.seconds
                    )
                    about = f"append {clients}"
                    samples[about][peer.name].append(report.count / report.seconds)
                    samples[f"{about} p99"][peer.name].append(report.took[1])
                    samples[f"{about} CPU"][peer.name].append((gauge.cpu() - before) / report.count)


def catching_up(load: Load, samples: Samples, begin: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        servers = {peer: stack.enter_context(_served(peer)) for peer in PEERS}
        for kind, content_type in KINDS.items():
            for server in servers.values():
                _send(server, kind, "fill", size=load.size, type=content_type)
        for _ in range(load.rounds):
            for peer, server in servers.items():
                begin(f"catching up with {peer.name}")
                for kind in KINDS:
                    with Gauge(server.pid).watching() as watch:
                        report = _send(server, kind, "read")
                    samples[f"read {kind}"][peer.name].append(report.bytes / report.seconds)
                    samples[f"read {kind} grown"][peer.name].append(watch.grown)


def followers(load: Load, samples: Samples, begin: Callable[[str], None]) -> None:
    """A new server each time, for memory is used again; who could not keep up is not asked again."""
    overwhelmed = set()
    for _ in range(load.rounds):
        for peer in PEERS:
            begin(f"following {peer.name}")
            if peer not in overwhelmed:
                report = _followed(peer, load, samples)
                if report.missing:
                    overwhelmed.add(peer)


def _followed(peer: Peer, load: Load, samples: Samples) -> Report:
    steady = {"seconds": 2 * load.seconds, "rate": load.rate}
    with _served(peer) as server:
        _send(server, "warm", "follow", clients=10, seconds=0.5, flood=0.1)
        with Gauge(server.pid).watching() as watch:
            report = _send(server, "a", "follow", clients=load.followers, flood=load.flood, **steady)
    samples["follow p50"][peer.name].append(report.took[0])
    samples["follow p99"][peer.name].append(report.took[1])
    samples["missing"][peer.name].append(report.missing / report.count)
    samples["follower"][peer.name].append(watch.grown / load.followers)
    if report.flood:
        samples["deliveries"][peer.name].append(report.flood)
    return report


@contextmanager
def _served(peer: Peer) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as folder:
        environment = {"BENCH_DURABLE": f"sqlite:///{folder}/streams.db"}
        with running(peer.launch(Path(folder)), env=environment) as server:
            yield server


def _send(server: Server, stream: str, mode: str, **how: float | str) -> Report:
    command = [str(compiled("load/durable")), f"--mode={mode}", f"--url=http://{HOST}:{server.port}/{stream}"]
    command += [f"--{name}={value}" for name, value in how.items()]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=LONGEST)
    return Report(**json.loads(ran.stdout))


def installed() -> Path:
    """The folder of the reference server, with what it needs."""
    files = sorted(REFERENCE.iterdir())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"durable-streams-reference-{digest[:16]}"
    if not folder.exists():
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))  # under its name only when it is whole
        for file in files:
            shutil.copy(file, made)
        command = [
            which("npm") or "npm",
            "install",
            "--no-package-lock",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ]
        if subprocess.run(command, check=False, cwd=made, stdout=sys.stderr).returncode:
            raise SystemExit("npm could not install the reference server")
        with suppress(OSError):  # another run was faster
            made.rename(folder)
    return folder


def millstream(_: Path) -> Launch:
    """As `millstream serve` runs uvicorn, without its access log; where the log is, the environment says."""

    def command(port: int, streams: int) -> list[str]:
        return [*uvicorn("durable_app:app")(port, streams), "--no-proxy-headers", "--no-server-header"]

    return command


def reference(*store: str) -> Callable[[Path], Launch]:
    def launch(folder: Path) -> Launch:
        server = str(installed() / "server.mjs")
        return lambda port, _: ["node", server, str(port), *(str(folder / name) for name in store)]

    return launch


OURS, MEMORY, FILE = "Millstream, SQLite", "reference server, memory", "reference server, file"
PEERS = (Peer(OURS, millstream), Peer(MEMORY, reference()), Peer(FILE, reference("streams")))


@dataclass(frozen=True, slots=True)
class Row:
    figure: str  # the name of its samples
    title: str
    shown: Callable[[float], str]
    asked: str = "–"  # of the ratios
    middle: Callable[[list[float]], float] = statistics.median  # of all rounds

    def cells(self, samples: Samples) -> Iterator[str]:
        taken = samples[self.figure]
        values = {peer.name: self.middle(taken[peer.name]) for peer in PEERS if taken[peer.name]}
        yield self.title
        for peer in PEERS:
            yield self.shown(values[peer.name]) if peer.name in values else "–"
        for name in (MEMORY, FILE):
            known = values.get(OURS) and values.get(name)
            yield f"{values[OURS] / values[name]:.2f} ×" if known else "–"
        yield self.asked


def text(samples: Samples, load: Load) -> str:
    header = ("", *(peer.name for peer in PEERS), "ratio to memory", "ratio to file", "asked")
    about = (
        f"{machine('apsw')}, {_node()}; server on one core, load generator in Go on the other; medians of "
        f"{load.rounds} rounds in turns. SQLite syncs every commit (`synchronous = FULL`), the file store "
        f"every append, the memory store nothing. Appends and messages have 100 bytes; the binary stream was "
        f"filled by appends of 64 KiB. What was not delivered {SETTLING} s after the last message was due "
        f"counts as late as it was by then; who could not keep up is not flooded."
    )
    return f"{about}\n\n{table(header, (row.cells(samples) for row in _rows(load)))}"


def _node() -> str:
    asked = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
    pinned = json.loads((REFERENCE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return ", ".join(
        [f"node {asked.stdout.strip()}", *(f"{name} {number}" for name, number in pinned.items())]
    )


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{value * 1e3:,.1f} ms"


def _microseconds(value: float) -> str:
    return f"{value * 1e6:,.0f} µs"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def _speed(value: float) -> str:
    return f"{value / 1e6:,.0f} MB/s"


def _rows(load: Load) -> Iterator[Row]:
    """What is shown, and what is asked of it."""
    for clients in (CONNECTIONS, 1):
        how = f"{clients} connection{'s' if clients > 1 else ''}"
        asked = "≥ 0.7 × memory, ≥ 8 × file" if clients > 1 else "–"
        yield Row(f"append {clients}", f"appends/s, {how}", _count, asked)
        yield Row(f"append {clients} p99", "– until acknowledged, p99", _milliseconds)
        yield Row(f"append {clients} CPU", "– CPU of one", _microseconds)
    size = f"{load.size / 1e6:.0f} MB"
    for kind in KINDS:
        yield Row(f"read {kind}", f"catching up with {size}, {kind}", _speed, "≥ 0.7 × memory")
        yield Row(f"read {kind} grown", "– growth of RSS, at most", _megabytes, "< 20 MB", middle=max)
    crowd = f"{load.followers:,} followers (SSE)"
    yield Row("follow p50", f"{crowd}, {load.rate:.0f} messages/s: late p50", _milliseconds, "≤ 1.2 × memory")
    yield Row("follow p99", "– late p99", _milliseconds)
    yield Row("missing", "– not delivered", "{:.0%}".format)
    yield Row("deliveries", f"{crowd}: most deliveries/s", _count, "≥ 1 × memory")
    yield Row("follower", "– growth of RSS for each", lambda size: f"{size / 1024:.0f} KiB", "≤ 20 KiB")


if __name__ == "__main__":
    chosen = options(__doc__)
    if why := missing():
        print(f"durable streams are not measured: {why}")
    else:
        load = QUICK if chosen.quick else FULL
        publish("durable", text(measure(load), load), chosen)
