"""Parquet: columns in row groups, each written as it fills, and a footer without which nobody can read it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, Final

from millstream.codecs.recordbatches import RecordBatchCodec, Writer
from millstream.errors import ConfigurationError

COMPRESSIONS: Final = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")


class Parquet(RecordBatchCodec):
    """A file that is read when it is complete, so that no row of it is in a hurry.

    Args:
        action: the action whose items these are.
        charset: not asked: text is UTF-8.
        fields: the columns in order, which also name the cells of plain tuples and lists.
        compression: of the pages, one of `none`, `snappy`, `gzip`, `brotli`, `lz4` and `zstd`.

    Raises:
        ConfigurationError: when pyarrow is not installed; when an option cannot be used.
    """

    name: ClassVar[str] = "parquet"
    media_type: ClassVar[str] = "application/vnd.apache.parquet"
    extensions: ClassVar[tuple[str, ...]] = ("parquet",)
    early: ClassVar[bool] = False
    most_rows: ClassVar[int] = 122_880
    most_bytes: ClassVar[int] = 16 << 20

    def __init__(
        self, *, action: str, charset: str, fields: Sequence[str] | None = None, compression: str = "zstd"
    ) -> None:
        super().__init__(action=action, charset=charset, fields=fields)
        if compression not in COMPRESSIONS:
            raise ConfigurationError(
                f"the option 'compression' of the codec 'parquet' is {compression!r}: "
                f"it must be one of {', '.join(COMPRESSIONS)}"
            )
        self._compression = compression
        self._new_file = import_module("pyarrow.parquet").ParquetWriter

    def open(self, schema: Any) -> Writer:
        """A file begins with its magic number; the schema stands in the footer."""
        writer: Writer = self._new_file(self.sink, schema, compression=self._compression)
        return writer
