from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message

from millstream.config import Settings
from millstream.errors import ControllerError, HTTPError
from millstream.web.request import Params, Request

FORM, JSON, MULTIPART = "application/x-www-form-urlencoded", "application/json", "multipart/form-data"
LIMIT = 1000
LIMITED = Settings(max_body=LIMIT)


def made(
    method: str = "POST",
    path: str = "/",
    query: str = "",
    *chunks: bytes,
    headers: dict[str, str] | None = None,
    **scope: Any,
) -> Request:
    """A request whose body comes in these chunks."""
    last = len(chunks) - 1
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": number < last}
        for number, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    usual = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    return Request({**usual, **scope}, receive)


def posted(kind: str, *chunks: bytes, query: str = "", **headers: str) -> Request:
    return made("POST", "/", query, *chunks, headers={"content-type": kind, **headers})


async def read(kind: str, *chunks: bytes, **headers: str) -> dict[str, Any]:
    return (await posted(kind, *chunks, **headers).read_params(LIMITED)).mixed()


async def refusal(kind: str, *chunks: bytes, **headers: str) -> HTTPError:
    with pytest.raises(HTTPError) as refused:
        await read(kind, *chunks, **headers)
    return refused.value


def part(disposition: str, data: bytes = b"z") -> bytes:
    return b"--x\r\nContent-Disposition: %b\r\n\r\n%b\r\n--x--\r\n" % (disposition.encode(), data)


# Names of TurboGears and WebOb


def test_the_path_is_told_below_the_mount_and_whole() -> None:
    request = made("GET", "/shop/orders", root_path="/shop")
    assert (request.script_name, request.path_info, request.path) == ("/shop", "/orders", "/shop/orders")


def test_the_mounts_own_path_is_told_as_a_slash() -> None:
    assert made("GET", "/shop", root_path="/shop").path_info == "/"


def test_without_a_mount_there_is_no_script_name() -> None:
    assert made("GET", "/orders").script_name == ""


def test_the_clients_address_is_empty_where_the_server_does_not_tell() -> None:
    assert made().remote_addr == ""
    assert made(client=("10.0.0.7", 1)).remote_addr == "10.0.0.7"


def test_the_host_url_is_scheme_and_host() -> None:
    request = made("GET", "/deep/path", "q=1", scheme="https", headers={"host": "shop.example:8443"})
    assert request.host_url == "https://shop.example:8443"


@pytest.mark.parametrize("spelled", [JSON, "Application/JSON; charset=utf-8", " application/json ;x=1"])
def test_the_content_type_comes_without_parameters_in_lower_case(spelled: str) -> None:
    assert made(headers={"content-type": spelled}).content_type == JSON


def test_without_a_content_type_there_is_an_empty_one() -> None:
    assert made().content_type == ""


def test_the_current_object_of_a_request_is_itself() -> None:
    request = made()
    assert request._current_obj() is request


def test_the_query_is_told_by_both_names_before_the_body_is_read() -> None:
    request = made("GET", "/", "a=1&a=2&b=%C3%BC")
    assert request.params.getall("a") == request.GET.getall("a") == ["1", "2"]
    assert request.params["b"] == "ü"


# Fields


def test_a_field_nobody_sent_has_no_values() -> None:
    assert Params([]).getall("a") == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_mixed_holds_each_value_once_in_order(fields: list[tuple[str, int]]) -> None:
    mixed = Params(fields).mixed()
    together = {key: value if isinstance(value, list) else [value] for key, value in mixed.items()}
    assert together == {key: [value for k, value in fields if k == key] for key, _ in fields}


def test_one_value_stands_by_itself_even_when_it_is_a_list() -> None:
    assert Params([("one", 1), ("list", [1, 2])]).mixed() == {"one": 1, "list": [1, 2]}


def test_a_field_given_ever_so_often_costs_no_more_than_as_many_fields() -> None:
    same, different = Params([("a", 0)] * 50_000), Params([(str(n), 0) for n in range(50_000)])
    assert took(same) < 20 * took(different)  # by far more if each value copied those before it


def took(fields: Params) -> float:
    before = time.perf_counter()
    fields.mixed()
    return time.perf_counter() - before


# Reading the body


async def test_the_forms_fields_come_after_those_of_the_query() -> None:
    request = posted(FORM, b"a=2&", b"b=%C3%BC+x", query="a=1")
    assert (await request.read_params(LIMITED)).multi_items() == [("a", "1"), ("a", "2"), ("b", "ü x")]
    assert request.params.getall("a") == ["1", "2"]


async def test_a_json_object_is_read_as_fields_with_their_types() -> None:
    assert await read(JSON, b'{"n": 1, "list"', b": [true, null]}") == {"n": 1, "list": [True, None]}


async def test_json_that_is_no_object_is_left_to_the_action() -> None:
    request = posted(JSON, b"[1, 2]")
    assert not (await request.read_params(LIMITED)).multi_items()
    assert await request.json() == [1, 2]


@pytest.mark.parametrize("kind", [FORM, JSON])
async def test_an_empty_body_has_no_fields(kind: str) -> None:
    assert await read(kind, b"") == {}


async def test_an_uploaded_file_is_a_field() -> None:
    request = posted(f"{MULTIPART}; boundary=x", part('form-data; name="f"; filename="a.txt"', b"content"))
    file = (await request.read_params(LIMITED))["f"]
    assert isinstance(file, UploadFile)
    assert (file.filename, await file.read()) == ("a.txt", b"content")
    await request.close()


async def test_a_body_of_another_type_is_left_unread() -> None:
    request = posted("application/octet-stream", b"0123")
    await request.read_params(LIMITED)
    assert [chunk async for chunk in request.stream()] == [b"0123"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
async def test_a_method_whose_body_means_nothing_has_none_read(method: str) -> None:
    request = made(method, "/", "a=1", b"a=2", headers={"content-type": FORM})
    assert (await request.read_params(LIMITED)).getall("a") == ["1"]


# What a client may send instead


@pytest.mark.parametrize("kind", [FORM, JSON, f"{MULTIPART}; boundary=x"])
async def test_a_body_that_declares_too_much_is_refused_unread(kind: str) -> None:
    request = posted(kind, **{"content-length": str(LIMIT + 1)})
    with pytest.raises(HTTPError, match="longer than the 1000 bytes") as refused:
        await request.read_params(LIMITED)
    assert refused.value.status == 413


@pytest.mark.parametrize("kind", [FORM, JSON])
async def test_a_body_that_declares_nothing_is_refused_when_it_grows_too_long(kind: str) -> None:
    assert (await refusal(kind, b" " * 600, b" " * 600)).status == 413


async def test_a_body_of_just_the_allowed_length_is_read() -> None:
    assert len((await read(FORM, b"a=" + b"x" * (LIMIT - 2)))["a"]) == LIMIT - 2


@pytest.mark.parametrize("length", ["²", "-1", "", "many", "1e3", "٣", " 1", "9" * 5000])
async def test_a_content_length_that_is_none_does_no_harm(length: str) -> None:
    headers = [(b"content-type", FORM.encode()), (b"content-length", length.encode())]
    request = made("POST", "/", "", b"a=1")
    request.scope["headers"] = headers
    assert (await request.read_params(LIMITED)).mixed() == {"a": "1"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 999,
        b'{"a": "\xff"}',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1} x',
        b"\x00",
    ],
)
async def test_what_is_no_json_is_the_clients_fault(body: bytes) -> None:
    error = await refusal(JSON, body)
    assert (error.status, error.detail) == (400, "the body is not valid JSON")


async def test_json_too_deep_or_too_large_to_be_read_is_the_clients_fault() -> None:
    for body in (b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"):
        with pytest.raises(HTTPError) as refused:
            await posted(JSON, body).read_params(Settings())
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MULTIPART, part('form-data; name="a"')),
        (f"{MULTIPART}; boundary=", part('form-data; name="a"')),
        (f"{MULTIPART}; boundary=x", b"garbage"),
        (f"{MULTIPART}; boundary=x", b"--x\r\n\x00\xff: \r\n\r\n"),
        (f"{MULTIPART}; boundary=x", part("form-data")),
        (f"{MULTIPART}; boundary=x; charset=undefined", part('form-data; name="a"', b"\xff")),
        (FORM, b"a&" * 400 + b"b=" * 1 + b"c" * 10),
    ],
)
async def test_a_form_is_read_or_is_the_clients_fault(kind: str, body: bytes) -> None:
    try:
        await read(kind, body)
    except HTTPError as refused:
        assert refused.status == 400
        assert refused.detail.startswith("the form cannot be read: ")


async def test_a_form_of_too_many_fields_is_the_clients_fault() -> None:
    request = posted(FORM, b"a&" * 1001)
    with pytest.raises(HTTPError, match="the form has more than 1000 fields") as refused:
        await request.read_params(Settings())
    assert refused.value.status == 400


@given(st.binary(max_size=200))
async def test_no_bytes_are_more_than_a_bad_request(body: bytes) -> None:
    for kind in (FORM, JSON, f"{MULTIPART}; boundary=x"):
        try:
            await read(kind, body, b"--x\r\n" + body)
        except HTTPError as refused:
            assert refused.status == 400


async def test_a_form_inside_a_starlette_application_is_refused_the_same_way() -> None:
    request = posted(MULTIPART, b"garbage")
    request.scope["app"] = Starlette()
    with pytest.raises(
        HTTPError, match="the form cannot be read: its Content-Type names no boundary"
    ) as refused:
        await request.read_params(LIMITED)
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", [FORM, JSON])
async def test_a_client_that_leaves_while_it_sends_is_told_apart_from_one_that_sends_nonsense(
    kind: str,
) -> None:
    request = posted(kind, b"a", b"b")
    request.scope["headers"] = [*request.scope["headers"]]
    leave: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        message: Message = leave.pop(0)
        return message

    request._receive = receive
    with pytest.raises(ClientDisconnect):
        await request.read_params(LIMITED)


async def test_keys_of_json_may_be_anything() -> None:
    odd = {"": 1, "self": 2, "a.b": 3, "\x00": 4}
    assert await read(JSON, json.dumps(odd).encode()) == odd


# Streaming the body


async def test_a_json_body_was_read_and_can_be_streamed_all_the_same() -> None:
    request = posted(JSON, b'{"a":', b"1}")
    await request.read_params(LIMITED)
    assert [piece async for piece in request.stream()] == [b'{"a":1}']


async def test_a_body_is_streamed_once_or_gone_on_with() -> None:
    request = posted("text/plain", b"a", b"b")
    assert await anext(request.stream()) == b"a"
    assert [piece async for piece in request.stream()] == [b"b"]
    with pytest.raises(ControllerError, match="streamed already"):
        request.stream()


async def test_starlettes_own_readers_read_the_stream() -> None:
    request = posted("text/plain", b"a", b"b")
    assert await request.body() == b"ab"
    assert [piece async for piece in request.stream()] == [b"ab"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FORM, b"a=1&b=+%2B"),
        (JSON, b' {"a": 1.50}\n'),
        (f"{MULTIPART}; boundary=x", part('form-data; name="f"; filename="a"', b"y" * 200_000)),
    ],
    ids=["urlencoded", "json", "multipart"],
)
async def test_a_body_that_was_parsed_can_be_read_as_it_came(kind: str, body: bytes) -> None:
    request = posted(kind, body[:7], body[7:])
    await request.read_params(Settings())
    assert b"".join([piece async for piece in request.stream()]) == body
    assert b"".join([piece async for piece in request.stream()]) == body
    assert await request.body() == body
    await request.close()


async def test_a_form_that_a_hook_has_read_still_gives_the_fields() -> None:
    request = posted(FORM, b"a=1", query="b=2")
    assert (await request.form())["a"] == "1"
    assert request.brings_fields
    assert (await request.read_params(LIMITED)).mixed() == {"a": "1", "b": "2"}


async def test_a_body_that_a_hook_has_read_still_gives_the_fields() -> None:
    request = posted(JSON, b'{"a"', b":1}")
    assert await request.body() == b'{"a":1}'
    assert (await request.read_params(LIMITED)).mixed() == {"a": 1}


async def test_a_body_that_a_hook_has_streamed_gives_no_fields_and_says_so() -> None:
    request = posted(FORM, b"a=1")
    async for _ in request.stream():
        pass
    with pytest.raises(ControllerError, match="streamed before its fields were wanted"):
        await request.read_params(LIMITED)


async def test_a_form_that_a_get_brings_can_be_asked_for() -> None:
    request = made("GET", "/", "", b"a=1&b=2", headers={"content-type": FORM})
    await request.read_params(LIMITED)
    assert dict(await request.form()) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/csv", "utf-8"),
        ("text/csv; charset=latin-1", "latin-1"),
        ('text/csv; charset="latin-1"', "latin-1"),
        ("", "utf-8"),
        ("text/csv; charset=", ""),
    ],
)
def test_the_charset_is_as_declared(content_type: str, charset: str) -> None:
    assert posted(content_type).charset == charset


async def test_lines_are_of_the_bodys_charset() -> None:
    request = posted("text/csv; charset=latin-1", b"\xfc\n")
    assert [line async for line in request.lines()] == ["ü\n"]


@pytest.mark.parametrize("limit", [LIMIT, None])
async def test_what_was_parsed_may_turn_out_to_be_too_long_for_the_action(limit: int | None) -> None:
    request = posted(FORM, b"a=", b"123")
    await request.read_params(Settings(max_body=limit))
    request.limit_body(Settings(max_body=5))
    with pytest.raises(HTTPError, match="longer than the 4 bytes") as refused:
        request.limit_body(Settings(max_body=4))
    assert refused.value.status == 413


def test_one_field_of_the_head_is_had_without_all_of_them() -> None:
    request = made(headers={"Accept-Encoding": "gzip", "X-Text": "ü"})
    assert request.field(b"accept-encoding") == request.headers["accept-encoding"]
    assert request.field(b"x-text") == request.headers["x-text"]
    assert request.field(b"accept") is None


@given(fields=st.lists(st.tuples(st.text(), st.text())))
def test_the_query_alone_is_what_its_parameters_are(fields: list[tuple[str, str]]) -> None:
    request = made("GET", query=urlencode(fields))
    assert request.query_fields() == request.GET.mixed()
