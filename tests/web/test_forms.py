from __future__ import annotations

import csv
import gc
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile
from starlette.types import Message

from millstream.errors import HTTPError
from millstream.web.forms import FORM, JSON, MULTIPART, PARSERS, Limits
from millstream.web.receiving import IN_MEMORY, Kept

LIMITS = Limits(fields=1000, text=1_000_000)
BOUND = f"{MULTIPART}; boundary=x"


_open: list[Kept] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


async def _offload(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


async def fields(kind: str, body: bytes, limits: Limits = LIMITS) -> list[tuple[str, Any]]:
    _open.append(kept := Kept(_offload))
    message: Message = {"type": "http.request", "body": body}

    async def receive() -> Message:
        return message

    await kept.take_all(receive, None)
    return PARSERS[kind.partition(";")[0]](kept, kind, limits).fields


async def refusal(kind: str, body: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    with pytest.raises(HTTPError) as refused:
        await fields(kind, body, limits)
    return refused.value.status, refused.value.detail or ""


def part(name: str, data: bytes, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--x--\r\n"


@given(pairs=st.lists(st.tuples(st.text(), st.text())))
async def test_an_urlencoded_form_is_what_a_client_wrote(pairs: list[tuple[str, str]]) -> None:
    written = httpx.Request("POST", "http://a", data=dict(pairs)).content
    if pairs:
        assert await fields(FORM, written) == list(dict(pairs).items())


@given(data=st.binary(max_size=100))
async def test_any_ascii_is_an_urlencoded_form(data: bytes) -> None:
    text = bytes(byte & 127 for byte in data).replace(b"%", b"")
    assert await fields(FORM, text) == parse_qsl(text.decode(), keep_blank_values=True)


@given(files=st.dictionaries(st.text("abü", min_size=1), st.binary(), min_size=1, max_size=5))
async def test_a_file_is_what_a_client_wrote(files: dict[str, bytes]) -> None:
    sent = httpx.Request(
        "POST", "http://a", files={name: (f"{name}.bin", data) for name, data in files.items()}
    )
    found = await fields(sent.headers["content-type"], sent.read())
    assert [(name, file.file.read(), file.size) for name, file in found] == [
        (name, data, len(data)) for name, data in files.items()
    ]


@pytest.mark.parametrize("size", [IN_MEMORY - 10, IN_MEMORY, 200_000])
@pytest.mark.parametrize("filler", [b"a", b"\r", b"\r\n", b"\r\n--", b"\r\n--y", b"\r\n-"])
async def test_a_file_that_looks_like_boundaries_is_itself(size: int, filler: bytes) -> None:
    data = (filler * size)[:size]
    found = dict(await fields(BOUND, part("f", data, '; filename="f"') + part("after", b"1") + END))
    assert found["f"].file.read() == data
    assert found["after"] == "1"


async def test_a_file_can_be_read_as_files_are() -> None:
    file = (await fields(BOUND, part("f", b"a,b\r\n1,2\r\n", '; filename="f.csv"') + END))[0][1].file
    assert list(csv.reader(io.TextIOWrapper(file, newline=""))) == [["a", "b"], ["1", "2"]]
    file = (await fields(BOUND, part("f", b"0123456789", '; filename="f"') + END))[0][1].file
    assert (file.seek(-3, io.SEEK_END), file.read(), file.tell()) == (7, b"789", 10)
    assert (file.seek(2), file.read(2), file.read(-1)) == (2, b"23", b"456789")
    assert (file.seek(50), file.read(), file.seekable(), file.readable(), file.writable()) == (
        50,
        b"",
        True,
        True,
        False,
    )
    with pytest.raises(ValueError, match="no position"):
        file.raw.seek(-1)


async def test_a_file_knows_its_name_and_type() -> None:
    more = '; filename="ü.csv"\r\nContent-Type: text/csv'
    ((name, file),) = await fields(BOUND, part("f", b"1", more) + END)
    assert isinstance(file, UploadFile)
    assert (name, file.filename, file.content_type) == ("f", "ü.csv", "text/csv")


async def test_what_stands_before_and_behind_the_parts_is_nothing() -> None:
    assert await fields(BOUND, b"\r\n" + part("a", b"1") + END + b"epilogue") == [("a", "1")]
    assert await fields(BOUND, END) == []


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        (FORM, b"a=\xff", "its text is not in utf-8"),
        (FORM, b"a=%ff", "its text is not in utf-8"),
        (f"{FORM}; charset=ascii", b"a=%fc", "its text is not in ascii"),
        (f"{FORM}; charset=punycode", b"a=1", "'punycode' is no charset that is known here"),
        (BOUND, part("a", b"\xff") + END, "its text is not in utf-8"),
        (f"{BOUND}; charset=nonsense", part("a", b"1") + END, "'nonsense' is no charset that is known here"),
        (MULTIPART, part("a", b"1") + END, "its Content-Type names no boundary"),
        (BOUND, part("a", b"1"), "its last part does not end"),
        (BOUND, part("a", b"1") + b"--x-", "its last part does not end"),
        (BOUND, part("f", b"1", '; filename="f"'), "its last part does not end"),
        (BOUND, b"", "its last part does not end"),
        (BOUND, b"a=1", "it is not what its type says"),
        (BOUND, b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n" + END, "a part has no name"),
        (BOUND, b"--x\r\n\r\n1\r\n" + END, "a part has no name"),
        (f"{MULTIPART}; boundary={'x' * 5000}", b"", "it is not what its type says"),
    ],
)
async def test_a_form_that_is_none_is_named_and_nothing_of_it_is_guessed(
    kind: str, body: bytes, detail: str
) -> None:
    assert await refusal(kind, body) == (400, f"the form cannot be read: {detail}")


async def test_a_form_in_another_charset_says_so() -> None:
    assert await fields(f"{FORM}; charset=latin-1", b"a=%fc&b=\xfc") == [("a", "ü"), ("b", "ü")]
    assert await fields(f"{BOUND}; charset=latin-1", part("a", b"\xfc") + END) == [("a", "ü")]


FEW = Limits(fields=3, text=10)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FORM, b"a=1&a=1&a=1&a=1"),
        (FORM, b"&&&&"),
        (JSON, b'{"a":1,"b":1,"c":1,"d":1}'),
        (BOUND, part("a", b"1") * 4 + END),
        (BOUND, part("a", b"1", '; filename="f"') * 4 + END),
    ],
)
async def test_fields_have_a_number(kind: str, body: bytes) -> None:
    status, detail = await refusal(kind, body, FEW)
    assert (status, "more than 3 fields" in detail) == (400, True)
    assert await fields(kind, body, LIMITS) or body == b"&&&&"


async def test_texts_of_a_form_with_files_have_a_length_and_its_files_do_not() -> None:
    assert await refusal(BOUND, part("a", b"x" * 6) + part("b", b"x" * 6) + END, FEW) == (
        413,
        "the body is longer than the 10 bytes this application takes",
    )
    (_, file), _ = await fields(BOUND, part("f", b"x" * 50, '; filename="f"') + part("b", b"x") + END, FEW)
    assert file.size == 50


async def test_headers_of_a_part_have_a_length() -> None:
    body = part("a", b"1", "".join(f"\r\nX-{number}: {'y' * 3000}" for number in range(7))) + END
    assert (await refusal(BOUND, body))[0] == 400


@given(
    document=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
async def test_json_is_what_pythons_own_reader_reads(document: object) -> None:
    written = json.dumps({"it": document}, ensure_ascii=False)
    try:
        body = written.encode()
    except UnicodeEncodeError:
        return  # a half of a surrogate pair is no text
    assert await fields(JSON, body) == [("it", json.loads(body)["it"])]


@pytest.mark.parametrize(
    "body", [b"1e999", b'{"a":1e999}', b'{"a":[-1e999]}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"{}}", b"\xff"]
)
async def test_json_that_means_no_value_is_refused(body: bytes) -> None:
    assert await refusal(JSON, body) == (400, "the body is not valid JSON")


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b"[1]", b"1", b"null"])
async def test_json_without_members_has_no_fields(body: bytes) -> None:
    assert await fields(JSON, body) == []


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_collector_is_as_it_was_before(enabled: bool) -> None:
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        await fields(JSON, b"{}")
        await refusal(JSON, b"{")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
