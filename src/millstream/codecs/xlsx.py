"""XLSX (ECMA-376): a workbook that is written while it grows, in flat memory and without a file.

The libraries that write workbooks keep the rows, or a file of them, until the last one is known, so the
framing is ours. Nobody can read a workbook before it is complete: truncated, it is no workbook at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from millstream.codecs.cells import cell_xml, local
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.table import Cells, TableCodec
from millstream.codecs.values import is_nan
from millstream.codecs.workbook import MOST_COLUMNS, Workbook
from millstream.errors import ConfigurationError


class Xlsx(TableCodec):
    """A sheet of rows; those beyond its limit of 1,048,576 go to further sheets.

    Args:
        action: the action whose items these are.
        charset: not asked: text is UTF-8.
        fields: the columns in order, which also name the cells of plain tuples and lists.
        header: whether the first row of each sheet names the columns.
        sheet: the name of the sheet; further ones are numbered.
        zone: the time zone whose clocks show the moments that have a zone, as `Europe/Berlin`. Without it
            they are in UTC, and the format of their cells says so.
        nan: the text of a number that is none; an empty cell unless it is given.

    Raises:
        ConfigurationError: when an option cannot be used.
    """

    name: ClassVar[str] = "xlsx"
    media_type: ClassVar[str] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    extensions: ClassVar[tuple[str, ...]] = ("xlsx",)

    def __init__(
        self,
        *,
        action: str,
        charset: str,
        fields: Sequence[str] | None = None,
        header: bool = True,
        sheet: str = "Sheet",
        zone: str | None = None,
        nan: str = "",
    ) -> None:
        super().__init__(action=action, charset=charset, fields=fields)
        if not _TITLE.fullmatch(sheet):
            raise ConfigurationError(
                f"the option 'sheet' of the codec 'xlsx' is {sheet!r}: it must be a name of 1 to 25 "
                "characters, without any of []:*?/\\ and not between apostrophes"
            )
        self._zone = None if zone is None else _zone(zone)
        self._header = header
        self._sheet = sheet
        self._nan = nan
        self._workbook: Workbook | None = None

    def item(self, item: Any, /) -> bytes:
        """What became ready to leave, which need not be this row yet."""
        return self._add(self.cells(item), item)

    def batch(self, rows: Sequence[Cells], /) -> bytes:
        """As many items."""
        return b"".join([self._add(cells, cells) for cells in rows])

    @property
    def coming(self) -> int:
        """As many rows as there are in the workbook, and one."""
        return 1 if self._workbook is None else self._workbook.rows + 1

    def tail(self) -> bytes:
        """The rest, and the list of what is where."""
        return self._opened().close()

    def _add(self, cells: Cells, item: Any) -> bytes:
        workbook = self._workbook or self._opened()
        if self._zone is not None:
            cells = [_shown(value, self._zone) for value in cells]
        try:
            if self._nan:
                cells = [
                    self._nan if isinstance(cell, float | Decimal) and is_nan(cell) else cell
                    for cell in cells
                ]
            return workbook.add(cells)
        except UNWRITABLE as error:
            where = f"in row {self.coming}, the column {self._misfit(cells)!r}: {error}"
            raise self.refusal(item, where, row=self.coming) from error

    def _misfit(self, cells: Cells) -> str | None:
        """The column of the first cell that cannot be written."""
        for name, value in zip(self.names, cells, strict=False):
            try:
                cell_xml(value, self.values).encode()
            except UNWRITABLE:
                return name
        return None

    def _opened(self) -> Workbook:
        if self._workbook is None:
            if len(self.names) > MOST_COLUMNS:
                raise self.refusal(self.names, f"a sheet has {MOST_COLUMNS} columns at most")
            try:
                self._workbook = Workbook(
                    self._sheet, self.names if self._header else (), len(self.names), self.values
                )
            except UNWRITABLE as error:
                raise self.refusal(self.names, f"in the header, {error}") from error
        return self._workbook


def _shown(value: Any, zone: ZoneInfo) -> Any:
    return local(value, zone) if isinstance(value, datetime) and value.tzinfo is not None else value


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise ConfigurationError(
            f"the option 'zone' of the codec 'xlsx' is {name!r}: it must name a time zone, as Europe/Berlin"
        ) from None


_TITLE: Final = re.compile(r"(?!')[^\[\]:*?/\\\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]{1,25}(?<!')")
