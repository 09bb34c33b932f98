"""ZIP archives of any number of members of any size (APPNOTE.TXT, ISO/IEC 21320-1), written while they grow.

An item is a `Member`. Its body is compressed chunk by chunk, with sizes and checksum behind the data and
ZIP64 where sizes are not known before; what an archive holds stands at its very end, so that a broken one
cannot be opened.

Why the standard library writes it
    `zipfile` takes chunks that are pushed at it, so asynchronous bodies fit as well. The libraries made for
    streaming pull from iterables instead: `stream-zip` has a thread hop per chunk for asynchronous ones,
    `zipstream-ng` has nothing. They are no faster, either. Flights as CSV in chunks of 64 KiB, `zipfile` /
    `zipstream-ng` 1.9 / `stream-zip` 0.0.84:

    * MB per CPU second: deflate level 1 124 / 128 / 108, level 6 20 / 20 / 20, stored 2,900 / 2,600 / 365,
    * longest wait for a piece at level 6: 10 / 8 / 80 ms,
    * memory: flat in all but the last, which holds a stored member (943 MB of 1 GB),
    * 70,000 members of 120 B: 1.1 / 1.5 / 1.3 s.

    All three write ZIP64. Level 1 is six times as fast as zlib's own choice, 6, and a fifth larger.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Final

from millstream.codecs.base import Codec, text_encoder
from millstream.codecs.bodies import IN_WORDS, Body, buffer_of, producer_of, slices, whole
from millstream.codecs.natures import Nature
from millstream.errors import ConfigurationError
from millstream.protocol.dialects import Written
from millstream.protocol.ports import EncodesArrow, HoldsArrow, ManyRows, RowBatches
from millstream.web.disposition import harmless, no_device


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, as an author yields it.

    Args:
        name: its path inside the archive. It is made harmless: no root, no drive, no `..`.
        body: what it consists of; files and generators are closed when they are done with.
        codec: makes the bytes of it if the body yields objects instead: `Member("a.csv", rows, codec=Csv)`;
            the rows of a query are encoded in batches, and name their columns even where there are none.
        modified: its time; a file's own or the moment the archive was begun unless given. A time with a
            zone is written in UTC, because archives know no zones.
        compress: whether it is; leave out what is small enough by itself, such as pictures.
    """

    name: str
    body: Body | Iterable[Any] | AsyncIterable[Any] = b""
    _: KW_ONLY
    codec: Callable[..., Codec] | None = None
    modified: datetime | None = None
    compress: bool = True


class Zip(Codec):
    """An archive; items are `Member`s with names of their own.

    Args:
        action: the action whose items these are.
        charset: the charset of the text in members.
        level: how hard to compress, 0 to 9.

    Raises:
        ConfigurationError: when the level is none.
    """

    name: ClassVar[str] = "zip"
    media_type: ClassVar[str] = "application/zip"
    extensions: ClassVar[tuple[str, ...]] = ("zip",)
    takes: ClassVar[str] = f"Member(name, body): a name of its own in the archive, and {IN_WORDS}"

    def __init__(self, *, action: str, charset: str, level: int = 1) -> None:
        super().__init__(action=action, charset=charset)
        if not 0 <= level <= 9:  # noqa: PLR2004  zlib's levels
            raise ConfigurationError(f"the option 'level' of the codec 'zip' is {level}: it must be 0 to 9")
        self._level = level
        self._begun = datetime.now(UTC)
        self._sink = _Sink()
        self._archive = _Archive(self._sink, "w")

    def expand(self, item: Any, /) -> _Entry:
        """One member."""
        if not isinstance(item, Member) or not isinstance(item.name, str):
            raise self.refusal(item)
        return _Entry(item, self)

    def item(self, item: Any, /) -> bytes:
        """One member at once; whoever knows `expand` does not ask for that."""
        data = whole(self.expand(item))
        if data is None:
            raise self.refusal(item, "its body is asynchronous")
        return data

    def tail(self) -> bytes:
        """The directory, without which it is no archive."""
        self._archive.close()
        return self._sink.take()

    def open_entry(self, member: Member) -> Any:
        """Open the entry of a member.

        Raises:
            WrongItem: when its name is none or stands for another member already.
        """
        info = zipfile.ZipInfo(self._checked(member), self._time_of(member))
        info.compress_type = zipfile.ZIP_DEFLATED if member.compress else zipfile.ZIP_STORED
        info._compresslevel = self._level  # type: ignore[attr-defined]  # noqa: SLF001  public from 3.13 on
        info.external_attr = _READABLE
        # Only what is in memory has a size before it is read; not every program reads ZIP64.
        is_short = isinstance(member.body, str | bytes) and len(member.body) < _SHORT
        return self._archive.open(info, "w", force_zip64=not is_short or member.codec is not None)

    def take(self) -> bytes:
        """What was written since this was last asked for."""
        return self._sink.take()

    def _checked(self, member: Member) -> str:
        try:
            member.name.encode()
            length = len((name := safe_name(member.name)).encode())
        except ValueError as error:  # lone surrogates
            raise self.refusal(member, f"its name {member.name!r} is no text") from error
        if not 0 < length < _LONGEST_NAME:
            raise self.refusal(member, f"its name {member.name!r} cannot be that of a file")
        if name in self._archive.NameToInfo:
            raise self.refusal(member, f"the archive has a member {name!r} already")
        return name

    def _time_of(self, member: Member) -> tuple[int, int, int, int, int, int]:
        time = member.modified or self._begun
        if member.modified is None and isinstance(member.body, PathLike):
            try:
                time = datetime.fromtimestamp(Path(member.body).stat().st_mtime, UTC)
            except OSError:  # opening it will fail as well, and say so
                time = self._begun
        if time.tzinfo is not None and _FIRST.year <= time.year <= _LAST.year:  # others may not have a UTC
            time = time.astimezone(UTC)
        time = min(max(time.replace(tzinfo=None), _FIRST), _LAST)
        return (time.year, time.month, time.day, time.hour, time.minute, time.second)


class _Entry:
    """One member on its way into the archive; the port `Nested`."""

    def __init__(self, member: Member, archive: Zip) -> None:
        self._member = member
        self._zip = archive
        self._encode = text_encoder(archive.charset)
        self._inner = self._rows = None
        body: Any = member.body
        if member.codec is not None:
            self._inner = inner = member.codec(action=archive.action, charset=archive.charset)
            inner.adapt(archive.values)
            adapter = archive.values.adapters[type(body)]
            body = adapter.read(body) if adapter.nature is Nature.ROWS else body
            if isinstance(body, RowBatches):
                self._rows = _Rows(body, inner)
                self.producer: Iterable[Any] | AsyncIterable[Any] = self._rows.batches()
                return
        producer = producer_of(body)
        if producer is None:
            raise archive.refusal(member, f"its body is {type(member.body).__qualname__}, not {IN_WORDS}")
        self.producer = producer

    def head(self) -> bytes:
        self._file = self._zip.open_entry(self._member)
        if self._inner is not None:
            self._file.write(self._inner.head())
        return self._zip.take()

    def pieces(self, chunk: Any, /) -> Iterator[bytes]:
        for each in slices(self._buffer(chunk)):
            self._file.write(each)
            yield self._zip.take()

    def tail(self) -> bytes:
        if self._inner is not None:
            self._file.write(self._inner.tail())
        self._file.close()
        return self._zip.take()

    def _buffer(self, chunk: Any) -> bytes | bytearray | memoryview:
        if self._rows is not None:
            return self._rows.encode(chunk)
        if self._inner is not None:
            try:
                return self._inner.item(chunk)
            except ManyRows as many:
                return _whole_rows(many.rows, self._inner)
        try:
            data = buffer_of(chunk, self._encode)
        except ValueError as error:
            raise self._zip.refusal(chunk, error) from error
        if data is None:
            raise self._zip.refusal(chunk, f"the body of {self._member.name!r} yields str and bytes only")
        return data


class _Rows:
    """The rows of a query or a table, encoded many at once; even where there are none, there are columns."""

    def __init__(self, source: RowBatches, codec: Codec) -> None:
        self._source = source
        self._codec = codec
        self._encode: Callable[[Any], bytes] | None = None
        self._held = 0  # rows since something came of them

    def batches(self) -> Generator[Any, None, None]:
        if isinstance(self._source, HoldsArrow) and isinstance(self._codec, EncodesArrow):
            return self._source.record_batches()
        return self._source.batches()

    def encode(self, batch: Sequence[Sequence[Any]] | Written) -> bytes:
        if isinstance(batch, Written):
            found, rows = batch.data, batch.rows
        else:
            found, rows = batch, len(batch)
        if self._encode is None:  # the first one: now the columns are known
            self._encode = self._encoding(batch)
        data = self._encode(found)
        self._held += rows
        self._source.took(self._held, len(data))
        if data:
            self._held = 0
        return data

    def _encoding(self, first: Sequence[Sequence[Any]] | Written) -> Callable[[Any], bytes]:
        if isinstance(first, Written) and isinstance(self._codec, EncodesArrow):
            return self._codec.record_batches(first.data.schema)
        return self._codec.rows(self._source.columns)


def _whole_rows(rows: Iterable[Any], codec: Codec) -> bytes:
    """The rows of one item, which stands in memory as it is."""
    if not isinstance(rows, RowBatches):
        return b"".join(map(codec.item, rows))
    found = _Rows(rows, codec)
    with closing(rows):
        return b"".join(map(found.encode, found.batches()))


class _Archive(zipfile.ZipFile):
    """One that was broken off is not ended by the collector: nobody would read that, and it may fail."""

    def __del__(self) -> None:
        pass


class _Sink:
    """A file that only grows, from which everything is taken at once."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._written.append(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to do: it is taken."""

    close = flush

    def take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def safe_name(name: str) -> str:
    r"""The path of a member which stays in the folder it is unpacked into, on any system.

    Windows takes `\` for a separator, drops dots and spaces at the end of a name, and knows drives and
    streams by their colon, and devices by their names. Empty when nothing is left.
    """
    parts = [harmless(part).rstrip(" .") for part in name.replace("\\", "/").split("/")]
    return "/".join(no_device(part) for part in parts if part)


_LONGEST_NAME: Final = 0xFFFF
_READABLE: Final = 0o100644 << 16
_SHORT: Final = 1 << 28  # characters, which are four bytes at most
_FIRST, _LAST = datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58)  # noqa: DTZ001  as archives count
