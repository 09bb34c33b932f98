from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from millstream.codecs.base import Codec
from millstream.codecs.json import Json
from millstream.errors import ConfigurationError
from millstream.protocol.events import Reason
from millstream.testing.contracts import check_codec

ITEMS = [{"a": 1}, {"a": 2}, {"a": 3}]


def check(codec: type[Codec], **options: Any) -> None:
    check_codec(codec, ITEMS, read=json.loads, options=options)


def test_a_codec_that_keeps_the_contract_passes() -> None:
    check(Json)


class ClosesWhenFailed(Json):
    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        return b"]"


class ClosesWhenSayingGoodbye(Json):
    def goodbye(self, reason: Reason, /) -> bytes:
        return b'{"goodbye": 1}]'


class ClosesInSecret(Json):
    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        return b"] "


class RaisesWhenFailed(Json):
    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        return json.dumps(problem).encode()


class RaisesWhenSayingGoodbye(Json):
    def goodbye(self, reason: Reason, /) -> bytes:
        return {Reason.STOPPED: b""}[reason]


class SaysNothing(Json):
    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        return None  # type: ignore[return-value]  # on purpose


class MeansSomethingByKeepAlive(Json):
    keep_alive: bytes = b"null"


class TextForKeepAlive(Json):
    keep_alive = " "  # type: ignore[assignment]  # on purpose


class ForgetsTheComma(Json):
    def item(self, item: Any, /) -> bytes:
        return self.encode(item)


class ForgetsTheEnd(Json):
    def tail(self) -> bytes:
        return b""


class TakesAnything(Json):
    def item(self, item: Any, /) -> bytes:
        try:
            return super().item(item)
        except TypeError:
            return b"null"


class ForgetsItself(Json):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.action = "?"


class Shares(Json):
    seen: ClassVar[list[Any]] = []

    def item(self, item: Any, /) -> bytes:
        self.seen.append(item)
        return super().item(len(self.seen))


class ReturnsABuffer(Json):
    def item(self, item: Any, /) -> bytes:
        return bytearray(super().item(item))  # type: ignore[return-value]  # on purpose


@pytest.mark.parametrize(
    ("codec", "complaint"),
    [
        (ClosesWhenFailed, "failed.* ends the body as if it were complete"),
        (ClosesWhenSayingGoodbye, "goodbye.* ends the body as if it were complete"),
        (ClosesInSecret, "after failed.* takes a broken body for a complete one"),
        (RaisesWhenFailed, "failed raised"),
        (RaisesWhenSayingGoodbye, "goodbye raised KeyError"),
        (SaysNothing, "returned None instead of bytes"),
        (MeansSomethingByKeepAlive, "(with keep-alives|Expecting)"),
        (TextForKeepAlive, "keep_alive must be bytes"),
        (ForgetsTheComma, "(read as|Expecting)"),
        (ForgetsTheEnd, "(read as|Expecting)"),
        (TakesAnything, "an object\\(\\) was taken"),
        (ForgetsItself, "must name the action"),
        (Shares, "state is shared"),
        (ReturnsABuffer, "must return bytes"),
    ],
)
def test_a_codec_that_breaks_the_contract_is_found(codec: type[Codec], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check(codec)


def test_two_items_are_needed_to_see_what_stands_between() -> None:
    with pytest.raises(AssertionError, match="two items"):
        check_codec(Json, [1])


def test_the_options_are_checked_first() -> None:
    with pytest.raises(ConfigurationError, match="'feilds'"):
        check(Json, feilds=["a"])
