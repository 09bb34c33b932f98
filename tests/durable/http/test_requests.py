from __future__ import annotations

from typing import Any

import pytest

from millstream.durable.http.requests import (
    Asked,
    append_of,
    config_of,
    records_of,
    whole_number,
)
from millstream.durable.naming import Config
from millstream.durable.state import Producer
from millstream.errors import HTTPError


def asked(headers: dict[str, str] | None = None, **scope: Any) -> Asked:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return Asked(
        {
            "type": "http",
            "method": "GET",
            "path": "/v1/a/b",
            "root_path": "/v1",
            "query_string": b"",
            "headers": raw,
        }
        | scope
    )


def refused(status: int, call: Any, *arguments: Any) -> str:  # Any: each call has arguments of its own
    with pytest.raises(HTTPError) as error:
        call(*arguments)
    assert error.value.status == status
    return error.value.detail


@pytest.mark.parametrize("text", ["-1", "+1", "01", "1.0", "1e3", "", " 1", "\u0661", "9" * 17, str(2**53)])
def test_a_number_is_written_in_digits_and_not_too_large(text: str) -> None:
    assert "Stream-TTL" in refused(400, whole_number, "Stream-TTL", text)


@pytest.mark.parametrize("number", [0, 7, 3600, 2**53 - 1])
def test_a_number_that_is_usually_written_is_read(number: int) -> None:
    assert whole_number("n", str(number)) == number


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T12:00:00Z", 1769860800.0),
        ("2026-01-31t12:00:00.5z", 1769860800.5),
        ("2026-01-31T13:30:00+01:30", 1769860800.0),
    ],
)
def test_a_time_is_read_in_any_zone(text: str, time: float) -> None:
    assert config_of(asked({"Stream-Expires-At": text})).expires_at == time


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-01-31", "2026-01-31T12:00:00", "2026-02-31T12:00:00Z", "20260131T120000Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    assert "Stream-Expires-At" in refused(400, config_of, asked({"Stream-Expires-At": text}))


def test_a_stream_has_one_end() -> None:
    both = asked({"Stream-TTL": "1", "Stream-Expires-At": "2026-01-31T12:00:00Z"})
    assert "exclude" in refused(400, config_of, both)
    assert config_of(asked({"Content-Type": "a/b", "Stream-TTL": "0"})) == Config(content_type="a/b", ttl=0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Producer-Id": "p"},
        {"Producer-Epoch": "0", "Producer-Seq": "0"},
        {"Producer-Id": "", "Producer-Epoch": "0", "Producer-Seq": "0"},
        {"Producer-Id": "p", "Producer-Epoch": "x", "Producer-Seq": "0"},
    ],
)
def test_a_producer_is_named_whole(headers: dict[str, str]) -> None:
    refused(400, append_of, asked({"Content-Type": "a/b", **headers}), b"x")


def test_an_append_is_read_with_all_that_belongs_to_it() -> None:
    headers = {
        "Content-Type": "application/json",
        "Producer-Id": "p",
        "Producer-Epoch": "1",
        "Producer-Seq": "2",
    }
    request = append_of(asked({**headers, "Stream-Seq": "s", "Stream-Closed": "TRUE"}), b"[1,2]")
    assert (request.records, request.producer) == ([b"1", b"2"], Producer("p", 1, 2))
    assert (request.seq, request.close, request.content_type) == ("s", True, "application/json")


def test_an_append_says_something_of_some_kind() -> None:
    assert "nothing to append" in refused(400, append_of, asked(), b"")
    assert "Content-Type" in refused(400, append_of, asked(), b"x")
    assert append_of(asked({"Stream-Closed": "true"}), b"").records == []


@pytest.mark.parametrize("value", ["false", "1", "yes", ""])
def test_only_true_closes(value: str) -> None:
    assert not asked({"Stream-Closed": value}).flag(b"stream-closed")


def test_an_empty_array_creates_but_does_not_append() -> None:
    assert records_of(b"[]", "application/json", empty=True) == []
    assert "empty array" in refused(400, records_of, b"[]", "application/json")
    assert records_of(b"[]", "text/plain") == [b"[]"]


def test_a_streams_name_is_what_follows_the_mount() -> None:
    assert asked().name == "a/b"
    assert asked().name_at("/v1/x%20y?z=1") == "x y"
    assert asked().name_at("/v2/x") is None
    assert asked(root_path="").name_at("/x/y") == "x/y"


def test_a_streams_url_is_as_the_client_wrote_it() -> None:
    assert asked({"Host": "h:1"}, scheme="https", raw_path=b"/v1/a%2Fb?x").url == "https://h:1/v1/a%2Fb"
    assert asked(server=("h", 80)).url == "http://h:80/v1/a/b"
    assert asked(server=("/run/socket", None)).url == "http:///run/socket/v1/a/b"


def test_a_parameter_that_is_repeated_is_not_lost() -> None:
    query = asked(query_string=b"offset=a&offset=b&live=&x=%C3%A9").query()
    assert query == {"offset": ["a", "b"], "live": [""], "x": ["é"]}


@pytest.mark.parametrize(
    ("headers", "declared", "declares"),
    [
        ({}, 0, False),
        ({"Content-Length": "0"}, 0, False),
        ({"Content-Length": "12"}, 12, True),
        ({"Content-Length": "9" * 40}, 0, False),
        ({"Content-Length": "-1"}, 0, False),
        ({"Transfer-Encoding": "chunked"}, 0, True),
    ],
)
def test_a_head_tells_of_its_body(headers: dict[str, str], declared: int, declares: bool) -> None:
    one = asked(headers)
    assert (one.declared, one.declares_body) == (declared, declares)
