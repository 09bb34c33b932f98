"""The content codings (RFC 9110 §8.4.1): each write is flushed, so that it can be decoded at once.

Levels and windows are chosen for many streams on one event loop, not for the smallest file: no write of
256 KiB may keep the others waiting for long, and ten thousand streams have to fit into memory.
`benchmarks/compression.py` measures what is chosen here beside its neighbours (ms per 256 KiB of CSV, its
ratio, the ratio of single lines, KiB a stream):

zstd  level 3 in a window of 16 KiB: 0.9 ms, 3.4, 1.8, 148 KiB; its own window would take 1.1 MiB.
gzip  isal's level 1: 0.6 ms, 3.3, 2.0, 140 KiB; without it zlib's level 1 in a window of 8 KiB: 2.5 to 3 ms,
      3.0, 1.9, 60 KiB, where level 6 would take 14 ms, and the usual window 240 KiB.
br    quality 1 in a window of 16 KiB: 1.2 ms, 3.0, 1.0, 84 KiB. The qualities that compress single lines take
      370 KiB and more, so among equals it comes last, although it makes the smallest files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, Final, Protocol


class Compressor(Protocol):
    """One body on its way."""

    def write(self, data: bytes, /) -> bytes:
        """Compress and flush what is not empty."""
        ...

    def finish(self) -> bytes:
        """What a complete body ends with."""
        ...


@dataclass(frozen=True, slots=True)
class Coding:
    """One content coding that can be offered."""

    name: str
    start: Callable[[], Compressor]


@cache
def installed() -> tuple[Coding, ...]:
    """The codings there are libraries for, the preferred first; at least gzip."""
    found: dict[str, Coding] = {}
    for name, library, compressor in _KNOWN:
        if name in found:
            continue
        try:
            module = import_module(library)
        except ImportError:  # an extra that is not installed is not offered
            continue
        found[name] = Coding(name, partial(compressor, module))
    return tuple(found.values())


class _Zstd:
    __slots__ = ("_compressor", "_flush_block")

    def __init__(self, zstandard: Any) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            3, window_log=14, hash_log=12, chain_log=12
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def write(self, data: bytes, /) -> bytes:
        return bytes(self._compressor.compress(data) + self._compressor.flush(self._flush_block))

    def finish(self) -> bytes:
        return bytes(self._compressor.flush())


class _Zlib:
    """The standard library's gzip; `isal` has the same interface."""

    __slots__ = ("_compressor", "_sync_flush")

    window = 13
    memory = 6

    def __init__(self, zlib: Any) -> None:
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP + self.window, self.memory)
        self._sync_flush = zlib.Z_SYNC_FLUSH

    def write(self, data: bytes, /) -> bytes:
        return bytes(self._compressor.compress(data) + self._compressor.flush(self._sync_flush))

    def finish(self) -> bytes:
        return bytes(self._compressor.flush())


class _Isal(_Zlib):
    __slots__ = ()

    window = 15
    memory = 8


class _Brotli:
    __slots__ = ("_compressor",)

    def __init__(self, brotli: Any) -> None:
        self._compressor = brotli.Compressor(quality=1, lgwin=14)

    def write(self, data: bytes, /) -> bytes:
        return bytes(self._compressor.process(data) + self._compressor.flush())

    def finish(self) -> bytes:
        return bytes(self._compressor.finish())


_GZIP: Final = 16  # added to the window, asks zlib for the gzip format (RFC 1952)
_KNOWN: Final[tuple[tuple[str, str, Callable[[Any], Compressor]], ...]] = (
    ("zstd", "zstandard", _Zstd),
    ("gzip", "isal.isal_zlib", _Isal),
    ("gzip", "zlib", _Zlib),
    ("br", "brotli", _Brotli),
)
