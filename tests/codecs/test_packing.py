from __future__ import annotations

from typing import Any

import pytest

from millstream.codecs.packing import SAMPLE, SLAB, Packer
from millstream.protocol.columns import Column


class Refused(Exception):
    def __init__(self, cells: Any, number: int, why: str) -> None:
        super().__init__(cells, number, why)
        self.number = number


def packer(*columns: Column) -> Packer:
    return Packer(columns or (Column("a", int),), Refused)


def rows_of(made: Packer) -> list[Any]:
    return [row["a"] for batch in made.take() for row in batch.to_pylist()]


def test_declared_rows_are_packed_by_the_slab() -> None:
    made = packer()
    for number in range(SLAB + 1):
        made.add((number,))
    assert (made.rows, made.needs_sample) == (SLAB, False)


def test_undeclared_rows_are_a_sample_first() -> None:
    made = packer(Column("a"))
    for number in range(SAMPLE):
        assert made.rows == 0
        made.add((number + (0.5 if number == SAMPLE - 1 else 0),))
    assert (made.rows, str(made.schema.field("a").type)) == (SAMPLE, "double")


def test_the_sample_of_heavy_rows_is_short() -> None:
    made = packer(Column("a"))
    for _ in range(SLAB):
        made.add(("x" * 10_000,))
    assert made.rows == SLAB


def test_rows_that_are_heavy_are_packed_sooner() -> None:
    made = packer(Column("a", str))
    for _ in range(SLAB + 2):
        made.add(("x" * 1_000_000,))
    assert made.rows == SLAB + 2


def test_what_is_taken_is_gone() -> None:
    made = packer()
    made.extend([(1,), (2,)])
    assert (made.rows, rows_of(made)) == (2, [1, 2])
    assert (made.rows, made.bytes, made.take()) == (0, 0, [])


@pytest.mark.parametrize("bad", [0, 1, 99, 255])
def test_the_rows_before_one_that_does_not_fit_are_packed(bad: int) -> None:
    made = packer()
    with pytest.raises(Refused) as refused:
        made.extend([("x" if number == bad else number,) for number in range(256)])
    assert refused.value.number == bad + 1
    assert rows_of(made) == list(range(bad))


def test_rows_are_counted_over_all_batches() -> None:
    made = packer()
    made.extend([(1,), (2,)])
    made.take()
    with pytest.raises(Refused) as refused:
        made.extend([(3,), (None,), ("x",)])
    assert refused.value.number == 5
