"""The outbox: encoded items between a producer and its socket, bounded, and joined when several wait.

The producer's side (`put`, `full`) may run on another thread than the socket's side (`take`). Both count in
one direction only and a deque's ends are safe to use at once, so no lock is needed: whoever looks sees a
value that was true a moment ago, and is told again when it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

UNJOINED: Final = 16 * 1024
"""From this size on an item is sent by itself: copying it into a join costs more than a write."""


class Outbox:
    """Chunks that were produced and not yet taken by the socket.

    Args:
        high_water: bytes from which the producer must wait; one item more may be in it.
    """

    __slots__ = ("_chunks", "high_water", "items", "produced", "taken")

    def __init__(self, high_water: int) -> None:
        self._chunks: list[bytes] = []
        self.high_water = high_water
        self.produced = 0  # bytes, counted by the producer
        self.taken = 0  # bytes, counted by the socket's side once the server has them
        self.items = 0  # chunks taken

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def put(self) -> Callable[[bytes], None]:
        """Adds one item; a producer asks once, and adds to `produced` itself: this is the hot path."""
        return self._chunks.append

    @property
    def ahead(self) -> int:
        """Bytes that are produced but not yet with the server."""
        return self.produced - self.taken

    def take(self) -> bytes:
        """Everything that waits, as one piece; big items alone. Empty when nothing waits."""
        chunks = self._chunks
        waiting = len(chunks)
        if not waiting:
            return b""
        if waiting == 1 or len(chunks[0]) >= UNJOINED:
            self.items += 1
            return chunks.pop(0)
        self.items += waiting
        taken = b"".join(chunks[:waiting])
        del chunks[:waiting]  # more may have come
        return taken

    def put_held(self, data: bytes) -> None:
        """On the socket's side: bytes of items that were put before, when they had none yet."""
        if data:
            self.taken -= len(data)  # a producer alone counts what is produced
            self.items -= 1
            self._chunks.append(data)

    def close(self) -> None:
        """Forget what waits and what may still be put: nobody will read it."""
        self._chunks = []
