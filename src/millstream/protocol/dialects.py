"""Dialects: the bytes that rows become, described so exactly that a source may write them by itself.

A database formats its rows faster than anybody who has to take them apart first. Source and codec do not know
each other: the codec says which dialect it writes, and a source that can write it to the byte does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

Cells = Callable[[Sequence[Any]], Sequence[str] | None]
"""The cells of one column as the codec itself writes them into a line; None when it cannot write one.

For a source that writes most columns by itself, but not all of them.
"""


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """Lines of a table (RFC 4180) in UTF-8, ended by CR LF and without a header row.

    A cell is quoted only if it holds a quote, a line end or the delimiter. NULL is an empty cell, and so is
    an empty text. Truth is `true` or `false`, binary is base64, a float is what `repr` and a Decimal what
    `str` makes of it, but `NaN`, `Infinity` and `-Infinity` of both. A moment is written as in SQL,
    `2026-01-02 03:04:05.5`, and with `+00:00` behind it if it has a zone.
    """

    delimiter: str = ","
    cells: Cells | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A JSON object a row, with the columns' names for its keys, as msgspec writes it.

    NaN and infinity are null, a Decimal is a number. A source that delivers rows after all may give a Decimal
    as a `msgspec.Raw` of its digits, which is what becomes of it anyway.
    """

    end: bytes = b"\n"
    """What follows each object, also the last."""
    cells: Cells | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RecordBatches:
    """Record batches of pyarrow, of one schema.

    A source that finds a value which does not fit its column delivers these rows as rows: the codec names it.
    """

    schema: Any
    """A `pyarrow.Schema`, one field a column of the source and in its order."""


Dialect = CsvDialect | JsonLines | RecordBatches


class Transposed(Sequence[tuple[Any, ...]]):
    """Rows that their source has as columns, as most encoders want them."""

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self.columns, strict=True)

    @overload
    def __getitem__(self, at: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, at: slice) -> Transposed: ...
    def __getitem__(self, at: int | slice) -> tuple[Any, ...] | Transposed:
        found = [column[at] for column in self.columns]
        return Transposed(found) if isinstance(at, slice) else tuple(found)


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that a source has written already."""

    data: Any  # bytes; a `pyarrow.RecordBatch` where these were asked for
    rows: int
