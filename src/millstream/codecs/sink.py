"""A file in memory that is emptied as it is filled: where libraries write that only know files."""

from __future__ import annotations


class Sink:
    """Write-only and not seekable, as a socket is; what was written is drained."""

    closed = False  # by whom it was given to: it is the codec's

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Keep it until it is drained."""
        self._pieces.append(bytes(data))  # a library may fill its own buffer anew
        return len(data)

    def drain(self) -> bytes:
        """Everything that was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def flush(self) -> None:
        """Nothing lies anywhere else."""

    def close(self) -> None:
        """What was written is still to be drained."""

    def readable(self) -> bool:
        """It is not."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is not: what was drained has left."""
        return False
