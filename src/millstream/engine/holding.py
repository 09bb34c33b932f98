"""Holding: what a codec keeps back to encode many items at once is let go when its producer pauses.

An asynchronous producer pauses when it suspends. A synchronous one cannot be seen to: its thread is somewhere
inside of it. There the loop lets go, when no item came for a moment, and a lock keeps the codec from being
called twice at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from millstream.engine.buffer import Outbox
from millstream.protocol.ports import Batches, Encoder

MOMENT: Final = 0.01
"""Seconds without an item that are a pause."""


class Holding:
    """One stream's codec that holds items back, in front of its outbox."""

    __slots__ = ("_encode", "_encoder", "_lock", "_outbox", "holds")

    def __init__(self, encode: Callable[[Any], bytes], encoder: Batches, outbox: Outbox) -> None:
        self._encode = encode
        self._encoder = encoder
        self._outbox = outbox
        self._lock = threading.Lock()
        self.holds = False  # something may be held

    def encode(self, item: Any) -> bytes:
        """One item; what was held before it is in its bytes, if there are any."""
        with self._lock:
            self.holds = True
            return self._encode(item)

    def guarded(self, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """Another way to encode items of the same stream, which holds them back as well."""

        def encode_guarded(item: Any) -> bytes:
            with self._lock:
                self.holds = True
                return encode(item)

        return encode_guarded

    def let_go(self) -> None:
        """The producer pauses; on the socket's side.

        Raises:
            WrongItem: when something that was held cannot be carried after all.
        """
        with self._lock:  # until it is in the outbox: what is encoded next comes behind it
            self.holds = False
            self._outbox.put_held(self._encoder.flush())


def holding_of(encode: Callable[[Any], bytes], encoder: Encoder, outbox: Outbox) -> Holding | None:
    """The holding of a codec that holds items back; None for all others."""
    if not hasattr(encoder, "flush"):  # a look at the whole protocol would cost ten times as much
        return None
    return Holding(encode, encoder, outbox) if isinstance(encoder, Batches) else None
