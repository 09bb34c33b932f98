"""The content type that an author gives, with all its parameters, on every road to a response."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from millstream import Durable, Millstream, Settings, TGController, expose, response
from millstream.errors import ConfigurationError
from millstream.testing import WireClient

pytestmark = pytest.mark.wire

TYPES = [
    "multipart/x-mixed-replace; boundary=frame",
    'multipart/related; boundary="a b:c"; type="text/html"',
    "text/plain; charset=latin-1",
    'text/html; charset="UTF-8"; level=1',
    "text/csv; header=present",
    'text/plain; note="a; charset=utf-16"',
    'application/vnd.api+json; profile="https://example.org/a;b,c"; version=2',
    "application/json; charset=utf-8",
    "video/mp4; codecs=avc1",
]
TEXT = "caf\u00e9"


def generated() -> Iterator[str]:
    yield TEXT[:2]
    yield TEXT[2:]


async def made() -> AsyncIterator[str]:
    yield TEXT[:2]
    yield TEXT[2:]


def exposed(road: Callable[[Any], Any], content_type: str, **options: Any) -> Callable[[Any], Any]:
    """A road whose type stands in its `expose`."""

    def action(self: Any) -> Any:
        return road(self)

    return expose(content_type=content_type, **options)(action)


def said(road: Callable[[Any], Any], content_type: str) -> Callable[[Any], Any]:
    """The same, where the action says the type before it returns."""

    def action(self: Any) -> Any:
        response.content_type = content_type
        return road(self)

    return expose()(action)


def said_inside(content_type: str) -> Callable[[Any], Any]:
    def action(_: Any) -> Iterator[str]:
        response.content_type = content_type
        yield from generated()

    return expose()(action)


def said_inside_async(content_type: str) -> Callable[[Any], Any]:
    async def action(_: Any) -> AsyncIterator[str]:
        response.content_type = content_type
        async for text in made():
            yield text

    return expose()(action)


ROADS: dict[str, Callable[[Any], Any]] = {
    "stream": lambda _: generated(),
    "async_stream": lambda _: made(),
    "text": lambda _: TEXT,
}


def controller(content_type: str) -> type[TGController]:
    actions = {f"exposed_{name}": exposed(road, content_type) for name, road in ROADS.items()}
    actions |= {f"said_{name}": said(road, content_type) for name, road in ROADS.items()}
    actions |= {
        "said_inside": said_inside(content_type),
        "said_inside_async": said_inside_async(content_type),
        "exposed_durable": exposed(ROADS["stream"], content_type, durable=Durable(key="one")),
        "exposed_file": exposed(lambda _: Path(__file__), content_type),
        "said_file": said(lambda _: Path(__file__), content_type),
    }
    return type("Typed", (TGController,), actions)


class Coded(TGController):
    @expose("multipart", content_type="multipart/x-mixed-replace; boundary=frame")
    def boundary(self) -> Iterator[bytes]:
        yield TEXT.encode()

    @expose("multipart", content_type="multipart/x-mixed-replace")
    def chosen(self) -> Iterator[bytes]:
        yield TEXT.encode()

    @expose("multipart")
    def said(self) -> Iterator[bytes]:
        response.content_type = "multipart/form-data"
        yield TEXT.encode()

    @expose("multipart")
    def said_before(self) -> Iterator[bytes]:
        response.content_type = 'multipart/related; boundary="my own"'
        return iter([TEXT.encode()])

    @expose("multipart")
    def contradicted(self) -> Iterator[bytes]:
        response.content_type = "multipart/related; boundary=another"
        yield TEXT.encode()

    @expose("multipart", durable=Durable(key="one"))
    def durable(self) -> Iterator[bytes]:
        yield TEXT.encode()

    @expose(durable=Durable(key="one"))
    def recorded(self) -> Iterator[str]:
        response.content_type = "text/plain; charset=latin-1"
        yield TEXT

    @expose("csv", content_type='text/csv; header=present; charset="latin-1"', fields=["word"])
    def csv(self) -> Iterator[tuple[str]]:
        yield (TEXT,)

    @expose("ndjson")
    def false(self) -> Iterator[str]:
        response.content_type = "application/x-ndjson; charset=latin-1"
        yield TEXT

    @expose("json")
    def false_document(self) -> dict[str, str]:
        response.content_type = "application/json; charset=latin-1"
        return {"word": TEXT}

    @expose()
    def nonsense(self) -> str:
        response.content_type = "text/plain; charset=nonsense"
        return TEXT

    @expose()
    def their_own(self) -> bytes:
        response.content_type = "text/plain; charset=nonsense"
        return TEXT.encode()


class Root(TGController):
    coded = Coded()


for number, each in enumerate(TYPES):
    setattr(Root, f"type{number}", controller(each)())

app = Millstream(Root(), Settings(durable_url="memory:"))


@pytest.mark.parametrize("number", range(len(TYPES)), ids=TYPES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_parameter_reaches_the_client_on_every_road(wire: WireClient, number: int, method: str) -> None:
    found = {}
    for road in filter(re.compile("exposed_|said_").match, vars(type(getattr(Root, f"type{number}")))):
        reply = wire.get(f"/type{number}/{road}", method=method)
        reply.rest()
        found[road] = reply.status, reply.headers["content-type"]
    wanted = TYPES[number]
    completed = {wanted, f"{wanted}; charset=utf-8"} if wanted.startswith("text/") else {wanted}
    if method == "HEAD":  # a generator is not asked, and so it has not said anything yet
        del found["said_inside"], found["said_inside_async"]
    assert {road: answer for road, answer in found.items() if answer[1] not in completed} == {}
    assert {status for status, _ in found.values()} == {200}


@pytest.mark.parametrize(
    "road", ["exposed_stream", "exposed_text", "said_stream", "said_text", "said_inside"]
)
def test_text_is_encoded_in_the_charset_that_is_said(wire: WireClient, road: str) -> None:
    latin = TYPES.index("text/plain; charset=latin-1")
    assert wire.get(f"/type{latin}/{road}").rest() == TEXT.encode("latin-1")
    assert wire.get(f"/type{latin + 2}/{road}").rest() == TEXT.encode()


@pytest.mark.parametrize("path", ["boundary", "chosen", "said", "said_before", "durable"])
def test_the_boundary_in_the_type_is_the_one_in_the_body(wire: WireClient, path: str) -> None:
    for _ in range(2):
        reply = wire.get(f"/coded/{path}")
        head = f"content-type: {reply.headers['content-type']}\r\n\r\n".encode()
        (part,) = message_from_bytes(head + reply.rest(), policy=policy.default).iter_parts()
        assert part.get_payload(decode=True) == TEXT.encode()


def test_a_codec_keeps_the_parameters_it_does_not_know(wire: WireClient) -> None:
    reply = wire.get("/coded/csv")
    assert reply.headers["content-type"] == 'text/csv; header=present; charset="latin-1"'
    assert reply.rest() == f"word\r\n{TEXT}\r\n".encode("latin-1")


@pytest.mark.parametrize("path", ["contradicted", "false", "false_document", "nonsense", "recorded"])
def test_a_type_that_is_not_true_of_the_body_is_refused(wire: WireClient, path: str) -> None:
    assert wire.get(f"/coded/{path}").status == 500


def test_of_bytes_only_their_author_knows_the_charset(wire: WireClient) -> None:
    reply = wire.get("/coded/their_own")
    assert (reply.headers["content-type"], reply.rest()) == ("text/plain; charset=nonsense", TEXT.encode())


@pytest.mark.parametrize(
    ("codec", "content_type", "why"),
    [
        ("json", "application/json; charset=latin-1", "charset"),
        ("sse", "text/event-stream; charset=latin-1", "charset"),
        ("multipart", 'multipart/mixed; boundary="ends with a space "', "boundary"),
        ("text", "text/plain; charset=nonsense", "charset"),
    ],
)
def test_a_type_that_cannot_be_true_is_refused_at_start_up(codec: str, content_type: str, why: str) -> None:
    class Wrong(TGController):
        @expose(codec, content_type=content_type)
        def action(self) -> Iterator[str]:
            yield ""

    with pytest.raises(ConfigurationError, match=why):
        Millstream(Wrong())


def test_two_boundaries_are_one_too_many() -> None:
    class Wrong(TGController):
        @expose("multipart", content_type="multipart/mixed; boundary=a", boundary="b")
        def action(self) -> Iterator[str]:
            yield ""

    with pytest.raises(ConfigurationError, match="another boundary"):
        Millstream(Wrong())
