from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import MutableHeaders

from millstream.protocol.ports import Head
from millstream.web.transforms import inject_html

SNIPPET = "<script>x</script>"


def head(content_type: str = "text/html; charset=utf-8", **headers: str) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(200, MutableHeaders({"content-type": content_type, **named}), "GET")


def passed(
    page: list[bytes], snippet: str = SNIPPET, before: str = "</body>", to: Head | None = None
) -> bytes:
    passing = inject_html(snippet, before=before)(to or head())
    assert passing is not None
    return b"".join([*map(passing.chunk, page), passing.end()])


def cut(page: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(page) + 1) for place in at), len(page)]
    return [page[start:end] for start, end in pairwise(places)]


@given(st.lists(st.integers(0, 100)), st.sampled_from([b"</body>", b"</BODY>", b"</Body>"]))
def test_the_snippet_comes_before_the_tag_however_the_page_is_cut(at: list[int], tag: bytes) -> None:
    page = b"<body>a < b </bod </b" + tag + b"</html>"
    assert passed(cut(page, at)) == page.replace(tag, SNIPPET.encode() + tag)


@given(st.lists(st.binary(max_size=10)))
def test_a_page_without_the_tag_gets_the_snippet_at_its_end(chunks: list[bytes]) -> None:
    assert passed(chunks, before="</never>") == b"".join(chunks) + SNIPPET.encode()


def test_only_the_first_tag_gets_one() -> None:
    assert passed([b"</body></body>", b"</body>"]).count(SNIPPET.encode()) == 1


def test_nothing_is_held_back_but_what_may_begin_the_tag() -> None:
    passing = inject_html(SNIPPET)(head())
    assert passing is not None
    assert passing.chunk(b"<p>now</p>") == b"<p>now</p>"
    assert passing.chunk(b"<p>then</bo") == b"<p>then"
    assert passing.chunk(b"ok>") == b"</book>"


def test_after_the_tag_everything_passes_untouched() -> None:
    passing = inject_html(SNIPPET)(head())
    assert passing is not None
    passing.chunk(b"</body>")
    assert passing.chunk(b"</bo") == b"</bo"
    assert passing.end() == b""


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "text/html+x", ""])
def test_another_type_passes_untouched(content_type: str) -> None:
    assert inject_html(SNIPPET)(head(content_type)) is None


def test_an_encoded_page_passes_untouched() -> None:
    assert inject_html(SNIPPET)(head(content_encoding="gzip")) is None


def test_a_length_that_was_declared_before_is_taken_back() -> None:
    longer = head(content_length="10")
    inject_html(SNIPPET)(longer)
    assert "content-length" not in longer.headers


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html; charset=latin-1",
        'text/html; charset="latin-1"',
        "Text/HTML; Charset=Latin-1; level=1",
        'text/html; charset="latin-1"; level=1',
    ],
)
def test_the_snippet_is_encoded_as_the_page_is(content_type: str) -> None:
    said = passed([b"\xfc</body>"], "ü€", to=head(content_type))
    assert said == b"\xfc\xfc&#8364;</body>"


def test_without_a_charset_a_page_is_utf_8() -> None:
    assert passed([b"</body>"], "ü", to=head("text/html")) == "ü</body>".encode()


def test_it_may_be_put_before_any_other_tag() -> None:
    assert passed([b"<head></he", b"ad>"], before="</head>") == b"<head>" + SNIPPET.encode() + b"</head>"
