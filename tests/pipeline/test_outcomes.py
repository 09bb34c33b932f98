from __future__ import annotations

import io
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from starlette.responses import PlainTextResponse

from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.raw import Raw
from millstream.engine.source import AsyncSource, SyncSource
from millstream.errors import HTTPError, HTTPRedirect, WrongItem, WrongResult
from millstream.pipeline.offers import Offer
from millstream.pipeline.outcomes import Filed, Foreign, Outcome, Page, Streamed, Whole, outcome_of


def offered(codec: type[Any] = Raw, content_type: str = "text/html; charset=utf-8", **more: Any) -> Offer:
    return Offer(
        **{
            "media_type": content_type.partition(";")[0],
            "content_type": content_type,
            "extensions": frozenset(),
            "codec": codec,
            "options": {},
            "template": None,
            "charset": "utf-8",
            **more,
        }
    )


def outcome(result: Any, offer: Offer | None = None) -> Outcome:
    return outcome_of(result, offer or offered(), "Root.feed")


JSON = offered(Json, "application/json")


@dataclass
class Order:
    number: int


class Struct(msgspec.Struct):
    number: int


class Named(NamedTuple):
    number: int


OldNamed = namedtuple("OldNamed", ["number"])  # noqa: PYI024  authors still write them


def numbers() -> Iterator[int]:
    yield 1


async def anumbers() -> AsyncIterator[int]:
    yield 1


def test_nothing_is_no_content() -> None:
    assert outcome(None) == Whole(b"", None, 204)


@pytest.mark.parametrize("result", ["ü", "ü".encode(), bytearray("ü".encode()), memoryview("ü".encode())])
def test_text_and_bytes_are_a_body_already(result: Any) -> None:
    assert outcome(result) == Whole("ü".encode(), "text/html; charset=utf-8")


def test_text_and_bytes_are_a_body_already_under_any_codec() -> None:
    assert outcome("[1]", JSON) == Whole(b"[1]", "application/json")


def test_text_is_encoded_in_the_charset_that_was_declared() -> None:
    latin = offered(content_type="text/html; charset=latin-1", charset="latin-1")
    assert outcome("ü", latin) == Whole(b"\xfc", "text/html; charset=latin-1")
    with pytest.raises(WrongItem, match=r"Root\.feed yielded str"):
        outcome("€", latin)


@pytest.mark.parametrize("error", [HTTPRedirect("/there"), HTTPError(304)])
def test_a_status_that_is_no_failure_is_an_empty_body(error: HTTPError) -> None:
    assert outcome(error) == Whole(b"", None, error.status, error.headers)


def test_a_failure_that_was_returned_is_raised() -> None:
    with pytest.raises(HTTPError, match="no such order"):
        outcome(HTTPError(404, "no such order"))


def test_a_starlette_response_sends_itself() -> None:
    response = PlainTextResponse("hello")
    assert outcome(response) == Foreign(response)


RECORDS = [
    {"number": 1},
    MappingProxyType({"number": 1}),
    Order(1),
    Struct(1),
    Named(1),
    OldNamed(1),
]


@pytest.mark.parametrize("record", RECORDS, ids=[type(record).__name__ for record in RECORDS])
def test_one_record_is_a_document_and_no_stream_of_its_fields(record: Any) -> None:
    assert outcome(record, JSON) == Whole(b'{"number":1}', "application/json")


def test_without_a_codec_a_record_is_json() -> None:
    assert outcome({"a": 1}) == Whole(b'{"a":1}', "application/json")


@pytest.mark.parametrize("content_type", ["application/json", "application/vnd.api+json"])
def test_without_a_codec_a_record_is_the_json_that_was_declared(content_type: str) -> None:
    assert outcome({"a": 1}, offered(content_type=content_type)) == Whole(b'{"a":1}', content_type)


def test_a_record_may_be_a_body_of_one_line_or_one_row() -> None:
    assert outcome({"a": 1}, offered(Ndjson, "application/x-ndjson")) == Whole(
        b'{"a":1}\n', "application/x-ndjson"
    )
    assert outcome({"a": 1}, offered(Csv, "text/csv; charset=utf-8")) == Whole(
        b"a\r\n1\r\n", "text/csv; charset=utf-8"
    )


def test_with_a_template_a_record_is_its_values() -> None:
    assert outcome({"a": 1}, offered(template="page.html")) == Page("page.html", {"a": 1})


@pytest.mark.parametrize(
    "result", [[1], (1,), {1}, range(2), numbers(), iter([1]), {"a": 1}.items(), io.StringIO("1")]
)
def test_whatever_else_can_be_iterated_is_a_stream(result: Any) -> None:
    streamed = outcome(result)
    assert isinstance(streamed, Streamed)
    assert isinstance(streamed.source, SyncSource)


async def test_an_asynchronous_generator_is_a_stream() -> None:
    streamed = outcome(anumbers())
    assert isinstance(streamed, Streamed)
    assert isinstance(streamed.source, AsyncSource)


@pytest.mark.parametrize("result", [1, 1.5, True, object(), Order, Struct, len, lambda: None])
def test_anything_else_is_the_authors_mistake(result: Any) -> None:
    with pytest.raises(WrongResult, match=r"^Root\.feed returned .*, which is no response"):
        outcome(result)


@pytest.mark.parametrize("make", [Path, io.FileIO, lambda _: io.BytesIO(b"1")])
def test_a_path_and_an_open_binary_file_are_files(make: Callable[[str], Any]) -> None:
    result = make(__file__)
    assert outcome(result) == Filed(result)
    if not isinstance(result, Path):
        result.close()


def test_a_temporary_file_is_a_file_and_a_text_file_is_a_stream_of_lines() -> None:
    with (
        NamedTemporaryFile() as binary,
        SpooledTemporaryFile() as spooled,
        SpooledTemporaryFile(mode="w+") as spooled_text,
        Path(__file__).open(encoding="utf-8") as text,
    ):
        assert isinstance(outcome(binary), Filed)
        assert isinstance(outcome(spooled), Filed)
        assert isinstance(outcome(text), Streamed)
        assert isinstance(outcome(spooled_text), Streamed)
