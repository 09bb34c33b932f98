"""Workbooks: the parts of an XLSX file (ECMA-376), one after the other into a zip that is never sought in.

A sheet is written row by row, each text in its cell: a table of shared texts would have to be complete
before the first row. What lists the sheets comes last, because nobody knows before how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count, islice, product
from string import ascii_uppercase
from typing import IO, Final
from zipfile import ZIP_DEFLATED, ZipFile

from millstream.codecs.cells import STYLES, cell_xml, escaped
from millstream.codecs.sink import Sink
from millstream.codecs.values import VALUES, Values

MOST_COLUMNS: Final = 16_384

MOST_ROWS: Final = 1_048_576
"""Of a sheet; more go to the next one."""

MOST_BYTES: Final = 2_000_000_000
"""Of a sheet's XML; more go to the next one: beyond 2 GiB a zip needs what not every reader knows."""

PIECE: Final = 32 * 1024
"""Bytes of XML that are compressed at once."""

LEVEL: Final = 1
"""Of the compression: a third larger than 6 would make it, in a quarter of the time."""


class Workbook:
    """One workbook as it grows.

    Args:
        title: the name of the sheet; further ones are numbered.
        header: what the first row of each sheet says; none when empty.
        width: how many columns there are.
        values: say what the objects in cells are.
    """

    def __init__(self, title: str, header: Sequence[str], width: int, values: Values = VALUES) -> None:
        self._values = values
        self.rows = 0  # of data, in all sheets
        self._title = title
        self._header = header
        self._letters = _letters(width)
        self._sink = Sink()
        self._zip = _Archive(self._sink, "w", ZIP_DEFLATED, compresslevel=LEVEL)
        self._sheets = 0
        self._begin_sheet()

    def add(self, values: Sequence[object]) -> bytes:
        """One row; what became ready to leave.

        Raises:
            TypeError: when a value is of a kind that nobody knows.
            ValueError: when a value cannot be written.
        """
        if self._next > MOST_ROWS or self._size > MOST_BYTES:
            self._end_sheet()
            self._begin_sheet()
        self._write(values)
        self.rows += 1
        if len(self._piece) < PIECE:
            return b""
        self._compress()
        return self._sink.drain()

    def close(self) -> bytes:
        """The rest of the last sheet, and the parts that say what the file is."""
        self._end_sheet()
        numbers = range(1, self._sheets + 1)
        for name, content in {
            "xl/styles.xml": _STYLE_SHEET,
            "xl/workbook.xml": _WORKBOOK % "".join(_SHEET % (self._name(n), n, n) for n in numbers),
            "xl/_rels/workbook.xml.rels": _WORKBOOK_RELS % "".join(_SHEET_REL % (n, n) for n in numbers),
            "_rels/.rels": _RELS,
            "[Content_Types].xml": _TYPES % "".join(_SHEET_TYPE % n for n in numbers),
        }.items():
            with self._zip.open(name, "w") as part:
                part.write((_XML + content).encode())
        self._zip.close()
        return self._sink.drain()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._next = 1
        self._size = 0
        self._part: IO[bytes] = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w")
        pane = _FROZEN if self._header else ""
        self._piece = bytearray((_XML + _SHEET_OPENS % pane).encode())
        if self._header:
            self._write(self._header)

    def _end_sheet(self) -> None:
        self._piece += _SHEET_CLOSES
        self._compress()
        self._part.close()

    def _write(self, values: Sequence[object]) -> None:
        row, known = self._next, self._values
        cells = [
            f'<c r="{letter}{row}{cell_xml(value, known)}'
            for letter, value in zip(self._letters, values, strict=True)
            if value is not None
        ]
        self._piece += f'<row r="{row}">{"".join(cells)}</row>'.encode()
        self._next = row + 1

    def _compress(self) -> None:
        self._size += len(self._piece)
        self._part.write(self._piece)
        self._piece = bytearray()

    def _name(self, number: int) -> str:
        return escaped(self._title if number == 1 else f"{self._title} {number}").replace('"', "&quot;")


class _Archive(ZipFile):
    """A zip that may be left unfinished: nobody sees one whose stream was broken off."""

    def __del__(self) -> None:
        """Nothing to close; the inherited one complains about the part that is open."""


def _letters(width: int) -> list[str]:
    """The names of the first columns: A to Z, AA to ZZ and so on."""
    names = chain.from_iterable(product(ascii_uppercase, repeat=length) for length in count(1))
    return ["".join(name) for name in islice(names, width)]


_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KIND: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

_SHEET_OPENS: Final = f'<worksheet xmlns="{_MAIN}">%s<sheetData>'
_SHEET_CLOSES: Final = b"</sheetData></worksheet>"
_FROZEN: Final = (
    '<sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    "</sheetView></sheetViews>"
)
_WORKBOOK: Final = (
    f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    "<bookViews><workbookView/></bookViews><sheets>%s</sheets></workbook>"
)
_SHEET: Final = '<sheet name="%s" sheetId="%d" r:id="rId%d"/>'
_WORKBOOK_RELS: Final = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="styles" Type="{_OFFICE}/styles" Target="styles.xml"/>%s</Relationships>'
)
_SHEET_REL: Final = f'<Relationship Id="rId%d" Type="{_OFFICE}/worksheet" Target="worksheets/sheet%d.xml"/>'
_RELS: Final = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)
_TYPES: Final = (
    f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_KIND}.styles+xml"/>%s</Types>'
)
_SHEET_TYPE: Final = f'<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="{_KIND}.worksheet+xml"/>'

_CUSTOM: Final = 164
"""The first number of a format of one's own (§18.8.30)."""

_STYLE_SHEET: Final = "".join(
    [
        f'<styleSheet xmlns="{_MAIN}"><numFmts count="{len(STYLES)}">',
        *(f'<numFmt numFmtId="{_CUSTOM + n}" formatCode="{code}"/>' for n, code in enumerate(STYLES)),
        '</numFmts><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>',
        '<fills count="2"><fill><patternFill patternType="none"/></fill>',
        '<fill><patternFill patternType="gray125"/></fill></fills>',
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>',
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>',
        f'<cellXfs count="{len(STYLES)}">',
        *(
            f'<xf numFmtId="{_CUSTOM + n if n else 0}" fontId="0" fillId="0" borderId="0" xfId="0" '
            f'applyNumberFormat="{bool(n):d}"/>'
            for n in range(len(STYLES))
        ),
        '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>',
        "</styleSheet>",
    ]
)
