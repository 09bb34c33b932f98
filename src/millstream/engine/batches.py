"""Batches: rows that are pulled and encoded many at a time, where source and codec both can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millstream.engine.source import Source, SyncSource
from millstream.protocol.ports import Encoder, EncodesRows, RowBatches


class Batches:
    """One source of batches with its codec: an item of its drive is a batch."""

    __slots__ = ("_encode", "_encoder", "_rows", "more", "source")

    def __init__(self, rows: RowBatches, encoder: EncodesRows) -> None:
        self._rows = rows
        self._encoder = encoder
        self._encode: Callable[[Sequence[Sequence[Any]]], bytes] | None = None
        self.source = SyncSource(rows.batches(), rows)
        self.more = 0  # how many more rows than batches there were

    def encode(self, batch: Sequence[Sequence[Any]]) -> bytes:
        """One batch."""
        if self._encode is None:  # the first one: now the columns are known
            self._encode = self._encoder.rows(self._rows.columns)
        chunk = self._encode(batch)
        self._rows.took(len(batch), len(chunk))
        self.more += len(batch) - 1
        return chunk


def batches_of(source: Source, encoder: Encoder) -> Batches | None:
    """How to pull a source by batches; None when it or its codec knows single items only."""
    if not isinstance(source, SyncSource) or not hasattr(source.closable, "batches"):
        return None  # nearly every source; a look at the whole protocol would cost ten times as much
    rows = source.closable
    if not isinstance(rows, RowBatches) or not isinstance(encoder, EncodesRows):
        return None
    return Batches(rows, encoder)
