"""What compressing a stream costs: each coding as it is offered, beside levels and windows that are not.

Bodies pass in writes of 256 KiB, and once line by line; each write is flushed. CPU time, not the wall's, so
that a busy machine changes little. Memory is what 200 compressors add to a process that has used each.

Run: python benchmarks/compression.py [--quick] [--write]
"""

from __future__ import annotations

import csv
import gc
import lzma
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import zstandard
from isal import isal_zlib

import millstream
from harness import Options, machine, options, progress, publish, table
from millstream.codecs.ndjson import Ndjson
from millstream.compression.codings import _Brotli, _Isal, _Zlib, _Zstd

FLIGHTS = Path(millstream.__file__).parent / "demo" / "flights.csv.xz"
WRITE = 256 << 10
LINES = 3_000
STREAMS = 200
HEADER = (
    "coding",
    "level",
    "ratio",
    "CPU ms per MB",
    "ms per 256 KiB",
    "longest",
    "line by line",
    "KiB a stream",
)
FIGURES = ("ratio", "per_mb", "per_write")

Write = Callable[[bytes], bytes]


def gzip(module: Any, level: int, window: int, memory: int) -> Callable[[], Write]:
    def start() -> Write:
        compressor = module.compressobj(level, module.DEFLATED, 16 + window, memory)
        return lambda data: compressor.compress(data) + compressor.flush(module.Z_SYNC_FLUSH)

    return start


def br(quality: int, window: int) -> Callable[[], Write]:
    def start() -> Write:
        compressor = brotli.Compressor(quality=quality, lgwin=window)
        return lambda data: compressor.process(data) + compressor.flush()

    return start


def zstd(level: int, **parameters: int) -> Callable[[], Write]:
    chosen = zstandard.ZstdCompressionParameters.from_level(level, **parameters)

    def start() -> Write:
        compressor = zstandard.ZstdCompressor(compression_params=chosen).compressobj()
        flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return lambda data: compressor.compress(data) + compressor.flush(flush_block)

    return start


CANDIDATES: dict[tuple[str, str], Callable[[], Write]] = {
    ("zstd", "**offered**"): lambda: _Zstd(zstandard).write,
    ("zstd", "1, window 16 KiB"): zstd(1, window_log=14, hash_log=12, chain_log=12),
    ("zstd", "3, window 128 KiB"): zstd(3, window_log=17),
    ("gzip (isal)", "**offered**"): lambda: _Isal(isal_zlib).write,
    ("gzip (isal)", "0, window 32 KiB"): gzip(isal_zlib, 0, 15, 8),
    ("gzip (isal)", "2, window 32 KiB"): gzip(isal_zlib, 2, 15, 8),
    ("gzip (zlib)", "**offered without isal**"): lambda: _Zlib(zlib).write,
    ("gzip (zlib)", "1, window 32 KiB"): gzip(zlib, 1, 15, 8),
    ("gzip (zlib)", "6, window 32 KiB"): gzip(zlib, 6, 15, 8),
    ("br", "**offered**"): lambda: _Brotli(brotli).write,
    ("br", "1, window 256 KiB"): br(1, 18),
    ("br", "2, window 16 KiB"): br(2, 14),
    ("br", "4, window 64 KiB"): br(4, 16),
}


@dataclass(frozen=True, slots=True)
class Cost:
    ratio: float
    per_mb: float  # CPU milliseconds
    per_write: float
    longest: float  # of one write


def bodies(size: int) -> dict[str, bytes]:
    """The demo's flights in two formats."""
    with lzma.open(FLIGHTS) as file:
        csv_body = file.read(size)
    codec = Ndjson(action="benchmark", charset="utf-8")
    flights = csv.DictReader(csv_body.decode().splitlines()[:-1])
    return {"CSV": csv_body, "NDJSON": b"".join(map(codec.item, flights))[:size]}


def passing(start: Callable[[], Write], body: bytes) -> Cost:
    write, size, spent = start(), 0, []
    for begin in range(0, len(body), WRITE):
        data, before = body[begin : begin + WRITE], time.thread_time()
        size += len(write(data))
        spent.append((time.thread_time() - before) * 1e3)
    total = sum(spent)
    return Cost(len(body) / size, total / len(body) * 1e6, total / len(body) * WRITE, max(spent))


def by_lines(start: Callable[[], Write], body: bytes) -> tuple[float, float]:
    """The ratio of single lines, and the CPU microseconds of each."""
    write, lines = start(), body.splitlines(keepends=True)[:LINES]
    before = time.thread_time()
    size = sum(len(write(line)) for line in lines)
    return sum(map(len, lines)) / size, (time.thread_time() - before) / LINES * 1e6


def memory(start: Callable[[], Write], body: bytes) -> float:
    """KiB a stream, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        gc.collect()
        before, streams = _resident(), []
        for _ in range(STREAMS):
            streams.append(start())
            for begin in range(0, WRITE, WRITE // 4):
                streams[-1](body[begin : begin + WRITE // 4])
        os.write(writing, str((_resident() - before) / STREAMS).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123  a descriptor
        measured = float(pipe.read())
    os.waitpid(child, 0)
    return measured


def rows(plain: dict[str, bytes]) -> Iterator[list[str]]:
    with progress("compression", len(CANDIDATES)) as begin:
        for (coding, level), start in CANDIDATES.items():
            begin(f"{coding} {level}")
            costs = [passing(start, body) for body in plain.values()]
            ratio, each = by_lines(start, plain["CSV"])
            yield [
                coding,
                level,
                *(" / ".join(f"{getattr(cost, figure):.2f}" for cost in costs) for figure in FIGURES),
                f"{max(cost.longest for cost in costs):.1f}",
                f"{ratio:.2f}, {each:.1f} µs",
                f"{memory(start, plain['CSV']):.0f}",
            ]


def report(chosen: Options) -> str:
    size = (1 if chosen.quick else 8) << 20
    told = f"CPU time; {size >> 20} MiB of flights as CSV / NDJSON, every write flushed."
    return f"{machine('zstandard', 'isal', 'brotli')}; {told}\n\n{table(HEADER, rows(bodies(size)))}"


def _resident() -> float:
    """KiB of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


if __name__ == "__main__":
    chosen = options(__doc__)
    publish("compression", report(chosen), chosen)
