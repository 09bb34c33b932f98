from __future__ import annotations

from millstream.codecs.sse import Sse
from millstream.pipeline.stored import Stored


def test_no_sign_of_life_falls_into_an_event_that_comes_in_pieces() -> None:
    stored = Stored(Sse(action="", charset="utf-8"), head_first=True)
    assert stored.keep_alive == b": keep-alive\n"
    assert stored.item(b"data: a long ") == b"data: a long "
    assert stored.keep_alive == b""
    stored.item(b"event\n\n")
    assert stored.keep_alive == b": keep-alive\n"


def test_other_formats_are_given_no_signs_of_life() -> None:
    stored = Stored(None, head_first=True)
    stored.item(b"1\n")
    assert (stored.keep_alive, stored.failed({})) == (b"", b"")
