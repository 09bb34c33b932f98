from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.codecs.shapes import is_settled, shape_of
from millstream.protocol.columns import Column

AWARE = datetime(2024, 1, 1, tzinfo=UTC)
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  a reading without a zone


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("a", int), pa.int64()),
        (Column("a", int | None), pa.int64()),
        (Column("a", int, bits=32), pa.int32()),
        (Column("a", float), pa.float64()),
        (Column("a", float, bits=32), pa.float32()),
        (Column("a", bool), pa.bool_()),
        (Column("a", Decimal, precision=12, scale=2), pa.decimal128(12, 2)),
        (Column("a", Decimal), pa.decimal128(38, 9)),
        (Column("a", Decimal, precision=50, scale=2), pa.utf8()),  # what no reader's decimals hold
        (Column("a", datetime, zoned=True), pa.timestamp("us", "UTC")),
        (Column("a", datetime, zoned=False), pa.timestamp("us")),
        (Column("a", time, zoned=False), pa.time64("us")),
        (Column("a", time, zoned=True), pa.utf8()),
        (Column("a", date), pa.date32()),
        (Column("a", timedelta), pa.duration("us")),
        (Column("a", bytes), pa.binary()),
        (Column("a", str), pa.utf8()),
        (Column("a", UUID), pa.utf8()),
        (Column("a", dict[str, int]), pa.utf8()),
        (Column("a", int | str), pa.utf8()),
        (Column("a", Literal["x", "y"]), pa.utf8()),
        (Column("a", Colour), pa.utf8()),
        (Column("a", Size), pa.int64()),
        (Column("a", list[list[float | None]]), pa.list_(pa.list_(pa.float64()))),
        (Column("a", tuple[int, ...]), pa.list_(pa.int64())),
        (Column("a", list[datetime], zoned=True), pa.list_(pa.timestamp("us", "UTC"))),
    ],
)
def test_a_declared_kind_has_a_type_without_a_sample(column: Column, expected: Any) -> None:
    assert shape_of(column, ()).type == expected


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([], pa.utf8()),
        ([None, 1], pa.int64()),
        ([1, 1.5], pa.float64()),
        ([1, Decimal("1.5")], pa.decimal128(38, 9)),
        ([Decimal("1e-12")], pa.decimal128(38, 12)),
        ([Decimal("1e-12"), Decimal("1e30")], pa.utf8()),
        ([Decimal("NaN")], pa.decimal128(38, 9)),
        ([2**63], pa.utf8()),
        ([-(2**63)], pa.int64()),
        ([True, 1], pa.utf8()),
        ([AWARE, None], pa.timestamp("us", "UTC")),
        ([NAIVE], pa.timestamp("us")),
        ([AWARE, NAIVE], pa.utf8()),
        ([NAIVE, date(2024, 1, 1)], pa.utf8()),
        ([time(1, tzinfo=UTC)], pa.utf8()),
        ([b"", bytearray(b"x")], pa.binary()),
        ([[1], [None], (2.5,)], pa.list_(pa.float64())),
        ([[]], pa.list_(pa.utf8())),
        ([[{"a": 1}]], pa.list_(pa.utf8())),
        ([Colour.RED], pa.utf8()),
        ([Size.SMALL], pa.int64()),
        ([np.int32(1)], pa.int64()),
        ([np.float32(1), 1], pa.float64()),
        ([object()], pa.utf8()),
    ],
)
def test_a_sample_settles_what_is_not_declared(sample: Sequence[Any], expected: Any) -> None:
    assert shape_of(Column("a"), sample).type == expected


@pytest.mark.parametrize(
    "sample", [["x"], [AWARE], [object()], [[AWARE, "x"]], [Decimal("Infinity")], [time(1)]]
)
@pytest.mark.parametrize("kind", [int, Decimal, datetime, time, list[int], list, bool, date])
def test_a_sample_of_another_kind_disturbs_no_declared_one(kind: Any, sample: list[Any]) -> None:
    assert str(shape_of(Column("a", kind), sample).type)


@pytest.mark.parametrize(
    ("column", "settled"),
    [
        (Column("a"), False),
        (Column("a", int), True),
        (Column("a", Decimal), False),
        (Column("a", Decimal, precision=5, scale=1), True),
        (Column("a", datetime), False),
        (Column("a", datetime, zoned=False), True),
        (Column("a", list), False),
        (Column("a", list[int]), True),
        (Column("a", list[Any]), False),
    ],
)
def test_some_kinds_need_a_sample(column: Column, settled: bool) -> None:
    assert is_settled(column) is settled
