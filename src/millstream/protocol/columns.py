"""Columns: what is known of the cells of rows before the first row is there.

Declared by an action (`-> Iterator[Flight]`) or taken from a query; formats with a schema need it, others
write their header from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One column of rows."""

    name: str
    kind: Any = Any
    """The Python type of its cells (`int`, `Decimal`, `datetime`, `list[int]`…); Any: it is not known."""
    nullable: bool = True
    bits: int | None = None  # of a number, where the source says so
    precision: int | None = None  # of a Decimal: digits altogether
    scale: int | None = None  # of a Decimal: digits behind the point
    zoned: bool | None = None  # of a datetime or time: whether it has a zone; None: it is not known


def told_apart(names: Iterable[str]) -> list[str]:
    """Names of columns, each once: the second `id` is `id_1`, as SQLAlchemy calls it."""
    found: dict[str, None] = {}  # in their order
    for name in names:
        other, number = name, 0
        while other in found:
            number += 1
            other = f"{name}_{number}"
        found[other] = None
    return list(found)
