from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.http.json_mode import body_of, messages_of
from millstream.errors import HTTPError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 2]))
def test_one_level_of_an_array_is_taken_apart_and_put_together(
    values: list[object], indent: int | None
) -> None:
    messages = messages_of(json.dumps(values, indent=indent).encode())
    assert [json.loads(message) for message in messages] == values
    assert json.loads(body_of(messages)) == values


@given(VALUES.filter(lambda value: not isinstance(value, list)))
def test_anything_else_is_one_message(value: object) -> None:
    [message] = messages_of(b" \r\n\t" + json.dumps(value).encode() + b"\n")
    assert json.loads(message) == value
    assert message == message.strip()


def test_a_message_stays_as_it_was_written() -> None:
    assert messages_of(b'[ 1.0 , {"a" :  1e3}, "\\u00e9" ]') == [b"1.0", b'{"a" :  1e3}', b'"\\u00e9"']


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1,]",
        b"nope",
        b"[1] 2",
        b'"a',
        b"[01]",
        b"NaN",
        b"\xff",
        b'["\xff"]',
        b'{"a":}',
        b" ",
        b"[" * 10**5,
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPError) as refused:
        messages_of(body)
    assert refused.value.status == 400
