from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum
from math import inf
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pytest

from millstream.codecs.arrays import (
    TEXT,
    UNFIT,
    Shape,
    datetimes,
    decimals,
    floats,
    integers,
    lists,
    plain_shape,
    times,
    truths,
)

AWARE = datetime(2024, 1, 1, tzinfo=UTC)
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001  a reading without a zone


class Size(IntEnum):
    LARGE = 2


@pytest.mark.parametrize(
    ("shape", "values", "expected"),
    [
        (integers(64), [1, np.int16(2), Size.LARGE, None], [1, 2, 2, None]),
        (floats(64), [1, Decimal("0.5"), np.float32(2), inf, None], [1, 0.5, 2, inf, None]),
        (decimals(5, 2), [1, 0.1, Decimal("1e1"), np.int8(3)], [1, Decimal("0.1"), 10, 3]),
        (decimals(5, 2), [Decimal("NaN"), Decimal("-Infinity"), Decimal(1)], [None, None, 1]),
        (truths(), [True, 0, 1, None], [True, False, True, None]),
        (datetimes(zoned=True), [AWARE, None], [AWARE, None]),
        (times(), [time(1), None], [time(1), None]),
        (lists(integers(64)), [(1,), np.array([2, 3]), None, set()], [[1], [2, 3], None, []]),
        (lists(lists(TEXT)), [[["a"], None], []], [[["a"], None], []]),
        (TEXT, ["a", 1, True, None, b"x"], ["a", "1", "true", None, "eA=="]),
        (TEXT, [UUID(int=0), None, UUID(int=1)], [str(UUID(int=0)), None, str(UUID(int=1))]),
        (TEXT, [1.5, {"a": [1]}, date(2024, 1, 1)], ["1.5", '{"a":[1]}', "2024-01-01"]),
    ],
)
def test_values_of_kindred_types_are_mended(shape: Shape, values: Sequence[Any], expected: list[Any]) -> None:
    assert shape.array(values).to_pylist() == expected


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (integers(64), 1.0),
        (integers(64), "1"),
        (integers(16), 40_000),
        (integers(64), 2**63),
        (floats(64), "1"),
        (floats(64), 2**53 + 1),
        (decimals(5, 2), Decimal("0.001")),
        (decimals(5, 2), Decimal(1000)),
        (decimals(5, 2), "1"),
        (truths(), 2),
        (truths(), "true"),
        (datetimes(zoned=True), NAIVE),
        (datetimes(zoned=False), AWARE),
        (datetimes(zoned=False), date(2024, 1, 1)),
        (times(), time(1, tzinfo=UTC)),
        (times(), timedelta(1)),
        (plain_shape(pa.date32(), (date,)), NAIVE),
        (plain_shape(pa.duration("us"), (timedelta,)), timedelta.max),
        (lists(integers(64)), "123"),
        (lists(integers(64)), [1, "2"]),
        (TEXT, "\ud800"),
        (TEXT, object()),
    ],
)
def test_a_value_that_would_be_changed_is_refused(shape: Shape, value: Any) -> None:
    with pytest.raises(UNFIT):
        shape.array([None, value])
