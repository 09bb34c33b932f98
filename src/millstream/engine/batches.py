"""Batches: rows that are pulled and encoded many at a time, where source and codec both can.

Best is a source that writes the codec's own bytes, or the record batches that it takes: then an item of the
drive is a piece of the body, on its way from the database to the socket. Next best are batches of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from millstream.engine.holding import Holding
from millstream.engine.source import AsyncSource, Source, SyncSource, source_of
from millstream.errors import ControllerError, WrongItem
from millstream.protocol.dialects import Written
from millstream.protocol.ports import (
    Encoder,
    EncodesArrow,
    EncodesRows,
    HoldsArrow,
    ManyRows,
    RowBatches,
    TakesWritten,
    WritesRows,
)

Batch = Sequence[Sequence[Any]] | Written

TakeApart = Callable[[ManyRows], tuple[SyncSource, Callable[[Any], bytes]]]
"""What is pulled and encoded instead of an item that has rows of its own."""


class Batches:
    """One source of batches with its codec: an item of its drive is a batch."""

    __slots__ = ("_encode", "_encoder", "_frame", "_held", "_rows", "_wrong", "more", "source")

    def __init__(self, rows: RowBatches, encoder: EncodesRows) -> None:
        self._rows = rows
        self._encoder = encoder
        self._encode: Callable[[Sequence[Sequence[Any]]], bytes] | None = None
        self._frame: Callable[[Any], bytes] | None = None
        self.source = SyncSource(self._pulled(), rows)
        self._wrong: WrongItem | None = None  # what is to be raised once the rows before it have left
        self._held = 0  # rows since something came of them: some formats write many batches at once
        self.more = 0  # how many more rows than batches there were

    def encode(self, batch: Batch) -> bytes:
        """One batch."""
        if isinstance(batch, Written):
            chunk, rows = self._framed(batch.data), batch.rows
        else:
            if self._encode is None:  # the first one: now the columns are known
                self._encode = self._encoder.rows(self._rows.columns)
            chunk, rows = self._encoded(batch)
        self._held += rows
        self._rows.took(self._held, len(chunk))
        if chunk:
            self._held = 0
        self.more += rows - 1
        return chunk

    def _encoded(self, batch: Sequence[Sequence[Any]]) -> tuple[bytes, int]:
        """What becomes of a batch, and of how many of its rows; an error about a later one comes next."""
        assert self._encode is not None  # noqa: S101  as `encode` has seen
        try:
            return self._encode(batch), len(batch)
        except WrongItem as wrong:
            if not wrong.rows_before:
                raise
            self._wrong = wrong
            return wrong.before, wrong.rows_before

    def _pulled(self) -> Generator[Batch, None, None]:
        with closing(self._batches()) as batches:
            for batch in batches:
                yield batch
                if self._wrong is not None:
                    raise self._wrong

    def _batches(self) -> Generator[Batch, None, None]:
        rows, encoder = self._rows, self._encoder
        if isinstance(rows, HoldsArrow) and isinstance(encoder, EncodesArrow):
            return rows.record_batches()
        if not isinstance(rows, WritesRows):
            return rows.batches()
        if isinstance(encoder, TakesWritten):
            return rows.written(encoder.dialect)
        return rows.batches()

    def _framed(self, data: Any) -> bytes:
        if self._frame is None:
            encoder = self._encoder
            if isinstance(self._rows, HoldsArrow) and isinstance(encoder, EncodesArrow):
                self._frame = encoder.record_batches(data.schema)
            else:
                assert isinstance(encoder, TakesWritten)  # noqa: S101  it was asked for the dialect
                self._frame = encoder.framed
        return self._frame(data)


def batches_of(source: Source, encoder: Encoder) -> Batches | None:
    """How to pull a source by batches; None when it or its codec knows single items only."""
    if not isinstance(source, SyncSource) or not hasattr(source.closable, "batches"):
        return None  # nearly every source; a look at the whole protocol would cost ten times as much
    rows = source.closable
    if not isinstance(rows, RowBatches) or not isinstance(encoder, EncodesRows):
        return None
    return Batches(rows, encoder)


def taken_apart(
    item: ManyRows, encoder: Encoder, holding: Holding | None
) -> tuple[SyncSource, Callable[[Any], bytes]]:
    """See `TakeApart`.

    Raises:
        ControllerError: when the rows are asynchronous.
    """
    source = source_of(item.rows)
    if source is None or isinstance(source, AsyncSource):
        raise ControllerError("an item has rows that are asynchronous: iterate over them, and yield each")
    batches = batches_of(source, encoder)
    source, encode = (source, encoder.item) if batches is None else (batches.source, batches.encode)
    return source, encode if holding is None else holding.guarded(encode)
