"""Forms and JSON: a body that was received becomes fields.

Everything here may take a while, so it runs on a thread, unless the body is short. Nothing of a form is
guessed: text that is not in its charset, a part without an end or without a name are the client's mistakes.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers, UploadFile

from millstream.errors import HTTPError
from millstream.web.receiving import Kept, charset_of, too_long

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
FORMS: Final = frozenset({FORM, MULTIPART})

LONGEST_HEADERS: Final = 16 * 1024
"""Bytes of the headers of one part of a form."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a body becomes fields."""

    fields: int
    text: int | None  # bytes of all of a form's fields that are no files


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body's fields."""

    fields: list[tuple[str, Any]]
    document: Any = None  # of JSON: all of it


Parse = Callable[[Kept, str, Limits], Parsed]
"""Parses a body; the second argument is its content type, with parameters.

Raises:
    HTTPError: 400 when the body is not what its type says, 413 when its text is too long.
"""


def parse_json(body: Kept, _: str, limits: Limits) -> Parsed:
    """The members of a JSON object are fields; other JSON has none."""
    text = body.at(0, body.size).removeprefix(b"\xef\xbb\xbf")  # RFC 8259 §8.1 allows to ignore such a mark
    if not text:
        return Parsed([])
    try:
        document = _decoded(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as broken:
        raise HTTPError(400, "the body is not valid JSON") from broken
    if not isinstance(document, dict):
        return Parsed([], document)
    if len(document) > limits.fields:
        raise _too_many("the JSON object", limits)
    return Parsed(list(document.items()), document)


def _decoded(text: bytes) -> Any:
    """A JSON document, without the collector.

    It would look through all that is new, again and again, while every other thread waits: ten times as long
    as decoding takes. A document has no cycles.
    """
    if not gc.isenabled():
        return msgspec.json.decode(text)
    gc.disable()
    try:
        return msgspec.json.decode(text)
    finally:
        gc.enable()


def parse_form(body: Kept, content_type: str, limits: Limits) -> Parsed:
    """An urlencoded form, as WHATWG's URL standard parses it, but for text that is in another charset."""
    data = body.at(0, body.size)
    if data.count(b"&") >= limits.fields:
        raise _too_many("the form", limits)
    charset = _charset(content_type)
    try:
        text = data.decode(charset)
        pairs = parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict")
    except ValueError as wrong:
        raise _not_in(charset) from wrong
    return Parsed(pairs)


def parse_multipart(body: Kept, content_type: str, limits: Limits) -> Parsed:
    """A form with files. A file is a part of the body, which is kept, and not copied."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    parts = _Parts(body, _charset(content_type), limits)
    try:
        parts.read(boundary)
    except FormParserError as garbled:
        raise _unreadable("it is not what its type says") from garbled
    if not parts.ended:
        raise _unreadable("its last part does not end")
    return Parsed(parts.fields)


class _Parts:
    """The parts of a form, while they are found."""

    def __init__(self, body: Kept, charset: str, limits: Limits) -> None:
        self._body = body
        self._charset = charset
        self._limits = limits
        self._piece = b""
        self._offset = 0  # of the piece
        self._text = 0  # bytes of all fields that are no files
        self._name = self._value = b""  # of a header
        self._headers: list[tuple[bytes, bytes]] = []
        self._headers_size = 0
        self._field = ""
        self._file: str | None = None  # its name
        self._data = bytearray()  # of a field that is no file
        self._start = self._size = 0  # of a file
        self.fields: list[tuple[str, Any]] = []
        self.ended = False

    def read(self, boundary: bytes) -> None:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._part_data,
            "on_part_end": self._end,
            "on_end": self._last,
        }
        parser = MultipartParser(boundary, callbacks)
        for piece in self._body.pieces():
            self._piece = piece
            parser.write(piece)
            self._offset += len(piece)

    def _begin(self) -> None:
        if len(self.fields) >= self._limits.fields:
            raise _too_many("the form", self._limits)
        self._headers = []
        self._headers_size = 0
        self._data = bytearray()
        self._start = self._size = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._header(data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._header(data, start, end)

    def _header(self, data: bytes, start: int, end: int) -> bytes:
        self._headers_size += end - start
        if self._headers_size > LONGEST_HEADERS:
            raise _unreadable(f"a part has headers of more than {LONGEST_HEADERS} bytes")
        return data[start:end]

    def _header_end(self) -> None:
        self._headers.append((self._name.lower(), self._value))
        self._name = self._value = b""

    def _headers_end(self) -> None:
        disposition = next((value for name, value in self._headers if name == b"content-disposition"), b"")
        options = parse_options_header(disposition)[1]
        if b"name" not in options:
            raise _unreadable("a part has no name")
        self._field = self._decoded(options[b"name"])
        file = options.get(b"filename")
        self._file = None if file is None else file.decode(self._charset, "replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._file is None:
            self._text += size
            if self._limits.text is not None and self._text > self._limits.text:
                raise too_long(self._limits.text)
            self._data += data[start:end]
            return
        if (
            not self._size
        ):  # else it goes on; what looked like a boundary at first is given again, not as a piece
            self._start = self._offset + (start if data is self._piece else -size)
        self._size += size

    def _end(self) -> None:
        value: Any
        if self._file is None:
            value = self._decoded(self._data)
        else:
            file = io.BufferedReader(Slice(self._body, self._start, self._size), min(self._size or 1, PAGE))
            headers = Headers(raw=self._headers)
            value = UploadFile(file, size=self._size, filename=self._file, headers=headers)
        self.fields.append((self._field, value))

    def _last(self) -> None:
        self.ended = True

    def _decoded(self, text: bytes | bytearray) -> str:
        try:
            return text.decode(self._charset)
        except UnicodeError as wrong:
            raise _not_in(self._charset) from wrong


class Slice(io.RawIOBase):
    """A part of a body, as a file that can only be read."""

    def __init__(self, body: Kept, start: int, size: int) -> None:
        super().__init__()
        self._body = body
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """See `io.RawIOBase`, as for all that follows."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} is no position in a file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Read from the position on."""
        left = max(0, self._size - self._position)
        data = self._body.at(self._start + self._position, min(len(buffer), left))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _charset(content_type: str) -> str:
    """The charset of a form's text, which is UTF-8 unless it says another.

    Raises:
        HTTPError: 400 for one that is not known.
    """
    declared = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    charset = charset_of(declared)
    if charset is None:
        raise _unreadable(f"{declared!r} is no charset that is known here")
    return charset


def _unreadable(why: str) -> HTTPError:
    return HTTPError(400, f"the form cannot be read: {why}")


def _not_in(charset: str) -> HTTPError:
    return _unreadable(f"its text is not in {charset}")


def _too_many(what: str, limits: Limits) -> HTTPError:
    return HTTPError(400, f"{what} has more than {limits.fields} fields")


PAGE: Final = 8 * 1024
"""Bytes that a reader of a file has before it."""

PARSERS: Final[dict[str, Parse]] = {FORM: parse_form, MULTIPART: parse_multipart, JSON: parse_json}
"""The types of bodies that become fields."""
