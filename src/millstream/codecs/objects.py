"""What JSON, NDJSON and server-sent events share: any object becomes one JSON text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from typing import Any, ClassVar, Final

import msgspec

from millstream.codecs.base import Codec
from millstream.codecs.rows import Readers, checked_fields, row_maker
from millstream.codecs.values import Values
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Transposed

UNWRITABLE: Final = (TypeError, ValueError, RecursionError, msgspec.MsgspecError)
"""What encoding an item may raise because of the item."""


class ObjectCodec(Codec):
    """A codec whose items are JSON values.

    Rows become objects; anything else (numbers, text, None, lists) is encoded as what it is. A tuple or
    list becomes an object only where `fields` names its cells.

    Raises:
        ConfigurationError: when `fields` names no column, or one twice.
    """

    takes: ClassVar[str] = "what JSON can say (rows, dicts, lists, text, numbers, dates, UUIDs, enums, …)"

    def __init__(self, *, action: str, charset: str, fields: Sequence[str] | None = None) -> None:  # noqa: ARG002  see below
        super().__init__(action=action, charset="utf-8")  # whatever is asked for (RFC 8259 §8.1)
        self._readers = self.readers = Readers(checked_fields(self.name, fields), in_json=True)
        self.adapt(self.values)

    def adapt(self, values: Values) -> None:
        """Take in what objects are."""
        super().adapt(values)
        self._json = values.json

    def encode(self, item: Any, /) -> bytes:
        """Encode one item as JSON.

        Raises:
            WrongItem: when JSON cannot say it.
            ManyRows: when it has rows of its own.
        """
        read = self._readers[type(item)]
        try:
            return self._json(item if read is None else read(item))
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error

    def lines(self, columns: tuple[Column, ...]) -> Callable[[Sequence[Sequence[Any]]], bytes | None]:
        """Make the function that encodes a batch of rows: objects, each followed by a line feed.

        It returns None when the rows have to go one by one, to find the one that cannot be written.

        Raises:
            WrongItem: when two columns have one name.
        """
        make = row_maker(self.distinct_names(columns))

        def made(batch: Sequence[Sequence[Any]]) -> Iterator[Any]:
            return map(make, *batch.columns) if isinstance(batch, Transposed) else starmap(make, batch)

        def encode(batch: Sequence[Sequence[Any]]) -> bytes | None:
            try:
                data = self.values.lines(list(made(batch)))
            except UNWRITABLE:
                return None
            # A line feed inside a line can only come out of a `msgspec.Raw`, as white space.
            return data if data.count(b"\n") == len(batch) else None

        return encode

    def written_cells(self, column: Sequence[Any]) -> Sequence[str] | None:
        """See `Cells` of the dialects."""
        try:
            cells = self.values.json_cells(column)
        except UNWRITABLE:
            return None
        return None if "\n" in "".join(cells) else cells  # white space of a `msgspec.Raw`
