from __future__ import annotations

import hashlib
import sys
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib
from tests.compression.conftest import DECODERS

from millstream.compression.codings import Coding, _Brotli, _Isal, _Zlib, _Zstd, installed

EVERY = {
    "zstd": Coding("zstd", lambda: _Zstd(zstandard)),
    "isal": Coding("gzip", lambda: _Isal(isal_zlib)),
    "zlib": Coding("gzip", lambda: _Zlib(zlib)),
    "br": Coding("br", lambda: _Brotli(brotli)),
}
LINE = st.binary(min_size=1, max_size=40)
CHUNK = st.tuples(LINE, st.integers(1, 200_000)).map(lambda drawn: (drawn[0] * drawn[1])[: drawn[1]])
NOISE = st.integers(1, 200_000).map(lambda size: hashlib.shake_128(b"noise").digest(size))


@pytest.mark.parametrize("which", EVERY)
@given(chunks=st.lists(LINE | CHUNK | NOISE, max_size=8))
def test_every_write_is_decoded_at_once_and_exactly(which: str, chunks: list[bytes]) -> None:
    coding = EVERY[which]
    compressor, decoder = coding.start(), DECODERS[coding.name]()
    for chunk in chunks:
        assert decoder.feed(compressor.write(chunk)) == chunk
        assert not decoder.is_complete()
    assert decoder.feed(compressor.finish()) == b""
    assert decoder.is_complete()


@pytest.mark.parametrize("which", EVERY)
def test_what_repeats_becomes_small(which: str) -> None:
    assert len(EVERY[which].start().write(b"a line that repeats\n" * 10_000)) < 2_000


def test_a_gzip_body_is_one_for_the_command_line_too() -> None:
    for which in ("isal", "zlib"):
        compressor = EVERY[which].start()
        data = compressor.write(b"x" * 100_000) + compressor.finish()
        assert zlib.decompress(data, 16 + 15) == b"x" * 100_000


@pytest.fixture
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Coding, ...]:
    """The codings where some libraries are not installed."""
    for library in request.param:
        monkeypatch.setitem(sys.modules, library, None)
    return installed.__wrapped__()


@pytest.mark.parametrize(
    ("without", "names"),
    [
        ((), ["zstd", "gzip", "br"]),
        (("isal", "isal.isal_zlib"), ["zstd", "gzip", "br"]),
        (("zstandard",), ["gzip", "br"]),
        (("brotli", "zstandard", "isal", "isal.isal_zlib"), ["gzip"]),
    ],
    indirect=["without"],
)
def test_an_extra_that_is_missing_is_not_offered_and_gzip_always_is(
    without: tuple[Coding, ...], names: list[str]
) -> None:
    assert [coding.name for coding in without] == names
    for coding in without:
        assert DECODERS[coding.name]().feed(coding.start().write(b"line\n")) == b"line\n"
