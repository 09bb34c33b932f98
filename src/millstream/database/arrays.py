"""Arrays: rows that PostgreSQL has copied as CSV, read by pyarrow, which only who asks for Arrow needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
from pyarrow import csv

from millstream.database.cells import Described
from millstream.database.framing import Frame


def record_batches(names: Sequence[str], described: Sequence[Described]) -> Frame:
    """Make the function that reads the rows of a block as one record batch."""
    schema = pa.schema([(name, _type_of(each)) for name, each in zip(names, described, strict=True)])
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    places = [str(at) for at in range(len(names))]  # names may be those of other columns, or say nothing
    conversion = csv.ConvertOptions(
        column_types=dict(zip(places, schema.types, strict=True)),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,  # that is an empty text
        true_values=["t"],
        false_values=["f"],
    )

    def read(rows: int, block: bytearray) -> Any:
        if not rows:
            return pa.RecordBatch.from_pylist([], schema=schema)
        reading = csv.ReadOptions(column_names=places, use_threads=False, block_size=len(block) + 1)
        table = csv.read_csv(
            pa.py_buffer(block), read_options=reading, parse_options=parsing, convert_options=conversion
        )
        return pa.RecordBatch.from_arrays(
            [column.combine_chunks() for column in table.columns], schema=schema
        )

    return read


def _type_of(described: Described) -> Any:
    if described.precision is not None:
        return pa.decimal128(described.precision, described.scale)
    return _TYPES[described.type]


_TYPES: Final[Mapping[int, Any]] = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.utf8(),
    26: pa.int64(),
    700: pa.float32(),
    701: pa.float64(),
    1042: pa.utf8(),
    1043: pa.utf8(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
    2950: pa.utf8(),
}
"""By the numbers of PostgreSQL's types: those of `cells` under record batches."""
