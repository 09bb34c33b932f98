"""Weaving: the rows of a long result that SQLite writes by itself, as one JSON text each.

What is left of a row's cost when it is fetched plainly is the driver, which gives up the interpreter's lock
and makes an object for every cell. Integers and texts SQLite writes to the byte as we do; the other cells
come beside them, and are woven in. Whatever it would write otherwise sends the reader back to the plain rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from typing import Any, Final

import msgspec
from sqlalchemy import Integer, String
from sqlalchemy.engine import CursorResult
from sqlalchemy.sql.base import Executable
from sqlalchemy.types import TypeEngine

from millstream.database.columns import converters_of, digits_of, scale_of, types_of
from millstream.database.fetching import Rows, transposed
from millstream.database.naming import UNREADABLE
from millstream.protocol.dialects import Cells, CsvDialect, Dialect, JsonLines, Transposed, Written

Frame = Callable[[str, int, Sequence[Sequence[str]]], bytes | None]
"""Makes bytes of the lines of so many rows and of the cells beside them; None when they have to be read."""


class Unusual(Exception):
    """The rows to come hold what SQLite does not write as we do: they have to be read."""


class Weaver:
    """Has SQLite write the rows of a query that is being read already.

    Args:
        result: of the query.
        types: of its columns.
        wanted: what is to be written.
        cells: writes the cells of the columns that SQLite cannot.
    """

    def __init__(
        self,
        result: CursorResult[Any],
        types: Sequence[TypeEngine[Any]],
        wanted: CsvDialect | JsonLines,
        cells: Cells,
    ) -> None:
        names = list(result.keys())
        self._driver: Any = result.connection.connection  # of the module `sqlite3`
        self._error = result.dialect.loaded_dbapi.Error
        self._query = result.context.statement
        self._parameters = result.context.parameters[0]
        self._converters = converters_of(types, result, digits=isinstance(wanted, JsonLines))
        self._own = [
            at for at, each in enumerate(types) if at in self._converters or not isinstance(each, _WRITTEN)
        ]
        self.is_worth_it = len(types) - len(self._own) >= _WORTH[type(wanted)] * max(1, len(self._own))
        self._statement = _woven(self._query, names, self._own, wanted)
        self._digits = {
            at: digits_of(scale) for at, each in enumerate(types) if (scale := scale_of(each)) is not None
        }
        self._cells = cells
        self._frame = _frame(wanted, len(names))

    @contextmanager
    def same_rows(self) -> Iterator[bool]:
        """Whether the query may be run again for the rows that it has, which stay the same in this block.

        That is so if it gives its rows as it finds them, and asks no function, such as `random`, on the way.
        """
        with closing(self._driver.cursor()) as cursor:
            if self._driver.in_transaction or not self._repeats(cursor):
                yield False
                return
            cursor.execute("BEGIN")
            try:
                yield True
            finally:
                with suppress(self._error):  # the pool rolls back, too
                    cursor.execute("COMMIT")

    def batches(
        self, passed: int, last: Rows, size: Callable[[], int]
    ) -> Generator[Written | Rows, None, None]:
        """The rows after so many that have passed, the last of which have to come again first, as they were.

        Raises:
            Unusual: from here on they have to be read.
        """
        last = last[-_AGAIN:]
        with closing(self._driver.cursor()) as cursor:
            try:
                cursor.execute(f"{self._statement}{passed - len(last)}", self._parameters)
                again = self._read(*self._taken(cursor.fetchmany(len(last))))
                if list(again) != list(last):
                    raise Unusual
                while rows := cursor.fetchmany(size()):
                    yield self._batch(rows)
            except self._error as error:
                raise Unusual from error  # the plain way comes upon it, too, and can say what it is

    def _repeats(self, cursor: Any) -> bool:
        try:
            plain, woven = (
                [step[3] for step in cursor.execute(f"EXPLAIN QUERY PLAN {each}", self._parameters)]
                for each in (self._query, f"{self._statement}0")
            )
            program = cursor.execute(f"EXPLAIN {self._query}", self._parameters).fetchall()
        except self._error:  # such as too many columns for one object
            return False
        return (
            woven in (plain, ["CO-ROUTINE m", *plain, "SCAN m"])
            and all(step.startswith(_CHEAP) and not _COSTLY.search(step) for step in plain)
            and not any("Func" in step[1] and step[5] not in _STABLE for step in program)
        )

    def _batch(self, rows: Rows) -> Written | Rows:
        block, own = self._taken(rows)
        texts = [text for at, column in own.items() if (text := self._text(at, column)) is not None]
        written = self._frame(block, len(rows), texts) if len(texts) == len(own) else None
        return self._read(block, own) if written is None else Written(written, len(rows))

    def _taken(self, rows: Rows) -> tuple[str, dict[int, Sequence[Any]]]:
        """The texts of a batch, a line each, and the columns beside them."""
        texts, *columns = transposed(rows, 1 + len(self._own))
        if None in texts:
            raise Unusual
        block = _LINE.join(texts)
        if _holds_float(block):
            raise Unusual
        return block, dict(zip(self._own, columns, strict=True))

    def _text(self, at: int, column: Sequence[Any]) -> Sequence[str] | None:
        written = self._digits[at](column) if at in self._digits else None
        return self._cells(self._converted(at, column)) if written is None else written

    def _converted(self, at: int, column: Sequence[Any]) -> Sequence[Any]:
        try:
            return self._converters[at](column) if at in self._converters else column
        except UNREADABLE as error:
            raise Unusual from error  # the plain way comes upon it, too, and can say where it is

    def _read(self, block: str, own: dict[int, Sequence[Any]]) -> Transposed:
        rows = msgspec.json.decode(f"[{block.replace(_LINE, ',')}]")
        columns = [*zip(*(row.values() if isinstance(row, dict) else row for row in rows), strict=True)]
        return Transposed(
            [self._converted(at, own[at]) if at in own else column for at, column in enumerate(columns)]
        )


def weaver(statement: Executable, result: CursorResult[Any], wanted: Dialect | None) -> Weaver | None:
    """Who has the rows of a result written; None where SQLite cannot, or has too little to write."""
    dialect = result.dialect
    types = types_of(statement, len(result.keys()))
    if types is None or (dialect.name, dialect.driver) != ("sqlite", "pysqlite"):
        return None
    if not isinstance(wanted, CsvDialect | JsonLines) or wanted.cells is None:
        return None
    found = Weaver(result, types, wanted, wanted.cells)
    return found if found.is_worth_it else None


def _woven(query: str, names: Sequence[str], own: Sequence[int], wanted: CsvDialect | JsonLines) -> str:
    """What has rows written; NULL for a row with a blob, of which SQLite makes what its version likes.

    It ends where the number of those that are left out goes.
    """
    columns = [f"c{at}" for at in range(len(names))]
    cells = [f"'{_HOLE}'" if at in own else column for at, column in enumerate(columns)]
    if isinstance(wanted, JsonLines):
        keys = ["'" + name.replace("'", "''") + "'" for name in names]
        row = f"json_object({', '.join(chain.from_iterable(zip(keys, cells, strict=True)))})"
    else:
        row = f"json_array({', '.join(cells)})"
    blobs = " OR ".join(f"{column} >= x''" for at, column in enumerate(columns) if at not in own)
    chosen = ", ".join([f"CASE WHEN {blobs} THEN NULL ELSE {row} END", *(f"c{at}" for at in own)])
    return f"WITH m ({', '.join(columns)}) AS (\n{query}\n) SELECT {chosen} FROM m LIMIT -1 OFFSET "  # noqa: S608  the query is SQLAlchemy's


def _frame(wanted: CsvDialect | JsonLines, width: int) -> Frame:
    if isinstance(wanted, CsvDialect):
        return partial(_csv_lines, wanted.delimiter, width - 1)
    return partial(_json_lines, wanted.end.decode())


def _json_lines(end: str, block: str, rows: int, cells: Sequence[Sequence[str]]) -> bytes | None:
    return _filled(block.replace(_LINE, end) + end, f'"{_HOLE}"', rows, cells)


def _csv_lines(
    delimiter: str, commas: int, block: str, rows: int, cells: Sequence[Sequence[str]]
) -> bytes | None:
    """Arrays are lines of a table if only no text holds what would have to be quoted or is escaped."""
    if "\\" in block or block.count(",") != commas * rows or (delimiter != "," and delimiter in block):
        return None
    if "null" in block:  # behind a bracket or a comma; in a text is neither a comma nor a line feed
        block = f"{_LINE}{block}".replace("\n[null", "\n[").replace(",null", ",")[1:]
    lines = block[1:-1].replace("]\n[", "\r\n").replace(",", delimiter) + "\r\n"
    bare = lines.encode().translate(None, b'"')
    return _filled(bare.decode(), _HOLE, rows, cells) if cells else bare


def _filled(text: str, hole: str, rows: int, cells: Sequence[Sequence[str]]) -> bytes | None:
    """The text with the cells of so many columns in its holes; None if a text of its own is one, too."""
    if not cells:
        return text.encode()
    pieces, step = text.split(hole), 2 * len(cells)
    if 2 * len(pieces) != step * rows + 2:
        return None
    woven = [""] * (step * rows + 1)
    woven[::2] = pieces
    for at, column in enumerate(cells):
        woven[2 * at + 1 :: step] = column
    return "".join(woven).encode()


def _holds_float(block: str) -> bool:
    """Whether there is one outside of texts; SQLite gives it fewer digits than it has."""
    if not ("." in block and _FLOAT.search(block)) and not ("Inf" in block and _INFINITE.search(block)):
        return False
    numbers = _TEXT.sub("", block)
    return "." in numbers or "Inf" in numbers


_WRITTEN: Final = (Integer, String)
"""Types whose cells SQLite writes, unless something is made of them (as of an Enum, which is a String)."""

_WORTH: Final[dict[type, int]] = {CsvDialect: 1, JsonLines: 3}
"""How many cells SQLite must write for each that is woven in, or reading them all is as fast."""

_AGAIN: Final = 50  # rows that show that the query is still the same

_HOLE: Final = "\x7f"  # what stands where a cell is woven in: rare, and as it is in JSON
_LINE: Final = "\n"  # never inside of a JSON text
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"')
_FLOAT: Final = re.compile(r"\.[0-9]+(?:e[-+]?[0-9]+)?[],}]")
_INFINITE: Final = re.compile("Inf[],}]")

_CHEAP: Final = ("SCAN ", "SEARCH ")
_COSTLY: Final = re.compile("AUTOMATIC|VIRTUAL")
"""Steps of a plan that look at rows as they are. To sort or gather them twice would cost too much."""

_STABLE: Final = frozenset({"like(2)", "like(3)", "glob(2)", "lower(1)", "upper(1)", "length(1)", "abs(1)"})
"""Functions that answer the same when they are asked again, as EXPLAIN names them."""
