"""CSV (RFC 4180): a table with a header row.

The columns are those of `fields`, those declared, or those of the first row. Rows after it may leave
columns out, but not bring new ones: the header has left. Cells are written as JSON would say them, without
the quotes (ISO 8601 for dates, `true`, base64 for bytes, nested objects as JSON text); None is an empty cell.
What is no number is `NaN`, what is infinite `Infinity`, of floats and decimals alike.
Only moments are written as in SQL, `2026-01-02 03:04:05.5`: that is what spreadsheets take for one, and what
PostgreSQL writes by itself, which is half of what makes its exports fast.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from types import NoneType, SimpleNamespace
from typing import Any, ClassVar, Final

from millstream.codecs.base import Codec, text_encoder
from millstream.codecs.columns import LINE_END, CsvCells
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.rows import Readers, checked_fields, chosen_cells
from millstream.codecs.values import NAN, Cell, Values
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
        nan: what is written for a number that is none; `nan=""` makes it an empty cell, as pandas has it.

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
        nan: str = NAN,
    ) -> None:
        super().__init__(action=action, charset=charset)
        _check_delimiter(delimiter)
        self._chosen = self._fields = self._names = checked_fields(self.name, fields) or ()
        self._header = header
        self._readers = self.readers = Readers(self._fields or None)
        self._guard = _guard_for(delimiter) if guard_formulas else None
        # `writerow` returns what its file's `write` does: a file that encodes needs no buffer in between.
        self._encode = text_encoder(charset)
        self._delimiter = delimiter
        self._nan = nan
        self.adapt(self.values)
        is_utf8 = codecs.lookup(charset).name == "utf-8"  # and no byte order mark
        self._is_plain = is_utf8 and delimiter in _USUAL and not guard_formulas and nan == NAN
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

    def adapt(self, values: Values) -> None:
        """Take in what objects are."""
        super().adapt(values)
        self._cells = CsvCells(values, self._delimiter, self._guard, self._nan)

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
            return opening + self._line(self._picked(row))
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Batches, converted column by column and written at once."""
        names = self.distinct_names(columns)
        if self._chosen and not set(names) <= set(self._chosen):
            return chosen_cells(self.rows, columns, self._chosen)
        if self._fields and self._fields != names:
            return super().rows(columns)
        opening = b"" if self._fields else self._open(names)
        one_by_one = super().rows(columns)
        lines = self._cells.lines(len(columns))

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
        texts = self._cells.texts

        def cells(column: Sequence[Any]) -> Sequence[str] | None:
            try:
                return texts(column)
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
        self._pick: Callable[[dict[str, Any]], Sequence[Any]] = (
            itemgetter(*fields) if len(fields) > 1 else lambda row: (row[fields[0]],)
        )
        return self._line(fields) if self._header else b""

    def _line(self, values: Sequence[Any]) -> bytes:
        cell = self._cells.cell
        if self._guard is not None:
            return self._write([cell(value) for value in values])
        return self._write(
            [
                value
                if (kind := type(value)) in _WRITTEN
                or (kind is float and value - value == 0)  # finite
                or (kind is Decimal and value.is_finite())
                else cell(value)
                for value in values
            ]
        )

    def _picked(self, row: dict[str, Any]) -> Sequence[Any]:
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
_WRITTEN: Final = frozenset({str, int, NoneType})
"""Types that the `csv` module writes as we want them."""
_USUAL: Final = ",;\t|"
"""Delimiters that every program knows to quote."""
