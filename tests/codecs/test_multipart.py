from __future__ import annotations

import email
import email.policy
import io
import json
from collections.abc import Iterator
from email.errors import CloseBoundaryNotFoundDefect
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.bodies import BLOCK
from millstream.codecs.multipart import Multipart, Part
from millstream.errors import ConfigurationError, WrongItem
from millstream.testing.contracts import check_codec


def coded(**options: Any) -> Multipart:
    return Multipart(action="Root.parts", charset="utf-8", **options)


def write(items: list[Any], codec: Multipart | None = None) -> bytes:
    codec = codec or coded(boundary="b")
    return codec.head() + b"".join(map(codec.item, items)) + codec.tail()


def parsed(body: bytes, content_type: str = 'multipart/mixed; boundary="b"') -> EmailMessage:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert isinstance(message, EmailMessage)
    return message


def parts(body: bytes, content_type: str = 'multipart/mixed; boundary="b"') -> list[EmailMessage]:
    message = parsed(body, content_type)
    assert message.defects == []
    return list(message.iter_parts())  # type: ignore[arg-type]  # the parts of one of its kind are of it, too


def bodies(body: bytes) -> list[bytes]:
    """Python's email parser, and it must not complain."""
    if body == b"--b--\r\n":  # a message of no parts, which the grammar does not know (RFC 2046 §5.1.1)
        return []
    return [part.get_payload(decode=True) for part in parts(body)]  # type: ignore[misc]  # bytes, when decoded


def test_multipart_keeps_the_contract() -> None:
    items = ["text", Part(["a", b"\r\nb"], "text/csv", filename="x.csv")]
    check_codec(Multipart, items, options={"boundary": "b"}, read=bodies, expected=[b"text", b"a\r\nb"])


@given(st.lists(st.binary() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_body_is_read_back_equal(items: list[bytes | str]) -> None:
    codec = coded()
    found = [part.get_payload(decode=True) for part in parts(write(list(items), codec), codec.content_type)]
    assert found == [item.encode() if isinstance(item, str) else item for item in items]


def test_plain_items_become_parts_of_their_type() -> None:
    found = parts(write(["grün", b"\0", {"a": [1]}, 5]))
    assert [part["Content-Type"] for part in found] == [
        'text/plain; charset="utf-8"',
        "application/octet-stream",
        "application/json",
        "application/json",
    ]
    assert [json.loads(part.get_payload(decode=True)) for part in found[2:]] == [{"a": [1]}, 5]  # type: ignore[arg-type]  # as above


def test_a_part_has_its_own_headers_and_any_file_name() -> None:
    (part,) = parts(write([Part(b"x", "image/png", filename='größe "1"\r\n.png', headers={"X-Row": "1"})]))
    assert part.get_content_type() == "image/png"
    assert part["X-Row"] == "1"
    assert (
        b"\r\nContent-Disposition: attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22%0D%0A.png\r\n"
        in write([Part(b"x", filename='größe "1"\r\n.png')])
    )


def test_a_part_may_be_a_stream_and_leaves_in_pieces() -> None:
    file = io.BytesIO(b"x" * (3 * BLOCK))
    codec = coded(boundary="b")
    nested = codec.expand(Part(file))
    producer: Any = nested.producer
    pieces = [piece for chunk in producer for piece in [*nested.pieces(chunk)]]
    producer.close()
    assert [len(piece) for piece in pieces] == [BLOCK] * 3
    assert file.closed


@pytest.mark.parametrize(
    "part",
    [
        Part(b"", "text/plain\r\nX-Forged: 1"),
        Part(b"", "a/b\n\n"),
        Part(b"", headers={"X-A": "1\r\nX-Forged: 1"}),
        Part(b"", headers={"X-A": "\0"}),
        Part(b"", headers={"X-A": "größe"}),
        Part(b"", headers={"X A": "1"}),
        Part(b"", headers={"X-A\r\nX-B": "1"}),
        Part(b"", headers={"": "1"}),
        Part(b"", headers={"content-type": "text/html"}),
        Part(b"", headers={"Content-Disposition": "inline"}),
        Part(b"", headers={"X-A": 1}),  # type: ignore[dict-item]  # on purpose
        Part(b"", filename="\ud800"),
    ],
)
def test_no_part_can_forge_a_header(part: Part) -> None:
    with pytest.raises(WrongItem, match=r"Root\.parts .* cannot be written: "):
        write([part])


@pytest.mark.parametrize("item", [object(), Part(1), Part({"a": 1}), Part(iter([1])), "\ud800"])  # type: ignore[arg-type]  # on purpose
def test_what_is_no_part_is_refused(item: Any) -> None:
    with pytest.raises(WrongItem, match="codec 'multipart' takes Part"):
        write([item])


def test_an_asynchronous_part_cannot_be_had_at_once() -> None:
    async def body() -> Any:
        yield b""

    with pytest.raises(WrongItem, match="asynchronous"):
        write([Part(body())])


def test_the_boundary_is_another_for_each_stream_and_the_type_says_it() -> None:
    types = {coded().content_type for _ in range(50)}
    assert len(types) == 50
    assert coded(boundary="it's one?").content_type == 'multipart/mixed; boundary="it\'s one?"'


@pytest.mark.parametrize("boundary", ["", "a" * 71, "ends with a space ", 'quo"te', "a\r\nb", "ü"])
def test_a_boundary_that_is_none_is_found_at_start_up(boundary: str) -> None:
    with pytest.raises(ConfigurationError, match="'boundary'"):
        Multipart.check_options({"boundary": boundary})


def test_a_part_is_known_to_be_complete_before_the_next_one() -> None:
    codec = coded(boundary="b")
    assert (codec.head() + codec.item("one")).endswith(b"one\r\n--b")


def test_a_message_that_was_broken_off_is_known_as_such() -> None:
    codec = coded(boundary="b")
    body = codec.head() + codec.item("one")
    assert any(isinstance(defect, CloseBoundaryNotFoundDefect) for defect in parsed(body).defects)


def test_between_two_parts_the_error_is_a_part_of_its_own() -> None:
    codec = coded(boundary="b")
    message = parsed(codec.head() + codec.item("one") + codec.failed({"status": 500}))
    assert any(isinstance(defect, CloseBoundaryNotFoundDefect) for defect in message.defects)
    last = list(message.iter_parts())[-1]
    assert last.get_content_type() == "application/problem+json"
    assert json.loads(last.get_payload(decode=True)) == {"status": 500}  # type: ignore[arg-type]  # as above


def test_inside_a_part_nothing_is_said_that_would_become_part_of_it() -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"

    codec = coded(boundary="b")
    codec.expand(Part(failing())).head()
    assert codec.failed({"status": 500}) == b""
