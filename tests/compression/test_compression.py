from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compression.conftest import DECODERS, head_of

from millstream.compression.compression import Compression
from millstream.config import Settings
from millstream.protocol.ports import ChunkTransform, Head


def coded(head: Head, accept_encoding: str | None = "gzip") -> ChunkTransform | None:
    return Compression(Settings()).of(head, accept_encoding)


@pytest.mark.parametrize("coding", DECODERS)
@given(
    chunks=st.lists(st.binary(max_size=200) | st.builds(bytes.__mul__, st.binary(max_size=9), st.just(999)))
)
def test_any_chunks_are_decoded_as_they_pass(coding: str, chunks: list[bytes]) -> None:
    transform, decoder = coded(head_of(), coding), DECODERS[coding]()
    assert transform is not None
    for chunk in chunks:
        assert decoder.feed(transform.chunk(chunk)) == chunk
    assert decoder.feed(transform.end()) == b""
    assert decoder.is_complete()


@pytest.mark.parametrize("coding", DECODERS)
def test_a_body_that_was_broken_off_is_known_as_such(coding: str) -> None:
    transform, decoder = coded(head_of(), coding), DECODERS[coding]()
    assert transform is not None
    assert decoder.feed(transform.chunk(b"half of it")) == b"half of it"
    assert not decoder.is_complete()


@pytest.mark.parametrize("coding", DECODERS)
def test_an_empty_chunk_emits_nothing_and_an_empty_body_is_complete(coding: str) -> None:
    transform, decoder = coded(head_of(), coding), DECODERS[coding]()
    assert transform is not None
    assert transform.chunk(b"") == b""
    assert decoder.feed(transform.end()) == b""
    assert decoder.is_complete()


def test_the_head_says_what_is_sent_and_nothing_of_what_is_not() -> None:
    head = head_of(
        content_length="5000",
        accept_ranges="bytes",
        etag='"abc"',
        repr_digest="sha-256=:AA==:",
        vary="Accept",
    )
    assert coded(head) is not None
    assert dict(head.headers) == {
        "content-type": "text/csv",
        "content-encoding": "gzip",
        "etag": 'W/"abc"',
        "vary": "Accept, Accept-Encoding",
    }


def test_a_weak_etag_stays_as_it_is() -> None:
    head = head_of(etag='W/"abc"')
    assert coded(head) is not None
    assert head.headers["etag"] == 'W/"abc"'


@pytest.mark.parametrize("vary", ["Accept-Encoding", "accept, ACCEPT-ENCODING", "*"])
def test_a_head_that_varies_already_is_not_told_so_twice(vary: str) -> None:
    head = head_of(vary=vary)
    assert coded(head) is not None
    assert head.headers["vary"] == vary


@pytest.mark.parametrize(
    ("head", "accept_encoding"),
    [
        (head_of(), None),
        (head_of(), "identity"),
        (head_of(), "*;q=0"),
        (head_of(content_length="10", etag='"a"'), "gzip"),
    ],
)
def test_a_body_that_could_have_been_compressed_varies(head: Head, accept_encoding: str | None) -> None:
    before = dict(head.headers)
    assert coded(head, accept_encoding) is None
    assert dict(head.headers) == {**before, "vary": "Accept-Encoding"}


@pytest.mark.parametrize(
    "head",
    [
        head_of("image/png"),
        head_of("application/zip"),
        head_of(None),
        head_of(content_encoding="br"),
        head_of("image/png", status=206, content_range="bytes 0-99/1000"),
        head_of(status=204),
        head_of(status=304),
    ],
)
def test_what_is_never_compressed_passes_untouched(head: Head) -> None:
    before = dict(head.headers)
    assert coded(head, "gzip, zstd") is None
    assert dict(head.headers) == before


def test_a_part_is_as_it_is_and_says_that_the_whole_would_not_be() -> None:
    """RFC 9110 §15.3.7: it has the `Vary` that its 200 would have."""
    head = head_of(status=206, content_range="bytes 0-99/1000")
    assert coded(head, "gzip, zstd") is None
    assert head.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in head.headers


def test_a_client_that_refuses_the_plain_body_gets_even_a_picture_coded() -> None:
    for head in (head_of("image/png"), head_of(content_length="10")):
        assert coded(head, "gzip, identity;q=0") is not None
        assert head.headers["content-encoding"] == "gzip"
        assert head.headers["vary"] == "Accept-Encoding"


def test_an_event_stream_is_compressed() -> None:
    assert coded(head_of("text/event-stream; charset=utf-8")) is not None


def test_head_is_told_what_get_would_be_without_a_body() -> None:
    asked, got = head_of(method="HEAD", content_length="5000"), head_of(content_length="5000")
    assert coded(asked) is None
    assert coded(got) is not None
    assert asked.headers == got.headers


def test_without_the_setting_nothing_is_touched() -> None:
    head = head_of()
    assert Compression(Settings(compression=False)).of(head, "gzip") is None
    assert dict(head.headers) == {"content-type": "text/csv"}


def test_two_clients_do_not_share_a_compressor() -> None:
    compression = Compression(Settings())
    one, other = compression.of(head_of(), "zstd"), compression.of(head_of(), "zstd")
    assert one is not None
    assert other is not None
    assert one.chunk(b"a" * 100) == other.chunk(b"a" * 100)
