"""CSV (RFC 4180): a table with a header row.

The columns are those of `fields`, those declared, or those of the first row. Rows after it may leave
columns out, but not bring new ones: the header has left. Cells are written as JSON would say them, without
the quotes (ISO 8601 for dates, `true`, base64 for bytes, nested objects as JSON text); None is an empty cell.
Only moments are written as in SQL, `2026-01-02 03:04:05.5`: that is what spreadsheets take for one, and what
PostgreSQL writes by itself, which is half of what makes its exports fast.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from millstream.codecs.base import Codec, text_encoder
from millstream.codecs.columns import LINE_END, csv_cell, csv_cells, lines_of_batches, texts_of
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.rows import Readers, checked_fields
from millstream.codecs.values import AS_IT_IS, Cell
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import CsvDialect


class Csv(Codec):
    """A line a row, ended by CR LF.

    Args:
        action: the action whose items these are.
        charset: the charset of the text; `utf-8-sig` makes Excel read UTF-8.
        fields: the columns in order, which also name the cells of plain tuples and lists.
        header: whether the first line names the columns.
        delimiter: one character between cells.
        guard_formulas: whether `'` is put before text that a spreadsheet would run as a formula. A formula
            can begin in the middle of a text, too: after a line end, and after a comma, a semicolon or a tab
            that is not this delimiter but the reader's. Off, because the option changes data for every
            other reader; numbers are never touched.

    Raises:
        ConfigurationError: when an option cannot be used.
    """

    name: ClassVar[str] = "csv"
    media_type: ClassVar[str] = "text/csv"
    extensions: ClassVar[tuple[str, ...]] = ("csv",)
    takes: ClassVar[str] = (
        "rows (dicts, dataclasses, Structs, named tuples, database rows, tuples with fields=)"
    )

    def __init__(
        self,
        *,
        action: str,
        charset: str,
        fields: Sequence[str] | None = None,
        header: bool = True,
        delimiter: str = ",",
        guard_formulas: bool = False,
    ) -> None:
        super().__init__(action=action, charset=charset)
        _check_delimiter(delimiter)
        self._fields = self._names = checked_fields(self.name, fields) or ()
        self._header = header
        self._readers = Readers(self._fields or None)
        guard = _guard_for(delimiter) if guard_formulas else None
        self._cells = _cells if guard is None else lambda values: [guard(each) for each in _cells(values)]
        # `writerow` returns what its file's `write` does: a file that encodes needs no buffer in between.
        self._encode = text_encoder(charset)
        self._delimiter = delimiter
        self._guard = guard
        is_utf8 = codecs.lookup(charset).name == "utf-8"  # and no byte order mark
        self._is_plain = is_utf8 and delimiter in _USUAL and not guard_formulas
        sink = SimpleNamespace(write=self._encode)
        self._write: Callable[[list[Cell]], bytes] = csv.writer(
            sink, delimiter=delimiter, lineterminator=LINE_END
        ).writerow
        try:
            self._opening = self._open(self._fields) if self._fields else b""
        except ValueError as error:
            raise ConfigurationError(
                f"the option 'fields' of the codec 'csv' cannot be written: {error}"
            ) from error

    def declare(self, columns: tuple[Column, ...], /) -> None:
        """The header leaves at once, unless `fields` has settled it.

        Raises:
            WrongItem: when the header cannot be written.
        """
        super().declare(columns)
        names = self.distinct_names(columns)
        if self._fields or not names:
            return
        try:
            self._opening = self._open(names)
        except ValueError as error:
            raise self.refusal(names, error) from error

    def head(self) -> bytes:
        """The header row if the columns are known, so that an empty table has one, too."""
        return self._opening

    def item(self, item: Any, /) -> bytes:
        """A line; before the first one the header row, unless it has left."""
        read = self._readers[type(item)]
        if read is None:
            raise self.refusal(item)
        try:
            row = read(item)
            opening = b"" if self._fields else self._open(tuple(row))
            return opening + self._write(self._cells(self._values(row)))
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Batches, converted column by column and written at once."""
        names = self.distinct_names(columns)
        if self._fields and self._fields != names:
            return super().rows(columns)
        opening = b"" if self._fields else self._open(names)
        one_by_one = super().rows(columns)
        lines = lines_of_batches(len(columns), self._delimiter, self._guard)

        def encode(batch: Sequence[Sequence[Any]]) -> bytes:
            nonlocal opening
            try:
                data = self._encode(lines(batch)) if batch else b""
            except UNWRITABLE:
                try:
                    data = one_by_one(batch)  # one of them cannot be written: this finds which
                except WrongItem as wrong:
                    wrong.before = opening + wrong.before
                    raise
            data, opening = opening + data, b""
            return data

        return encode

    def dialect(self, columns: tuple[Column, ...], /) -> CsvDialect | None:
        """The lines, unless an option makes them something that no database writes."""
        names = self.distinct_names(columns)
        fits = not self._fields or self._fields == names
        # A table of one column quotes what is empty.
        if not self._is_plain or not fits or len(names) == 1:
            return None
        self._names = names
        texts = texts_of(self._delimiter)

        def cells(column: Sequence[Any]) -> Sequence[str] | None:
            try:
                return texts(csv_cells(column))
            except UNWRITABLE:
                return None

        return CsvDialect(self._delimiter, cells)

    def framed(self, written: bytes, /) -> bytes:
        """The header row goes before the first lines, or stands alone."""
        opening = b"" if self._fields else self._open(self._names)
        return opening + written

    def _open(self, fields: tuple[str, ...]) -> bytes:
        """Settle the columns and return the line that names them, if any."""
        if not fields:
            raise ValueError("the first row has no columns")
        self._fields = fields
        self._pick: Callable[[dict[str, Any]], Iterable[Any]] = (
            itemgetter(*fields) if len(fields) > 1 else lambda row: (row[fields[0]],)
        )
        return self._write(self._cells(fields)) if self._header else b""

    def _values(self, row: dict[str, Any]) -> Iterable[Any]:
        """The values of a row in the order of the columns."""
        if len(row) == len(self._fields):
            try:
                return self._pick(row)  # exactly the columns: nearly every row
            except KeyError:
                pass
        for name in row:
            if name not in self._fields:
                raise ValueError(f"its column {name!r} is not among those of the header")
        return [row.get(name) for name in self._fields]


def _cells(values: Iterable[Any]) -> list[Cell]:
    return [value if type(value) in AS_IT_IS else csv_cell(value) for value in values]


@lru_cache(maxsize=32)
def _guard_for(delimiter: str) -> Callable[[Cell], Cell]:
    """What makes a cell harmless for any spreadsheet, whichever separator of lists it reads by."""
    separators = re.escape("".join({",", ";", "\t"} - {delimiter}) + "\r\n")
    begins_formula = re.compile(f'((?:^|[{separators}])"*)(?=[{re.escape(_RISKY)}])')

    def guard(value: Cell) -> Cell:
        return begins_formula.sub(r"\1'", value) if isinstance(value, str) else value

    return guard


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ConfigurationError(
            f"the option 'delimiter' of the codec 'csv' is {delimiter!r}: "
            "it must be one character, and no quote, line end or NUL"
        )


# OWASP, "CSV Injection"; the last four are full-width forms that East Asian spreadsheets take for the same.
_RISKY: Final = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_USUAL: Final = ",;\t|"
"""Delimiters that every program knows to quote."""
