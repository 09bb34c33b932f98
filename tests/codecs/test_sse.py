from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.sse import END_ID, Event, Sse
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.events import Reason
from millstream.testing.contracts import check_codec


@dataclass
class EventSource:
    """A browser's reading of an event stream, step by step as in WHATWG HTML §9.2.6."""

    received: list[tuple[str, str, str]] = field(default_factory=list)  # type, data, last event ID
    last_id: str = ""
    retry: int | None = None

    def read(self, body: bytes) -> list[tuple[str, str, str]]:
        lines = re.split("\r\n|\n|\r", body.decode().removeprefix("\ufeff"))
        kind, data, self._id = "", "", self.last_id
        for line in lines[:-1]:  # what stands after the last line end is incomplete
            name, colon, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = self._id
                if data:
                    self.received.append((kind or "message", data.removesuffix("\n"), self.last_id))
                kind, data = "", ""
            elif colon and not name:
                continue
            elif name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                self._id = value
            elif name == "retry" and re.fullmatch("[0-9]+", value):
                self.retry = int(value)
        return self.received


def codec(**options: Any) -> Sse:
    return Sse(action="Root.feed", charset="latin-1", **options)


def received(*items: Any) -> list[tuple[str, str, str]]:
    encoder = codec()
    return EventSource().read(encoder.head() + encoder.keep_alive.join(map(encoder.item, items)))


def messages_until_end(body: bytes) -> list[Any]:
    *events, (kind, data, _) = EventSource().read(body)
    assert (kind, json.loads(data)) == ("end", {"reason": "completed"})
    return [json.loads(data) for _, data, _ in events]


def test_sse_keeps_the_contract() -> None:
    check_codec(Sse, [{"a": 1}, 2, None, [3], {"b": "\r\n\n"}], read=messages_until_end)
    check_codec(Sse, [Event("1"), "2", Event([3], "x", 4, 5)], read=messages_until_end, expected=[1, 2, [3]])


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\r\n\0: \u2028\x0b\x85dati")
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")) | st.text(
    "dati: \u2028\x0b"
)


@given(ANY_TEXT)
def test_any_text_is_one_event_with_that_text(data: str) -> None:
    assert received(data) == [("message", re.sub("\r\n|\r", "\n", data), "")]


@given(ANY_TEXT, FIELD, FIELD | st.integers() | st.uuids(), st.integers(0))
def test_one_event_in_is_one_event_out(data: str, event: str, identity: Any, retry: int) -> None:
    encoder, browser = codec(), EventSource()
    found = browser.read(encoder.item(Event(data, event, identity, retry)) + encoder.item("next"))
    expected = (event or "message", re.sub("\r\n|\r", "\n", data), str(identity))
    assert found == [expected, ("message", "next", str(identity))]
    assert browser.retry == retry


@pytest.mark.parametrize("forging", ["a\nb", "a\rb", "\r\n", "a\0", "\ud800"])
@pytest.mark.parametrize("name", ["event", "id"])
def test_a_field_cannot_be_forged(name: str, forging: str) -> None:
    fields: dict[str, Any] = {name: forging}
    with pytest.raises(ValueError, match=f"the {name} of an Event is"):
        Event("data", **fields)


@pytest.mark.parametrize("fields", [{"id": 1.5}, {"id": True}, {"event": 1}, {"retry": "5"}, {"retry": 1.0}])
def test_a_field_has_its_type(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="of an Event is"):
        Event("data", **fields)


def test_a_client_cannot_come_back_before_it_left() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Event("data", retry=-1)


def test_objects_are_json_and_text_is_text() -> None:
    assert received({"a": 1}, "a", 1, Event("b"), Event(None)) == [
        ("message", data, "") for data in ('{"a":1}', "a", "1", "b", "null")
    ]


def test_an_id_holds_until_the_next_and_may_be_cleared() -> None:
    found = received(Event("a", id=uuid.UUID(int=0)), "b", Event("c", id=""), "d")
    assert [last_id for _, _, last_id in found] == [str(uuid.UUID(int=0))] * 2 + ["", ""]


def test_json_that_came_with_line_ends_is_still_one_event() -> None:
    ((_, data, _),) = received(msgspec.Raw(b'{\n"a":\r1,\r\n\r\n"b": 2}'))
    assert json.loads(data) == {"a": 1, "b": 2}


@pytest.mark.parametrize("item", ["\ud800", Event("\ud800"), object(), Event(object()), {"a": 1j}])
def test_what_cannot_be_sent_is_refused(item: Any) -> None:
    with pytest.raises(WrongItem, match=r"Root\.feed yielded"):
        codec().item(item)


def test_a_failure_is_an_error_event_with_the_problem() -> None:
    problem = {"title": "Internal Server Error", "status": 500, "traceback": "line 1\nline 2"}
    ((kind, data, _),) = EventSource().read(codec().failed(problem))
    assert (kind, json.loads(data)) == ("error", problem)


def test_a_shutdown_says_when_to_come_back_and_with_which_id() -> None:
    encoder, browser = codec(retry=250), EventSource()
    encoder.item(Event("a", id=41))
    encoder.item("b")
    ((kind, data, last_id),) = browser.read(encoder.goodbye(Reason.SHUTDOWN))
    assert (kind, json.loads(data), last_id) == ("goodbye", {"reason": "shutdown"}, "41")
    assert browser.retry == 250


def test_a_shutdown_before_any_id_changes_no_id() -> None:
    browser = EventSource(last_id="7")
    assert browser.read(codec().goodbye(Reason.SHUTDOWN))[0][2] == "7"


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.SHUTDOWN])
def test_another_goodbye_invites_nobody_back(reason: Reason) -> None:
    browser = EventSource()
    ((kind, data, _),) = browser.read(codec().goodbye(reason))
    assert (kind, json.loads(data), browser.retry) == ("goodbye", {"reason": str(reason)}, None)


def test_head_and_keep_alives_are_no_events() -> None:
    assert EventSource().read(codec().head() + codec().keep_alive * 3) == []


def test_no_empty_line_stands_behind_what_carries_no_data() -> None:
    encoder = codec()
    signs, item = encoder.head() + encoder.keep_alive * 3, encoder.item(1)
    for end in (encoder.tail(), encoder.failed({"status": 500}), encoder.goodbye(Reason.SHUTDOWN)):
        *blocks, rest = (signs + item + encoder.keep_alive + end).split(b"\n\n")
        assert all(b"\ndata: " in b"\n" + block for block in blocks)
        assert rest == b""


def test_an_event_stream_is_always_utf_8() -> None:
    assert codec().content_type == "text/event-stream; charset=utf-8"
    assert "é".encode() in codec().item("é")


def test_a_retry_is_not_negative() -> None:
    with pytest.raises(ConfigurationError, match="'retry'"):
        codec(retry=-1)


# Protocols that are somebody else's


def test_the_last_event_has_an_id_that_no_other_can_have() -> None:
    browser = EventSource()
    browser.read(codec().item(Event("a", id=41)) + codec().tail())
    assert browser.last_id == END_ID
    with pytest.raises(WrongItem, match="its id 'end' is that of the last event: choose another"):
        codec().item(Event("a", id=END_ID))


@pytest.mark.parametrize("identity", [f" {END_ID}", f"{END_ID}\t", f"  {END_ID} "])
def test_no_id_is_the_reserved_one_once_a_header_has_lost_its_blanks(identity: str) -> None:
    with pytest.raises(WrongItem, match="is that of the last event"):
        codec().item(Event("a", id=identity))


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("[DONE]", ("message", "[DONE]", END_ID)),
        (Event({"a": 1}, "over", retry=5), ("over", '{"a":1}', END_ID)),
        (Event("two\nlines"), ("message", "two\nlines", END_ID)),
        ("", None),
    ],
)
def test_an_author_names_the_last_event(end: Any, expected: Any) -> None:
    tail = codec(end=end).tail()
    if expected is None:
        assert tail == b"id: end\ndata: \n\n"
    else:
        assert EventSource().read(tail) == [expected]


def test_without_a_last_event_no_id_is_reserved() -> None:
    encoder = codec(end=None)
    assert (encoder.tail(), encoder.end_id) == (b"", None)
    assert b"id: end\n" in encoder.item(Event(1, id=END_ID))


def test_a_last_event_does_not_become_the_id_of_a_goodbye() -> None:
    encoder = codec(end="[DONE]")
    encoder.tail()
    assert b"id:" not in encoder.goodbye(Reason.SHUTDOWN)


def test_an_author_makes_the_event_of_a_failure() -> None:
    encoder = codec(error=lambda problem: {"type": "error", "errorText": problem["title"]})
    ((kind, data, _),) = EventSource().read(encoder.failed({"title": "Internal Server Error", "status": 500}))
    assert (kind, json.loads(data)) == ("message", {"type": "error", "errorText": "Internal Server Error"})
    named = codec(error=lambda problem: Event(problem, event="failed"))
    assert EventSource().read(named.failed({"status": 500})) == [("failed", '{"status":500}', "")]


def test_an_early_end_is_told_in_the_same_words_with_its_reason() -> None:
    encoder = codec(error=lambda problem: Event(problem["reason"], event="over"))
    assert EventSource().read(encoder.goodbye(Reason.TIMED_OUT)) == [("over", "timed-out", "")]


def test_an_author_may_have_failures_go_without_a_word() -> None:
    encoder = codec(error=None)
    assert (encoder.failed({"status": 500}), encoder.goodbye(Reason.SHUTDOWN)) == (b"", b"")


@pytest.mark.parametrize("error", [lambda _: object(), lambda _: Event(1, id=END_ID), lambda p: p["none"]])
def test_an_error_function_that_fails_is_logged_and_ends_nothing_else(
    error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert codec(error=error).failed({"status": 500}) == b""
    assert "Root.feed: the option 'error' of the codec 'sse' failed" in caplog.text


def test_an_event_of_a_failure_that_ends_the_body_has_the_id_of_the_last() -> None:
    told = codec(error=lambda problem: problem["title"], error_ends=True)
    assert told.failed({"title": "a"}) == b"id: end\ndata: a\n\n"
    assert codec(error_ends=True).failed({}).startswith(b"id: end\nevent: error\n")
    assert b"id:" not in codec(end=None, error_ends=True).failed({})
    assert b"id:" not in told.goodbye(Reason.SHUTDOWN)  # after which a client may come back
    assert codec(error=lambda _: object(), error_ends=True).failed({}) == b""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"error": None, "error_ends": True}, "'error_ends'.* there is no event that could end the body"),
        ({"end": 3}, "'end'.* is 3: it must be an Event, text or None"),
        ({"end": Event("x", id=1)}, "'end'.*it must have no id"),
        ({"end": Event(object())}, "'end'.*"),
        ({"end": "\ud800"}, "'end'.*"),
        ({"error": "failed"}, "'error'.* is 'failed': Expected `Callable`"),
        ({"retry": -1}, "'retry'.* is -1: it must not be negative"),
    ],
)
def test_a_wrong_option_is_found_at_start_up(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Sse.check_options(options)


class UiMessages(Sse):
    """A dialect: a codec as any other."""

    name = "ui-messages"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}  # noqa: RUF012  as an author writes it

    def __init__(self, *, action: str, charset: str, **options: Any) -> None:
        super().__init__(action=action, charset=charset, end="[DONE]", error=self.told, **options)

    @staticmethod
    def told(problem: Any) -> Any:
        return {"type": "error", "errorText": problem.get("title", "")}


def test_a_dialect_keeps_the_contract() -> None:
    def read(body: bytes) -> list[Any]:
        *events, (_, last, _) = EventSource().read(body)
        assert last == "[DONE]"
        return [json.loads(data) for _, data, _ in events]

    check_codec(UiMessages, [{"type": "start"}, {"type": "finish"}], read=read)
