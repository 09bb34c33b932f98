"""Arrow (IPC streaming format): columns in record batches, which data frames read without parsing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from millstream.codecs.recordbatches import RecordBatchCodec, Writer
from millstream.protocol.events import Reason

CONTINUATION: Final = b"\xff\xff\xff\xff"
"""What every message begins with, the mark of the end among them."""


class Arrow(RecordBatchCodec):
    """A message a record batch, as soon as the rows pause and after 50 ms at most.

    The format lets a stream end without its mark, so that a reader takes half of one for the whole. Therefore
    the first bytes of the next message leave with each one: until the end is there, another is promised.
    """

    name: ClassVar[str] = "arrow"
    media_type: ClassVar[str] = "application/vnd.apache.arrow.stream"
    extensions: ClassVar[tuple[str, ...]] = ("arrow", "arrows")
    early: ClassVar[bool] = True
    most_rows: ClassVar[int] = 8192
    most_bytes: ClassVar[int] = 1 << 20

    _promised = b""

    def open(self, schema: Any) -> Writer:
        """A stream begins with its schema."""
        writer: Writer = self._pyarrow.ipc.new_stream(self.sink, schema)
        return writer

    def drained(self, *, last: bool = False) -> bytes:
        """What was written, without what was promised before, and with the next promise."""
        data = self.sink.drain()
        if not data:
            return b""
        data = data[len(self._promised) :]
        self._promised = CONTINUATION
        return data if last else data + CONTINUATION

    def flush(self) -> bytes:
        """The rows pause: everything that is held."""
        return self.release()

    def failed(self, problem: Mapping[str, Any], /) -> bytes:  # noqa: ARG002  the format has no error record
        """The rows that were held; the message that was promised never comes."""
        with suppress(Exception):
            return self.release()
        return b""

    def goodbye(self, reason: Reason, /) -> bytes:  # noqa: ARG002  as above
        """As `failed`."""
        return self.failed({})
