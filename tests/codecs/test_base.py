from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from millstream.codecs.base import Codec, charset_label, text_encoder, with_charset
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.raw import Raw
from millstream.codecs.sse import Sse
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.events import Reason

if TYPE_CHECKING:
    from pathlib import Path


class Shout(Codec):
    name: ClassVar[str] = "shout"
    media_type: ClassVar[str] = "text/x-shout"

    def __init__(
        self, *, action: str, charset: str, marks: int, end: Callable[[], str] | None = None
    ) -> None:
        super().__init__(action=action, charset=charset)
        self._marks = marks
        self._end = end

    def item(self, item: Any, /) -> bytes:
        return str(item).upper().encode() + b"!" * self._marks


class ShoutTwice(Shout):
    def __init__(self, *, pause: list[str] | tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(**options)
        self._pause = pause


class Whisper(Shout):
    def __init__(self, *, to: Path | int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._to = to


def test_a_minimal_codec_says_nothing_but_its_items() -> None:
    codec = Shout(action="Root.x", charset="utf-8", marks=2)
    words = [
        codec.head(),
        codec.item("a"),
        codec.failed({"status": 500}),
        codec.goodbye(Reason.STOPPED),
        codec.tail(),
    ]
    assert words == [b"", b"A!!", b"", b"", b""]
    assert codec.document("a") == b"A!!"


def test_a_refusal_names_action_codec_and_type() -> None:
    error = Shout(action="Root.x", charset="utf-8", marks=0).refusal(1.5, "too quiet")
    assert isinstance(error, WrongItem)
    text = str(error)
    assert all(word in text for word in ("Root.x", "'shout'", "float", "too quiet"))


@pytest.mark.parametrize(
    ("codec", "options", "words"),
    [
        (Csv, {"delimeter": ";"}, ["'delimeter'", "'csv'", "delimiter, fields, guard_formulas, header"]),
        (Raw, {"fields": ["a"]}, ["'fields'", "'raw'", "none"]),
        (Csv, {"header": "yes"}, ["'header'", "'csv'", "bool"]),
        (Csv, {"fields": "name"}, ["'fields'", "'csv'", "array"]),
        (Json, {"fields": ["a", 1]}, ["'fields'", "'json'", "`str`"]),
        (Json, {"fields": []}, ["'fields'", "'json'"]),
        (Json, {"fields": ["a", "a"]}, ["'fields'", "each once"]),
        (Csv, {"delimiter": ""}, ["'delimiter'", "one character"]),
        (Csv, {"delimiter": "\n"}, ["'delimiter'", "line end"]),
        (Sse, {"retry": -1}, ["'retry'", "negative"]),
        (Sse, {"fields": ["a"]}, ["'fields'", "'sse'", "retry"]),
        (Raw, {"charset": "ascii"}, ["'charset'"]),
        (Shout, {}, ["'marks'", "needs"]),
        (ShoutTwice, {"marks": "2"}, ["'marks'", "int"]),
        (ShoutTwice, {"mark": 2}, ["'mark'", "end, marks, pause"]),
    ],
)
def test_a_wrong_option_is_found_without_a_stream(
    codec: type[Codec], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        codec.check_options(options)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        (Raw, {}),
        (Csv, {"fields": ("a", "b"), "header": False, "delimiter": "\t", "guard_formulas": True}),
        (Json, {"fields": None}),
        (Sse, {"retry": 0}),
        (Shout, {"marks": 1, "end": str}),
        (ShoutTwice, {"marks": 1, "pause": ("-",)}),  # a union msgspec cannot check
        (Whisper, {"marks": 1, "to": 1}),  # a name only type checkers know
    ],
)
def test_right_options_pass(codec: type[Codec], options: dict[str, Any]) -> None:
    codec.check_options(options)


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("TEXT/CSS", "TEXT/CSS; charset=utf-8"),
        ("text/html; Charset=latin1", "text/html; Charset=latin1"),
        ("application/json", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_only_text_says_its_charset_and_only_once(media_type: str, expected: str) -> None:
    assert with_charset(media_type, "utf-8") == expected


def test_a_byte_order_mark_stands_once_before_the_first_piece() -> None:
    encode = text_encoder("utf-16")
    body = encode("a") + encode("b")
    assert body == "ab".encode("utf-16")


def test_each_stream_has_its_own_byte_order_mark() -> None:
    assert text_encoder("utf-8-sig")("a") == text_encoder("utf-8-sig")("a") == b"\xef\xbb\xbfa"


def test_a_charset_in_between_keeps_its_bytes() -> None:
    assert text_encoder("latin-1")("é") == b"\xe9"


def test_clients_are_not_told_names_that_only_python_knows() -> None:
    assert charset_label("utf-8-sig") == "utf-8"
    assert charset_label("latin1") == "latin1"


def test_a_charset_cannot_forge_a_header() -> None:
    assert charset_label("utf-8\r\n") == "utf-8"


@pytest.mark.parametrize("charset", ["klingon", "rot13", "base64", "undefined", "utf-8\0", ""])
def test_what_is_no_charset_is_refused(charset: str) -> None:
    with pytest.raises(ConfigurationError):
        Raw(action="Root.x", charset=charset)
