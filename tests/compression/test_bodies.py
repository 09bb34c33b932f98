from __future__ import annotations

import pytest
from tests.compression.conftest import head_of

from millstream.compression.bodies import SHORTEST, is_compressible, is_short, may_be_coded
from millstream.protocol.ports import Head


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "text/csv",
        "text/event-stream",
        "application/json",
        "application/x-ndjson",
        "application/xml",
        "application/vnd.apache.arrow.stream",
        "application/vnd.ms-excel",
        "application/wasm",
        "multipart/mixed",
        "image/svg+xml",
        "font/ttf",
    ],
)
def test_what_is_not_compressed_yet_is_compressible(content_type: str) -> None:
    assert is_compressible(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/octet-stream",
        "application/zip",
        "application/gzip",
        "application/epub+zip",
        "application/vnd.apache.parquet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.oasis.opendocument.text",
        "application/pdf",
        "image/png",
        "image/webp",
        "video/mp4",
        "audio/mpeg",
        "font/woff2",
    ],
)
def test_what_is_compressed_or_unknown_is_left_alone(content_type: str) -> None:
    assert not is_compressible(content_type)


@pytest.mark.parametrize(
    "head",
    [
        head_of(status=204),
        head_of(status=304),
        head_of(status=206),
        head_of(content_range="bytes 0-99/1000"),
        head_of(content_encoding="br"),
        head_of(content_encoding="identity"),
    ],
)
def test_no_coding_is_put_on_parts_on_codings_and_on_nothing(head: Head) -> None:
    assert not may_be_coded(head)


def test_other_bodies_may_be_coded_errors_too() -> None:
    assert may_be_coded(head_of())
    assert may_be_coded(head_of(status=500))


@pytest.mark.parametrize(
    ("length", "short"),
    [
        ("0", True),
        (str(SHORTEST - 1), True),
        (str(SHORTEST), False),
        ("", False),
        ("²", False),
        ("-1", False),
    ],
)
def test_only_a_length_that_is_known_can_be_short(length: str, short: bool) -> None:
    assert is_short(head_of(content_length=length)) is short
    assert not is_short(head_of())
