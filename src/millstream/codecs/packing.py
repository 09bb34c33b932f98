"""Packing: rows become Arrow record batches of one schema.

Imports pyarrow, so only whoever was asked for Arrow or Parquet imports this.

Rows are packed slab by slab, so that few of them are held as Python objects and what they weigh is known. The
schema is settled by what is declared of the columns, or else by a sample of the first rows.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from millstream.codecs.arrays import UNFIT, Shape, shape_of_type
from millstream.codecs.natures import ATOMS
from millstream.codecs.shapes import is_settled, shape_of
from millstream.codecs.table import Cells
from millstream.codecs.values import VALUES, Values
from millstream.protocol.columns import Column

SLAB: Final = 256
"""Rows that are held as Python objects at most, once the sample is complete."""

SLAB_BYTES: Final = 1 << 20
"""What they may weigh: rows that were heavier make the next slab smaller."""

SAMPLE: Final = 8192
"""Rows of the sample, unless its text weighs as much as a slab may, or somebody does not want to wait."""

Refuse = Callable[[Cells, int, str], Exception]
"""Makes the error about a row: its cells, its number, what is wrong."""


class Packer:
    """Rows on their way into record batches.

    Args:
        columns: what is known of them.
        refuse: makes the error about a row that does not fit; those before it have been packed by then.
        values: say what the objects in cells are.
    """

    def __init__(self, columns: Sequence[Column], refuse: Refuse, values: Values = VALUES) -> None:
        self._values = values
        self.rows = 0  # packed and waiting to be taken
        self.bytes = 0  # their weight
        self._columns = columns
        self._refuse = refuse
        self._shapes: list[Shape] | None = None
        self._schema: Any = None
        self._count = 0  # rows ever packed
        self._loose: list[Cells] = []
        self._slab = SLAB
        self._sampled = 0  # the weight of the sample
        self._batches: list[Any] = []

    @property
    def schema(self) -> Any:
        """The `pyarrow.Schema`; asking for it settles it."""
        if self._schema is None:
            shapes = zip(self._columns, self._settled(), strict=True)
            self._schema = pa.schema([(column.name, shape.type) for column, shape in shapes])
        return self._schema

    def settle(self, schema: Any) -> None:
        """Settle the schema by that of record batches, which rows may follow."""
        self._schema = schema
        self._columns = tuple(map(Column, schema.names))
        self._shapes = [shape_of_type(each) for each in schema.types]

    @property
    def count(self) -> int:
        """Rows that were ever taken, packed or not."""
        return self._count + len(self._loose)

    @property
    def needs_sample(self) -> bool:
        """Whether what is declared does not settle the schema, and nothing else has."""
        return self._shapes is None and not (self._columns and all(map(is_settled, self._columns)))

    def add(self, cells: Cells) -> None:
        """One row more."""
        self._loose.append(cells)
        if len(self._loose) >= self._slab and (self._shapes is not None or self._is_sampled()):
            self.pack()

    def extend(self, rows: Sequence[Cells]) -> None:
        """A batch of rows more, packed at once."""
        self._loose.extend(rows)
        self.pack()

    def pack(self) -> None:
        """Pack every row, and settle the schema by what is there."""
        rows, self._loose = self._loose, []
        if not rows:
            return
        shapes, before = self._settled(rows), self.bytes
        for batch in self._packed(rows, shapes):
            self.hold(batch)
        weight = (self.bytes - before) // len(rows)
        self._slab = max(1, min(SLAB, SLAB_BYTES // (weight + 1)))

    def hold(self, batch: Any) -> None:
        """A record batch that was packed by somebody else, too."""
        if batch.num_rows:
            self._count += batch.num_rows
            self._batches.append(batch)
            self.rows += batch.num_rows
            self.bytes += batch.nbytes

    def take(self) -> list[Any]:
        """The record batches that wait."""
        taken, self._batches = self._batches, []
        self.rows = self.bytes = 0
        return taken

    def _settled(self, sample: Sequence[Cells] = ()) -> list[Shape]:
        if self._shapes is None:
            cells = [self._sample(each) for each in zip(*sample, strict=True)] or [()] * len(self._columns)
            self._shapes = [shape_of(*each) for each in zip(self._columns, cells, strict=True)]
        return self._shapes

    def _is_sampled(self) -> bool:
        """Whether the sample is complete; else it goes on for one more slab."""
        latest = self._loose[-SLAB:]
        self._sampled += sum(len(cell) for row in latest for cell in row if isinstance(cell, str | bytes))
        self._slab += SLAB
        return self._slab > SAMPLE or self._sampled > SLAB_BYTES or not self.needs_sample

    def _packed(self, rows: Sequence[Cells], shapes: Sequence[Shape]) -> Iterator[Any]:
        """One batch; or, when a row does not fit, those before it and then its error."""
        try:
            arrays = [
                self._array(shape, cells)
                for shape, cells in zip(shapes, zip(*rows, strict=True), strict=True)
            ]
            batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        except UNFIT as error:
            if len(rows) == 1:
                raise self._refuse(rows[0], self._count + 1, self._why(rows[0], error)) from error
            half = len(rows) // 2
            yield from self._packed(rows[:half], shapes)
            yield from self._packed(rows[half:], shapes)
        else:
            yield batch

    def _array(self, shape: Shape, cells: Sequence[Any]) -> Any:
        """The array of a column; what does not fit it may stand for something that does.

        Raises:
            one of `UNFIT`: when it does not.
        """
        if not self._values.adapters.has_own:
            try:
                return shape.array(cells)
            except UNFIT:
                if ATOMS.issuperset(map(type, cells)):
                    raise
        return shape.array(self._known(cells))

    def _known(self, cells: Sequence[Any]) -> Sequence[Any]:
        """Cells as values that every format knows; enums stay, whose types say more than their values."""
        if ATOMS.issuperset(map(type, cells)):
            return cells
        settled = self._values.settled
        return [cell if isinstance(cell, Enum) else settled(cell) for cell in cells]

    def _sample(self, cells: Sequence[Any]) -> Sequence[Any]:
        """As `_known`; a cell that is no value is refused when its row is packed, which is known by then."""
        try:
            return self._known(cells)
        except UNFIT:
            return cells

    def _why(self, row: Cells, error: Exception) -> str:
        for column, shape, cell in zip(self._columns, self._settled(), row, strict=False):
            try:
                self._array(shape, [cell])
            except UNFIT:
                kind = type(cell).__qualname__
                return (
                    f"the column {column.name!r} holds the {kind} {reprlib.repr(cell)}, "
                    f"which does not fit its type {shape.type}"
                )
        return str(error)
