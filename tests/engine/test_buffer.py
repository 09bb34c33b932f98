from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.buffer import UNJOINED, Outbox

CHUNKS = st.lists(
    st.binary(max_size=8) | st.just(bytes(UNJOINED)) | st.just(bytes(UNJOINED + 1)), max_size=12
)


def filled(*chunks: bytes, high_water: int = 100) -> Outbox:
    outbox = Outbox(high_water)
    for chunk in chunks:
        outbox.put(chunk)
        outbox.produced += len(chunk)
    return outbox


def pieces(outbox: Outbox) -> list[bytes]:
    """Everything, piece by piece; an empty piece is one where something waited."""
    taken = []
    while outbox:
        taken.append(outbox.take())
    return taken


@given(CHUNKS)
def test_everything_comes_out_once_and_in_order(chunks: list[bytes]) -> None:
    outbox = filled(*chunks)
    assert b"".join(pieces(outbox)) == b"".join(chunks)
    assert outbox.items == len(chunks)


def test_small_items_that_wait_leave_together() -> None:
    assert pieces(filled(b"a", b"b", b"c")) == [b"abc"]


def test_a_big_item_leaves_by_itself_and_uncopied() -> None:
    big = bytes(UNJOINED)
    outbox = filled(big, b"a", b"b")
    assert outbox.take() is big
    assert outbox.take() == b"ab"


def test_nothing_is_taken_where_nothing_waits() -> None:
    assert filled().take() == b""
    assert not filled()


def test_an_empty_item_waits_like_any_other() -> None:
    outbox = filled(b"")
    assert outbox
    assert (outbox.take(), outbox.items, bool(outbox)) == (b"", 1, False)


def test_what_is_taken_stays_ahead_until_the_server_has_it() -> None:
    outbox = filled(b"abc")
    outbox.take()
    assert outbox.ahead == 3
    outbox.taken += 3
    assert outbox.ahead == 0


def test_after_closing_nothing_comes_out_any_more() -> None:
    outbox = filled(b"abc")
    put = outbox.put  # as a producer holds it
    outbox.close()
    put(b"d")
    assert not outbox
    assert outbox.take() == b""


def test_a_thread_may_put_while_another_takes() -> None:
    outbox, taken = Outbox(1), bytearray()
    expected = b"".join(b"%d," % number for number in range(20_000))

    def produce() -> None:
        for number in range(20_000):
            outbox.put(b"%d," % number)

    producer = threading.Thread(target=produce)
    producer.start()
    while producer.is_alive() or outbox:
        taken += outbox.take()
    producer.join()
    assert taken == expected
    assert outbox.items == 20_000
