"""What the tests of compression share: the foreign decoders, fed as the bytes arrive."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]
import zstandard
from starlette.datastructures import MutableHeaders

from millstream.protocol.ports import Head


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes: ...

    def is_complete(self) -> bool: ...


class Gunzip:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def feed(self, data: bytes) -> bytes:
        return self._decoder.decompress(data)

    def is_complete(self) -> bool:
        return self._decoder.eof and not self._decoder.unused_data


class Unzstd:
    def __init__(self) -> None:
        self._decoder: Any = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> bytes:
        return bytes(self._decoder.decompress(data)) if data else b""

    def is_complete(self) -> bool:
        return bool(self._decoder.eof) and not self._decoder.unused_data


class Unbrotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        pieces = [self._decoder.process(data)]
        while pieces[-1]:  # what did not fit into its buffer it hands out when it is asked again
            pieces.append(self._decoder.process(b""))
        return b"".join(pieces)

    def is_complete(self) -> bool:
        return bool(self._decoder.is_finished())


DECODERS: dict[str, type[Decoder]] = {"gzip": Gunzip, "zstd": Unzstd, "br": Unbrotli}


def head_of(
    content_type: str | None = "text/csv", status: int = 200, method: str = "GET", **headers: str
) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["content-type"] = content_type
    return Head(status, MutableHeaders(named), method)
