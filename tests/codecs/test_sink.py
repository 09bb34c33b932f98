from __future__ import annotations

from io import BufferedWriter

from millstream.codecs.sink import Sink


def test_what_was_written_is_drained_once() -> None:
    sink = Sink()
    assert (sink.write(b"a"), sink.write(memoryview(b"bc"))) == (1, 2)
    assert (sink.drain(), sink.drain()) == (b"abc", b"")


def test_a_buffer_may_be_filled_anew() -> None:
    sink, buffer = Sink(), bytearray(b"one")
    sink.write(buffer)
    buffer[:] = b"two"
    assert sink.drain() == b"one"


def test_a_library_takes_it_for_a_file() -> None:
    sink = Sink()
    with BufferedWriter(sink) as file:  # type: ignore[type-var]  # by shape
        file.write(b"abc")
    assert sink.drain() == b"abc"
    assert (sink.readable(), sink.seekable()) == (False, False)
