"""Arrays: rows that PostgreSQL has copied as CSV, read by pyarrow, which only who asks for Arrow needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
from pyarrow import csv

from millstream.database.framing import Frame
from millstream.protocol.dialects import Transposed

Load = Callable[[bytes], Any]
"""Makes of a value in PostgreSQL's spelling what the driver makes of it."""


def record_batches(schema: Any, loaders: Callable[[], Sequence[Load]]) -> Frame:
    """Make the function that reads the rows of a block as one record batch.

    Where a value does not fit its column the function returns the rows instead.

    Args:
        schema: the `pyarrow.Schema` of the batches.
        loaders: makes what reads the values of each column one by one; asked only then.
    """

    def read(rows: int, block: bytearray) -> Any:
        if not rows:
            return pa.RecordBatch.from_pylist([], schema=schema)
        try:
            return pa.RecordBatch.from_arrays(_columns(block, schema.types), schema=schema)
        except pa.ArrowInvalid:
            texts = _columns(block, [pa.binary()] * len(schema))
            return Transposed([_loaded(*each) for each in zip(texts, loaders(), strict=True)])

    return read


def _columns(block: bytearray, types: Sequence[Any]) -> list[Any]:
    """The columns of a block as arrays of these types.

    Raises:
        pyarrow.ArrowInvalid: when a value is of another.
    """
    places = [str(at) for at in range(len(types))]  # names may be those of other columns, or say nothing
    table = csv.read_csv(
        pa.py_buffer(block),
        read_options=csv.ReadOptions(column_names=places, use_threads=False, block_size=len(block) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(places, types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # that is an empty text
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def _loaded(texts: Any, load: Load) -> list[Any]:
    return [None if text is None else load(text) for text in texts.to_pylist()]
