"""Tables: what the formats share whose rows are the cells of settled columns (Arrow, Parquet, XLSX).

The columns are those of `fields`, those declared, or those of the first row. Rows after it may leave columns
out, but not bring new ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, ClassVar, Final

import msgspec

from millstream.codecs.base import Codec
from millstream.codecs.natures import Adapter, Nature
from millstream.codecs.records import Reader
from millstream.codecs.rows import MOST_TYPES, Readers, checked_fields, chosen_cells
from millstream.protocol.columns import Column

Cells = Sequence[Any]
"""The values of one row, in the order of the columns."""

Picker = Callable[[Any], Cells]
"""Reads the cells of one item."""


class TableCodec(Codec):
    """A codec of rows with settled columns.

    Args:
        action: the action whose items these are.
        charset: not asked: these formats bring their own.
        fields: the columns in order, which also name the cells of plain tuples and lists.

    Raises:
        ConfigurationError: when `fields` names no column, or one twice.
    """

    takes: ClassVar[str] = (
        "rows (dicts, dataclasses, Structs, named tuples, database rows, tuples with fields=)"
    )

    def __init__(
        self,
        *,
        action: str,
        charset: str,  # noqa: ARG002  see above
        fields: Sequence[str] | None = None,
    ) -> None:
        super().__init__(action=action, charset="utf-8")
        self._fields = checked_fields(self.name, fields) or ()
        self._readers = self.readers = Readers(self._fields or None)
        self._pickers: dict[type, Picker] = {}
        self.names: tuple[str, ...] = ()
        self.declare(tuple(map(Column, self._fields)))

    def declare(self, columns: tuple[Column, ...], /) -> None:
        """Settle the columns; `fields` chooses among them.

        Raises:
            WrongItem: when two columns have one name.
        """
        known = dict(zip(self.distinct_names(columns), columns, strict=True))
        self.names = self._fields or tuple(known)
        super().declare(tuple(known.get(name) or Column(name) for name in self.names))

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Cells]], bytes]:
        """Batches, taken as they are where their columns are the settled ones."""
        known = dict(zip(self.distinct_names(columns), columns, strict=True))
        if self._fields and not set(known) <= set(self._fields):
            return chosen_cells(self.rows, columns, self._fields)
        # What the action declares is the truth, what the query knows of the same kind completes it.
        self.declare(tuple(map(partial(_completed, known), self.columns)) or columns)
        return self.batch if self.names == tuple(known) else super().rows(columns)

    def batch(self, rows: Sequence[Cells], /) -> bytes:
        """One batch of rows that have exactly the columns.

        Raises:
            WrongItem: when one of them cannot be written.
        """
        raise NotImplementedError

    @property
    def coming(self) -> int | None:
        """The number of the row that is taken next, counted from 1; None where it is not counted here."""
        return None

    def cells(self, item: Any) -> Cells:
        """The cells of one item.

        Raises:
            WrongItem: when it is no row of this table.
        """
        try:
            pick = self._pickers.get(type(item)) or self._picker(item)
            if pick is not None:
                return pick(item)
        except UNREADABLE as error:
            raise self.refusal(item, error, row=self.coming) from error
        raise self.refusal(item, row=self.coming)

    def _picker(self, item: Any) -> Picker | None:
        """Find out how items of a type are read; the first item of all settles the columns.

        Raises:
            TypeError: when a column's name is no text.
            ValueError: when the first row has no columns, or one twice.
        """
        kind = type(item)
        read = self._readers[kind]
        if read is None:
            return None
        if not self.names:
            self.declare(tuple(map(Column, _names_of(read(item)))))
        picker = _direct(kind, self.values.adapters[kind], self.names) or _picker(read, self.names)
        if len(self._pickers) < MOST_TYPES:
            self._pickers[kind] = picker
        return picker


def _completed(known: Mapping[str, Column], ours: Column) -> Column:
    theirs = known.get(ours.name, ours)
    return theirs if ours.kind in (Any, theirs.kind) else ours


def _names_of(row: dict[str, Any]) -> tuple[str, ...]:
    for name in row:
        if not isinstance(name, str):
            raise TypeError(f"the name of its column {name!r} is no text")
    if not row:
        raise ValueError("the first row has no columns")
    return tuple(row)


def _direct(kind: type, adapter: Adapter, names: tuple[str, ...]) -> Picker | None:
    """How to read the cells of a record without a dict in between; None where its columns are others."""
    if adapter.nature is not Nature.RECORD:
        return None
    if issubclass(kind, tuple) and getattr(kind, "_fields", None) == names:
        return _as_it_is  # named tuples
    attributes = _attributes(kind, names) if adapter.native else ()
    return _several(attrgetter(*attributes), len(attributes)) if attributes else None


def _picker(read: Reader, names: tuple[str, ...]) -> Picker:
    pick = _several(itemgetter(*names), len(names))

    def cells(item: Any) -> Cells:
        row = read(item)
        if len(row) == len(names):
            try:
                return pick(row)  # exactly the columns: nearly every row
            except KeyError:
                pass
        for name in row:
            if name not in names:
                raise ValueError(f"its column {name!r} is not among those of the table")
        return [row.get(name) for name in names]

    return cells


def _attributes(kind: type, names: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes that hold the columns of a class' instances; empty when its columns are others."""
    if issubclass(kind, msgspec.Struct):
        has_unset = any(default is msgspec.UNSET for default in kind.__struct_defaults__)
        return kind.__struct_fields__ if kind.__struct_encode_fields__ == names and not has_unset else ()
    if dataclasses.is_dataclass(kind):
        fields = tuple(field.name for field in dataclasses.fields(kind))
        return fields if fields == names else ()
    return ()


def _several(pick: Callable[[Any], Any], count: int) -> Picker:
    return pick if count > 1 else lambda item: (pick(item),)


def _as_it_is(item: Cells) -> Cells:
    return item


UNREADABLE: Final = (TypeError, ValueError, AttributeError)
"""What reading an item may raise because of the item."""
