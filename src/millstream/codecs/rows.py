"""How rows are read: by the type of the item, decided once a type.

A row is a record (see `records`), or a plain tuple or list where `fields` names its cells. Of the rows of a
query `fields` chooses the columns of a table. An item that has
many rows, such as a data frame, leaves the codec by `ManyRows`: whoever pulls the items takes it apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import msgspec

from millstream.codecs.adapters import DEFAULT, Adapters
from millstream.codecs.natures import Adapter, Nature, described
from millstream.codecs.records import is_database_row, read_cells
from millstream.errors import ConfigurationError
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Transposed
from millstream.protocol.ports import ManyRows

Cells = Sequence[Sequence[Any]]
RowsEncoder = Callable[[tuple[Column, ...]], Callable[[Cells], bytes]]
"""The `rows` of a codec."""

MOST_TYPES: Final = 64
"""How many types of items one stream remembers; more than that are types made per item."""


class Readers(dict[type, Callable[[Any], Any] | None]):
    """The readers of one stream by the type of its items; None for a type that is no row.

    With `in_json`, what is no row is read as well, and None is for whatever the JSON encoder has to read.
    """

    def __init__(self, fields: Sequence[str] | None, *, in_json: bool = False) -> None:
        super().__init__()
        self.adapters: Adapters = DEFAULT
        self._fields = fields
        self._in_json = in_json

    def __missing__(self, kind: type) -> Callable[[Any], Any] | None:
        reader = self._reader(kind, self.adapters[kind])
        if len(self) < MOST_TYPES:
            self[kind] = reader
        return reader

    def _reader(self, kind: type, adapter: Adapter) -> Callable[[Any], Any] | None:
        if self._fields is not None and adapter.nature is Nature.PLAIN and issubclass(kind, tuple | list):
            return partial(read_cells, self._fields)
        if adapter.nature is Nature.ROWS:
            return partial(_leave, adapter)
        if self._fields is not None and is_database_row(kind) and not self._in_json:
            return partial(_read_chosen, frozenset(self._fields), adapter.read)
        read = adapter.in_json if self._in_json else adapter.read
        if adapter.nature is Nature.VALUE and (adapter.is_own or not self._in_json):
            return partial(self._read_again, read)
        if self._in_json:
            return read if adapter.nature is Nature.RECORD and not adapter.native else None
        return read if adapter.nature in (Nature.RECORD, Nature.REFUSED) else None

    def _read_again(self, read: Callable[[Any], Any], item: Any) -> Any:
        """Read what an item stands for."""
        made = read(item)
        reader = self[type(made)]
        if reader is not None:
            return reader(made)
        if self._in_json:
            return made
        raise TypeError(f"it stands for {described(type(made))}, which is no row")


def chosen_cells(
    rows: RowsEncoder, columns: tuple[Column, ...], fields: Sequence[str]
) -> Callable[[Cells], bytes]:
    """Make the function that encodes of the rows of a query the columns that `fields` chooses."""
    at = [number for number, column in enumerate(columns) if column.name in fields]
    encode = rows(tuple(columns[number] for number in at))

    def encode_chosen(batch: Cells) -> bytes:
        if at and isinstance(batch, Transposed):  # without columns it would have no rows
            return encode(Transposed([batch.columns[number] for number in at]))
        return encode([[row[number] for number in at] for row in batch])

    return encode_chosen


def _read_chosen(fields: Collection[str], read: Callable[[Any], dict[str, Any]], row: Any) -> dict[str, Any]:
    return {name: cell for name, cell in read(row).items() if name in fields}


def _leave(adapter: Adapter, item: Any) -> NoReturn:
    raise ManyRows(adapter.read(item))


def row_maker(columns: Sequence[str]) -> Callable[..., Any]:
    """Make the function that turns the cells of one row into an object that JSON encoders read fast.

    A Struct's keys are encoded once for all rows, which makes it four times as fast as a dict.
    """
    names = [f"cell{number}" for number in range(len(columns))]
    try:
        return msgspec.defstruct(
            "Row",
            [(name, Any) for name in names],
            rename=dict(zip(names, columns, strict=True)),
            gc=False,  # rows do not refer to themselves
        )
    except ValueError:  # a name it will not write as it is, such as one with a quote
        return lambda *cells: dict(zip(columns, cells, strict=True))


def checked_fields(codec: str, fields: Sequence[str] | None) -> tuple[str, ...] | None:
    """Take in the option `fields` of a codec.

    Raises:
        ConfigurationError: when it names no column, or one twice.
    """
    if fields is None:
        return None
    if not fields or isinstance(fields, str) or len(set(fields)) != len(fields):
        raise ConfigurationError(
            f"the option 'fields' of the codec {codec!r} is {fields!r}: it must list column names, each once"
        )
    return tuple(fields)
