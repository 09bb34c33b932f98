"""What Arrow and Parquet share: rows leave as record batches.

A row that does not fit the schema is refused with its number; those before it leave with the last words.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from millstream.codecs.sink import Sink
from millstream.codecs.table import Cells, TableCodec
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import RecordBatches

if TYPE_CHECKING:
    from millstream.codecs.packing import Packer

LATENCY: Final = 0.05
"""Seconds that a row waits for others at most, while rows come; in a pause of theirs it is released."""


class Writer(Protocol):
    """Where record batches go; it writes into the codec's sink."""

    def write_table(self, table: Any, /) -> None:
        """Write some rows, a `pyarrow.Table`."""

    def close(self) -> None:
        """End it well."""


class RecordBatchCodec(TableCodec):
    """A codec whose rows leave as record batches.

    Raises:
        ConfigurationError: when pyarrow is not installed; when an option cannot be used.
    """

    early: ClassVar[bool]
    """Whether a reader can do something with rows before the last is there."""
    most_rows: ClassVar[int]
    """Rows that leave together, …"""
    most_bytes: ClassVar[int]
    """… unless they weigh as much before."""

    def __init__(self, *, action: str, charset: str, fields: Sequence[str] | None = None) -> None:
        super().__init__(action=action, charset=charset, fields=fields)
        self._pyarrow = pyarrow_for(self.name)
        self._make_packer = import_module("millstream.codecs.packing").Packer
        self._packer: Packer | None = None
        self._writer: Writer | None = None
        self._due = 0.0 if self.early else math.inf
        self.sink = Sink()

    @abstractmethod
    def open(self, schema: Any) -> Writer:
        """Open the stream or file."""

    def item(self, item: Any, /) -> bytes:
        """Whatever is ready to leave, which need not be this row yet."""
        cells = self.cells(item)
        packer = self._packer or self._begin(cells)
        packer.add(cells)
        if self._is_full(packer) or monotonic() >= self._due:
            return self.release()
        return b""

    def batch(self, rows: Sequence[Cells], /) -> bytes:
        """A batch of the source's, which has waited for its rows already."""
        packer = self._packing()
        packer.extend(rows)
        return self.release() if self.early or self._is_full(packer) else b""

    def dialect(self, columns: tuple[Column, ...], /) -> RecordBatches | None:
        """Record batches of the schema, if the source's own columns settle it."""
        self.rows(columns)
        packer = self._packing()
        if self.columns != columns or packer.needs_sample:
            return None
        return RecordBatches(packer.schema)

    def framed(self, written: Any, /) -> bytes:
        """A record batch that the source has made."""
        packer = self._packing()
        packer.hold(written)
        return self.release() if self.early or self._is_full(packer) else b""

    def record_batches(self, schema: Any, /) -> Callable[[Any], bytes]:
        """Record batches as they are; only a second table has to have the types of what went before it.

        Raises:
            WrongItem: when two columns have one name; when they are not the settled ones; when the format
                has no such type.
        """
        theirs = self.distinct_names(tuple(map(Column, schema.names)))
        names = self.names or theirs
        if set(names) != set(theirs):
            raise self.refusal(theirs, f"its columns are not {', '.join(names)}")
        packer = self._packing()
        packer.pack()
        if not packer.count and packer.needs_sample:  # nothing went before it, and nobody says the types
            self.names = names
            ordered = [schema.field(name) for name in names]
            packer.settle(self._pyarrow.schema(ordered, schema.metadata))
            self._opened()  # at once: what the format does not have is an honest status
        settled = packer.schema

        def encode(batch: Any) -> bytes:
            packer.hold(self._fitted(batch.select(names), settled))
            return self.release() if self.early or self._is_full(packer) else b""

        return encode

    def _fitted(self, batch: Any, schema: Any) -> Any:
        try:
            return batch if batch.schema.equals(schema) else batch.cast(schema)
        except self._pyarrow.ArrowException as error:
            types = ", ".join(f"{field.name}: {field.type}" for field in schema)
            raise self.refusal(batch, f"its columns do not fit those before it ({types}): {error}") from error

    def release(self) -> bytes:
        """Everything that is held.

        Raises:
            WrongItem: when a row of it does not fit.
        """
        packer = self._packer
        if packer is None:  # the first row may yet have to say what the columns are
            return b""
        packer.pack()
        self._due = monotonic() + LATENCY if self.early else math.inf
        batches = packer.take()
        if batches:
            self._opened().write_table(self._pyarrow.Table.from_batches(batches).combine_chunks())
        return self.drained()

    def tail(self) -> bytes:
        """What is held, and the end.

        Raises:
            WrongItem: when a row that is held does not fit.
        """
        held = self.release()
        self._opened().close()
        return held + self.drained(last=True)

    @property
    def coming(self) -> int:
        """As many rows as were packed or wait to be, and one."""
        return 1 if self._packer is None else self._packer.count + 1

    def drained(self, *, last: bool = False) -> bytes:  # noqa: ARG002  not every format asks
        """What was written since the last time."""
        return self.sink.drain()

    def _begin(self, first: Cells) -> Packer:
        """The first row is tried at once: if it cannot be written, the status is still an honest one."""
        trial: Packer = self._make_packer(self.columns, self.misfit, self.values)
        trial.extend([first])
        packer = self._packing()
        if self.early and packer.needs_sample:
            self._due = monotonic() + LATENCY
        return packer

    def _packing(self) -> Packer:
        if self._packer is None:
            self._packer = self._make_packer(self.columns, self.misfit, self.values)
        return self._packer

    def _opened(self) -> Writer:
        if self._writer is None:
            schema = self._packing().schema
            try:
                self._writer = self.open(schema)
            except self._pyarrow.ArrowException as error:
                types = ", ".join(f"{field.name}: {field.type}" for field in schema)
                raise self.refusal(
                    self.names, f"its columns are of types that it has not ({types}): {error}"
                ) from error
        return self._writer

    def _is_full(self, packer: Packer) -> bool:
        return packer.rows >= self.most_rows or packer.bytes >= self.most_bytes

    def misfit(self, cells: Cells, number: int, why: str) -> WrongItem:
        """The error about the row of this number, counted from 1."""
        row = dict(zip(self.names, cells, strict=False))
        return self.refusal(row, f"in row {number}, {why}", row=number)


def pyarrow_for(codec: str) -> Any:
    """The module, imported when the first of its codecs is made: at start-up, and not by the first client.

    Raises:
        ConfigurationError: when it is not installed.
    """
    try:
        pyarrow = import_module("pyarrow")
    except ImportError:
        raise ConfigurationError(
            f"the codec {codec!r} needs pyarrow, which is not installed: pip install 'millstream[arrow]'"
        ) from None
    pyarrow.array([0])  # imports numpy and pandas, if they are there: half a second
    return pyarrow
